//! The keys of the verifier's vault: what there is, what became of it, another one, and none any more.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bartizan_attestation::certificates::{ChainError, Usage, verify_chain};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::keys::{KeyDescription, KeyEvent, KeyEventKind, KeyKind, Purpose};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::Operator;
use super::body::Bodiless;
use super::input::{InputError, Parameters, Segment};
use super::listing::{PageShare, Paid};
use crate::binary::Binary;
use crate::clock::now_s;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::rotation::Rotates as _;
use crate::service::Service;
use crate::task::to_its_end;
use crate::tls_identity::TlsIdentityError;
use crate::token_keys::TokenKeysError;
use crate::vault::{VaultError, plain};

/// A key was not rotated or revoked.
#[derive(Debug, thiserror::Error)]
enum KeyRouteError {
    /// A token key could not be read or made.
    #[error(transparent)]
    Token(#[from] TokenKeysError),
    /// A TLS server key could not be made.
    #[error(transparent)]
    Tls(#[from] TlsIdentityError),
    /// The vault did not do it.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl ProblemType for KeyRouteError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Token(error) => error.kind(),
            Self::Tls(error) => error.kind(),
            Self::Vault(error) => error.kind(),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Token(error) => error.retry_after_s(),
            Self::Tls(error) => error.retry_after_s(),
            Self::Vault(error) => error.retry_after_s(),
        }
    }
}

/// A kind of key that is made anew, or put out of use, here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RotatedKind {
    /// Signs attestation results.
    Token,
    /// Shows clients that they speak to the verifier.
    TlsServer,
}

/// The keys of the verifier's vault.
#[derive(Serialize, ToSchema)]
pub(super) struct KeysDocument {
    /// Of each kind the newest last.
    keys: Vec<KeyDocument>,
}

/// A key.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyDocument {
    /// `fleet-ca`, `token` or `tls-server`.
    kind: &'static str,
    /// SHA-256 of its public key (SubjectPublicKeyInfo): 64 hexadecimal digits.
    id: String,
    /// Whether it is the one of its kind that is used from now on.
    current: bool,
    /// SHA-256 of its certificate: 64 hexadecimal digits. A result's `x5t#S256` is the same in base64url.
    certificate: Option<String>,
    /// First second of its certificate's validity, since the Unix epoch.
    not_before: Option<u64>,
    /// Last second of its certificate's validity, since the Unix epoch.
    not_after: Option<u64>,
}

/// What became of the keys.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyHistoryDocument {
    /// The oldest first. Of each kind of key the last 256 events are remembered.
    events: Vec<KeyEventDocument>,
    /// What `after` has to be for the next page; null on the last one.
    next: Option<String>,
}

/// What happened to a key.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyEventDocument {
    /// Counts all events of this vault: a gap shows that some are not remembered any more.
    number: u64,
    /// When, in seconds since the Unix epoch, by the vault's clock.
    at_s: u64,
    /// `fleet-ca`, `token`, `tls-server` or `sealing`; `card` and `operator` where the vault only certified the key.
    kind: &'static str,
    /// SHA-256 of its public key, or of a sealing key's number: 64 hexadecimal digits.
    id: String,
    /// `made`, `certified`, `superseded`, `revoked`, `destroyed` or `not-destroyed`.
    event: &'static str,
    /// SHA-256 of the certificate, where it was certified.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    /// Last second of the certificate's validity, where it was certified.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<u64>,
    /// The key that took its place, where it was superseded.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Why, where it was not destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl From<KeyEvent> for KeyEventDocument {
    fn from(event: KeyEvent) -> Self {
        let mut document = Self {
            number: event.number,
            at_s: event.at_s,
            kind: event.kind.name(),
            id: hex::encode(*event.id),
            event: event.what.word(),
            certificate: None,
            not_after: None,
            by: None,
            why: None,
        };
        match event.what {
            KeyEventKind::Certified {
                certificate,
                not_after,
            } => {
                document.certificate = Some(hex::encode(*certificate));
                document.not_after = Some(not_after);
            }
            KeyEventKind::Superseded { by } => document.by = Some(hex::encode(*by)),
            KeyEventKind::NotDestroyed { why } => document.why = Some(why),
            KeyEventKind::Made | KeyEventKind::Destroyed | KeyEventKind::Revoked => {}
        }
        document
    }
}

