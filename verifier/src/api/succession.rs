//! A host's certificates after its first: for the key that comes after the present one, or for the same.
//!
//! ```text
//!  host's TLS connection ── succession by its present key ──► not succeeded before? in its TPM? ──► vault ──► recorded ──► answer
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use bartizan_attestation::certificates::{Usage, verify_chain};
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::digest::sha256;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{VaultKind, VaultRequest};
use bartizan_attestation::succession::{self, Succession, SuccessionError};
use bartizan_attestation::tpm::{CertifyError, PublicArea, PublicAreaError, verify_certified};
use serde::Deserialize;
use utoipa::ToSchema;

use super::access::{AccessError, Booting, Succeeding};
use super::counters::Origin;
use super::documents::EnrolledDocument;
use super::input;
use super::issuing::{IssueError, Issued, document, issue};
use crate::binary::Binary;
use crate::clock::{now_ms, now_s};
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::quota::RenewalQuotaError;
use crate::service::Service;
use crate::storage::{self, EnrolledTpm, KeyId, Reporter, StorageError, Succeeded};
use crate::task::{TaskError, blocking, to_its_end};

/// A host that wants a certificate for the key that comes after its present one, or for the same.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SuccessionDocument {
    /// COSE_Sign1 by the present card identity key, over the next one's PKCS#10 request.
    succession: Binary,
    /// The TPM's word on the next key, where the host enrolled with a TPM and the key does not stay.
    #[serde(default)]
    tpm: Option<CertifiedDocument>,
}

/// A TPM's word that it holds a key (TPM2_Certify), by the attestation key that the host enrolled with, for the SHA-256 over the
/// succession.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CertifiedDocument {
    /// The key: TPMT_PUBLIC.
    public: Binary,
    /// TPMS_ATTEST.
    attested: Binary,
    /// TPMT_SIGNATURE.
    signature: Binary,
}

/// A host got no further certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum SucceedError {
    /// The succession proves nothing.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
    /// It is another card's.
    #[error("the succession is of card {found}, host {peer} handed it in")]
    OtherCard {
        /// Who handed it in.
        peer: CardId,
        /// Whose it is.
        found: CardId,
    },
    /// The host is not in the list of those that enrolled.
    #[error("this host is not in the list of enrolled hosts; enrol it anew")]
    NotListed,
    /// Its present certificate is a former fleet CA's, for a key that is not known to be its.
    #[error(
        "the present certificate is a former fleet CA's, and of another key than the one that this host is known by; enrol the host anew"
    )]
    UnknownKey,
    /// The next key is, or was, in use.
    #[error("the next card identity key is, or was, in use already; make a fresh one")]
    KeyTaken,
    /// A host with a TPM shows no word of it.
    #[error("this host enrolled with a TPM: its next key is accepted with the TPM's word only")]
    NoTpmWord,
    /// The TPM's word is refused.
    #[error(transparent)]
    Tpm(#[from] CertifyError),
    /// It is on another key.
    #[error("the TPM's word is on another key than the one that comes next")]
    OtherTpmKey,
    /// The host asks too often.
    #[error(transparent)]
    Quota(#[from] RenewalQuotaError),
    /// The vault did not certify the key.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The vault certified something else than was asked for.
    #[error(
        "the vault certified another card or key than was asked for; see that vault and verifier are of one version"
    )]
    OtherIssued,
    /// The host may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It was not ended.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl From<PublicAreaError> for SucceedError {
    fn from(error: PublicAreaError) -> Self {
        CertifyError::from(error).into()
    }
}

impl ProblemType for SucceedError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Succession(_) => ("succession-refused", StatusCode::UNPROCESSABLE_ENTITY),
            Self::OtherCard { .. } => ("succession-of-other-card", StatusCode::FORBIDDEN),
            Self::NotListed => ("host-not-listed", StatusCode::NOT_FOUND),
            Self::UnknownKey => ("card-key-unknown", StatusCode::FORBIDDEN),
            Self::KeyTaken => ("card-key-taken", StatusCode::CONFLICT),
            Self::NoTpmWord => ("succession-without-tpm", StatusCode::FORBIDDEN),
            Self::Tpm(_) | Self::OtherTpmKey => ("succession-tpm-refused", StatusCode::FORBIDDEN),
            Self::Quota(error) => error.kind(),
            Self::Issue(error) => error.kind(),
            Self::OtherIssued => ("vault-unexpected", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Access(error) => error.kind(),
            Self::Storage(error) => error.kind(),
            Self::Task(error) => error.kind(),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Quota(error) => error.retry_after_s(),
            Self::Issue(error) => error.retry_after_s(),
            Self::Access(error) => error.retry_after_s(),
            Self::Storage(error) => error.retry_after_s(),
            Self::Task(error) => error.retry_after_s(),
            _ => None,
        }
    }
}