/// Which part of the history.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// At most so many, 1 to 1000; 1000 if not given.
    limit: Option<u32>,
    /// Only events of a greater number: the `next` of the page before.
    after: Option<u64>,
}

/// The keys of the verifier's vault, and since when and until when they are certified.
#[utoipa::path(
    get, path = "/v1/keys", tag = "operator",
    responses(
        (status = 200, body = KeysDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    share: PageShare,
) -> Result<Paid, Problem> {
    let described = service
        .vault
        .describe()
        .await
        .map_err(KeyRouteError::from)?;
    let tls = service.tls.certificate();
    let token = service.token_keys.published().into_iter().next();
    let token = token.and_then(|key| key.chain.into_iter().next());
    let in_use = [tls, token.unwrap_or_default()];
    let document = |key: KeyDescription| key_document(&service, key, &in_use);
    let keys = described.keys.into_iter().map(document).collect();
    Ok(share.answer(&KeysDocument { keys }))
}

fn key_document(service: &Service, key: KeyDescription, in_use: &[Vec<u8>]) -> KeyDocument {
    let chain = plain(key.chain);
    let leaf = chain.first().cloned();
    let validity = validity(service, key.purpose, &chain).ok();
    let current = match key.purpose {
        // There is one.
        Purpose::FleetCa => true,
        _ => leaf.as_ref().is_some_and(|leaf| in_use.contains(leaf)),
    };
    KeyDocument {
        kind: KeyKind::from(key.purpose).name(),
        id: hex::encode(*key.id),
        current,
        certificate: leaf.map(|leaf| hex::encode(sha256(&leaf))),
        not_before: validity.map(|(from, _)| from),
        not_after: validity.map(|(_, to)| to),
    }
}

/// Of a certificate that holds now.
fn validity(
    service: &Service,
    purpose: Purpose,
    chain: &[Vec<u8>],
) -> Result<(u64, u64), ChainError> {
    let usage = match purpose {
        Purpose::FleetCa => return Ok(service.anchors.ca().validity()),
        Purpose::TlsServer => Usage::TlsServer,
        Purpose::Token => Usage::Token,
        Purpose::CardIdentity => Usage::Card,
        Purpose::TlsClient => Usage::TlsClient,
    };
    let verified = verify_chain(chain, &service.anchors.ca(), now_s(), usage)?;
    Ok((verified.not_before, verified.not_after))
}

/// What became of the keys of the verifier's vault, and what it certified for others.
#[utoipa::path(
    get, path = "/v1/keys/history", tag = "operator",
    params(HistoryQuery),
    responses(
        (status = 200, body = KeyHistoryDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn history(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Parameters(query): Parameters<HistoryQuery>,
    share: PageShare,
) -> Result<Paid, Problem> {
    let rows = share.limit(query.limit, 1000)?.rows as usize;
    let told = service.vault.history().await.map_err(KeyRouteError::from)?;
    let first = |event: &KeyEvent| query.after.is_none_or(|after| event.number > after);
    let mut events: Vec<KeyEventDocument> = (told.into_iter().filter(first))
        .take(rows.saturating_add(1))
        .map(Into::into)
        .collect();
    let more = events.len() > rows;
    events.truncate(rows);
    let last = events.last().filter(|_| more);
    let next = last.map(|event| event.number.to_string());
    Ok(share.answer(&KeyHistoryDocument { events, next }))
}

/// The key that is used from now on.
#[derive(Serialize, ToSchema)]
pub(super) struct RotatedKeyDocument {
    /// Of which kind.
    kind: RotatedKind,
    /// SHA-256 of its certificate: 64 hexadecimal digits.
    certificate: String,
    /// The same in base64url: a token key's `kid`, and the `x5t#S256` of the results that it signs.
    kid: String,
    /// Last second of its validity, since the Unix epoch.
    not_after: u64,
}

/// Makes a new key of a kind and uses it from now on. What the former one signed stays good: its token certificate stays published to
/// its end, connections that it opened go on. 409 while as many token keys are valid as there may be.
#[utoipa::path(
    post, path = "/v1/keys/{kind}/rotate", tag = "operator",
    params(("kind" = RotatedKind, Path, description = "Which kind.")),
    responses(
        (status = 200, body = RotatedKeyDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rotate(
    State(service): State<Arc<Service>>,
    operator: Operator,
    Segment(kind): Segment<RotatedKind>,
    Bodiless(share): Bodiless,
) -> Result<Json<RotatedKeyDocument>, Problem> {
    let rotated = to_its_end(share, async move {
        let (certificate, not_after) = match kind {
            RotatedKind::Token => {
                let key = service.token_keys.replace().await?;
                (key.sha256, key.not_after)
            }
            RotatedKind::TlsServer => {
                service.tls.rotate().await?;
                (sha256(&service.tls.certificate()), service.tls.validity().1)
            }
        };
        let kid = Binary::encode(&certificate);
        let certificate = hex::encode(certificate);
        tracing::info!(operator = operator.name, ?kind, certificate, "key rotated");
        Ok::<_, KeyRouteError>(RotatedKeyDocument {
            kind,
            certificate,
            kid,
            not_after,
        })
    });
    rotated.await.map(Json)
}

/// Has the verifier's vault make another sealing key, seal its keys and its store by it, and destroy the former one. The vault answers
/// nothing else meanwhile.
#[utoipa::path(
    post, path = "/v1/keys/sealing/rotate", tag = "operator",
    responses(
        (status = 204, description = "It is rotated."),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rotate_sealing(
    State(service): State<Arc<Service>>,
    operator: Operator,
    Bodiless(share): Bodiless,
) -> Result<StatusCode, Problem> {
    to_its_end(share, async move {
        let rotated = service.vault.rotate_sealing().await;
        let operator = operator.name;
        match rotated {
            Ok(()) => tracing::info!(operator, "sealing key rotated"),
            // An answer that was lost does not tell.
            Err(error) => {
                tracing::warn!(operator, %error, "sealing key not rotated, or not known to be");
                return Err(KeyRouteError::from(error));
            }
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Destroys a key before its end. One that is in use gives way to a new one first. Results that a revoked token key signed are good
/// no more for whoever asks for the published certificates.
#[utoipa::path(
    delete, path = "/v1/keys/{kind}/{id}", tag = "operator",
    params(
        ("kind" = RotatedKind, Path, description = "Which kind."),
        ("id" = String, Path, description = "SHA-256 of its public key: 64 hexadecimal digits."),
    ),
    responses(
        (status = 204, description = "It is destroyed."),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn revoke(
    State(service): State<Arc<Service>>,
    operator: Operator,
    Segment((kind, id)): Segment<(RotatedKind, String)>,
    Bodiless(share): Bodiless,
) -> Result<StatusCode, Problem> {
    let mut key = [0; 32];
    if hex::decode_to_slice(&id, &mut key).is_err() || hex::encode(key) != id {
        return Err(InputError::Field {
            field: "id",
            expected: "64 lower-case hexadecimal digits",
        }
        .into());
    }
    to_its_end(share, async move {
        let revoked = match kind {
            RotatedKind::Token => (service.token_keys.revoke(key).await).map_err(Into::into),
            RotatedKind::TlsServer => service.tls.revoke(key).await.map_err(Into::into),
        };
        let operator = operator.name;
        match revoked {
            Ok(()) => {
                tracing::warn!(operator, ?kind, id, "key revoked");
                Ok(StatusCode::NO_CONTENT)
            }
            Err::<_, KeyRouteError>(error) => {
                tracing::warn!(operator, ?kind, id, %error, "key not revoked, or not known to be");
                Err(error)
            }
        }
    })
    .await
}