/// Certifies the key that a host's present card identity key names as the next one, which may be itself.
///
/// A key that another came after, and that names a third one within the overlap, is in two places: both are refused with 403
/// `vault-forked` from then on, as where a vault's counter goes on twice.
///
/// The host stays who it is. What the former key certified is accepted for `card_key_overlap_s`, then refused with 403
/// `card-key-superseded`. The same succession once more is answered with the same certificate, at any time, as long as the next key is
/// the host's; where the fleet CA was replaced meanwhile, with one by the present CA. At any time of a certificate's life, 8 times at once and once more each hour; beyond that it is refused with 429
/// `host-renewals-exhausted`, and `Retry-After` says for how long.
#[utoipa::path(
    post, path = "/v1/hosts/succeed", tag = "host",
    request_body = SuccessionDocument,
    responses(
        (status = 200, body = EnrolledDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn succeed(
    State(service): State<Arc<Service>>,
    Succeeding { host, key_ended }: Succeeding,
    Extension(Origin(from)): Extension<Origin>,
    input::Json(wish, share): input::Json<SuccessionDocument>,
) -> Result<Json<EnrolledDocument>, Problem> {
    let asked = Asked {
        host,
        key_ended,
        from,
    };
    let succeeding = async move { succeed_listed(&service, asked, wish).await };
    to_its_end(share, succeeding).await.map(Json)
}

async fn succeed_listed(
    service: &Arc<Service>,
    asked: Asked,
    wish: SuccessionDocument,
) -> Result<EnrolledDocument, SucceedError> {
    let Asked { host: peer, .. } = &asked;
    let now = Instant::now();
    service.renewals.ask(peer.card, peer.card_key, now)?;
    let (verified, wish) = verified(service, wish).await?;
    let (succession, found) = (&verified.succession, verified.succession.card);
    if found != peer.card {
        return Err(SucceedError::OtherCard {
            peer: peer.card,
            found,
        });
    }
    let storage = &service.storage;
    let host = storage.host(found).await?;
    let host = host.ok_or(SucceedError::NotListed)?;
    let (from, to) = (
        succession.present.public_key.sha256(),
        succession.next.sha256(),
    );
    // One at a time, enrolments included: what is taken is known.
    let _turn = service.enrolling.lock().await;
    // Whose answer was lost: the certificate is no secret, and without it that host would be shut out with the end of the overlap.
    match storage.succeeded(&from, &to).await? {
        // That host trusts the present fleet CA by now, and installs no other's.
        Some(Succeeded::Certificate(certificate)) if !is_by_present(service, &certificate) => {
            peer.clone().booted(service).await?;
            let issued = certify(service, succession, wish.succession.0).await?;
            let recorded = storage.recertify(found, &to, &issued.certificate).await?;
            return answer(service, &asked, &from, recorded).await;
        }
        Some(recorded) => return answer(service, &asked, &from, recorded).await,
        None => {}
    }
    if asked.key_ended {
        return Err(AccessError::CardKeySuperseded(found).into());
    }
    // A former CA's key may be another's by now. What it certifies is to end with it, and not to last by the present one's word.
    if verified.by_former && from != host.card_key {
        return Err(SucceedError::UnknownKey);
    }
    peer.clone().booted(service).await?;
    if !succession.is_renewal() {
        if storage.is_key_taken(&to, found).await? {
            return Err(SucceedError::KeyTaken);
        }
        let says_tpm =
            [Some(host.vault), succession.present.vault].contains(&Some(VaultKind::Tpm2));
        match &host.tpm {
            Some(tpm) => check_tpm(tpm, &wish, succession)?,
            None if says_tpm => return Err(SucceedError::NoTpmWord),
            None => {}
        }
    }
    let issued = certify(service, succession, wish.succession.0).await?;
    let now_ms = now_ms();
    let overlap_ms = service.config.card_key_overlap_s.saturating_mul(1000);
    let change = storage::Succeeding {
        card: found,
        from,
        to,
        certificate: &issued.certificate,
        now_ms,
        address: &asked.from.to_string(),
        accepted_until_ms: now_ms.saturating_add(overlap_ms),
    };
    let recorded = storage.succeed(&change).await?;
    let (key, name) = (hex::encode(to), host.name);
    tracing::info!(card = %found, host = name, key, renewal = succession.is_renewal(), "host certified anew");
    answer(service, &asked, &from, recorded).await
}

/// Who asks.
struct Asked {
    host: Booting,
    /// Whether the connection's key was superseded, and its overlap is over.
    key_ended: bool,
    from: SocketAddr,
}

struct Verified {
    succession: Succession,
    /// Whether the present certificate is a former fleet CA's.
    by_former: bool,
}

async fn verified(
    service: &Arc<Service>,
    wish: SuccessionDocument,
) -> Result<(Verified, SuccessionDocument), SucceedError> {
    let ca = service.anchors.ca();
    let verify = move || {
        let (signed, now) = (&wish.succession.0, now_s());
        let (succession, by_former) = match succession::verify(signed, &ca.alone(), now) {
            Ok(succession) => (succession, false),
            Err(_) => (succession::verify(signed, &ca, now)?, true),
        };
        let verified = Verified {
            succession,
            by_former,
        };
        Ok((verified, wish))
    };
    blocking(verify).await?
}

async fn certify(
    service: &Service,
    succession: &Succession,
    signed: Vec<u8>,
) -> Result<Issued, SucceedError> {
    // Before the vault is asked, and not given back where it fails: it may have signed all the same.
    service.renewals.spend(succession.card, Instant::now())?;
    let request = VaultRequest::IssueSuccessor { succession: signed };
    let issued = issue(service, request).await?;
    if issued.card == succession.card && issued.verified.public_key == succession.next {
        Ok(issued)
    } else {
        Err(SucceedError::OtherIssued)
    }
}

fn is_by_present(service: &Service, certificate: &[u8]) -> bool {
    let present = service.anchors.ca().alone();
    verify_chain(&[certificate.to_vec()], &present, now_s(), Usage::Card).is_ok()
}

async fn answer(
    service: &Service,
    asked: &Asked,
    from: &KeyId,
    recorded: Succeeded,
) -> Result<EnrolledDocument, SucceedError> {
    let card = asked.host.card;
    match recorded {
        Succeeded::Certificate(certificate) => Ok(document(&service.anchors.known(), certificate)),
        // A host's own vault names the same key until that one is in use. Where a second one is named there are two that have the
        // key: a copy, a store that was put back, or a thief, and which of them named the first is not known. A key whose overlap is
        // over names nobody, whoever hands it in.
        Succeeded::OtherSuccessor if !is_ended(service, card, from).await? => {
            let reporter = Reporter {
                machine: None,
                address: asked.from.to_string(),
                at_ms: now_ms(),
            };
            let fork = service.storage.fork_of_key(card, from, &reporter).await?;
            tracing::error!("{fork}");
            Err(AccessError::VaultForked(Box::new(fork)).into())
        }
        Succeeded::Superseded | Succeeded::OtherSuccessor => {
            tracing::warn!(%card, "a card identity key that another came after asks for a certificate");
            Err(AccessError::CardKeySuperseded(card).into())
        }
        Succeeded::Taken => Err(SucceedError::KeyTaken),
        Succeeded::NotListed => Err(SucceedError::NotListed),
    }
}

/// Whether the key that names a successor was superseded, and its overlap is over. It need not be the connection's.
async fn is_ended(service: &Service, card: CardId, key: &KeyId) -> Result<bool, StorageError> {
    let standing = service.storage.host_standing(card, key, now_ms()).await?;
    Ok(standing.key_ended)
}

/// The TPM that the host enrolled with holds the next key, as it held the first: that one was proved by a secret, together with the
/// attestation key whose word is taken here.
fn check_tpm(
    tpm: &EnrolledTpm,
    wish: &SuccessionDocument,
    succession: &Succession,
) -> Result<(), SucceedError> {
    let said = wish.tpm.as_ref().ok_or(SucceedError::NoTpmWord)?;
    let attestation = PublicKey::from_spki_der(&tpm.attestation_key)
        .map_err(|_| StorageError::Damaged { table: "hosts" })?;
    let area = PublicArea::parse(&said.public.0)?;
    let nonce = sha256(&wish.succession.0);
    let (attested, signature) = (&said.attested.0, &said.signature.0);
    let certified = verify_certified(attested, signature, &attestation, &nonce, &area)?;
    if *certified == succession.next {
        Ok(())
    } else {
        Err(SucceedError::OtherTpmKey)
    }
}
