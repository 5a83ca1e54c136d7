//! How hosts were booted.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use bartizan_attestation::identity::CardId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Booting, Operator};
use super::firmware::Pcrs;
use super::input::{self, InputError, Segment};
use super::listing::{PageShare, Paid};
use crate::binary::Binary;
use crate::boots::{self, Accepted, HandedIn, Quote};
use crate::peer::ChannelBinding;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::HostBoot;
use crate::task::to_its_end;

/// The log of a boot.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BootLogDocument {
    /// TCG canonical event log, CBOR.
    log: Binary,
    /// What the TPM says of its PCRs: due from a host that enrolled with one.
    #[serde(default)]
    quote: Option<QuoteDocument>,
    /// What the host's own firmware measured: its event log in the crypto-agile form of the TCG PC Client Platform Firmware Profile.
    /// It must replay to the quoted PCRs; without a TPM it is not looked at.
    #[serde(default)]
    firmware: Option<Binary>,
}

/// A TPM's quote over the channel binding `tls-exporter` (RFC 9266) of the connection that it is handed in on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct QuoteDocument {
    /// TPMS_ATTEST.
    attested: Binary,
    /// TPMT_SIGNATURE: ECDSA, SHA-384.
    signature: Binary,
    /// What the quoted PCRs of the SHA-384 bank hold, by number: 96 hexadecimal digits each.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pcrs: Pcrs,
}

impl From<QuoteDocument> for Quote {
    fn from(document: QuoteDocument) -> Self {
        Self {
            attested: document.attested.0,
            signature: document.signature.0,
            pcrs: document.pcrs.0,
        }
    }
}

/// A boot that was accepted.
#[derive(Serialize, ToSchema)]
pub(super) struct AcceptedBootDocument {
    /// The base's manifest: its SHA-384, 96 hexadecimal digits.
    base: String,
    /// The base's version.
    base_version: u64,
    /// The bundle's manifest.
    bundle: String,
    /// The bundle's version.
    bundle_version: u64,
    /// The last phase that has ended: `hypervisor` or `enclave`.
    phase: &'static str,
    /// Whether the host's TPM has quoted the boot's registers.
    quoted: bool,
    /// The name of the reference that the host's firmware is one of; null where it was compared with none, or is of none.
    firmware: Option<String>,
}

impl From<Accepted> for AcceptedBootDocument {
    fn from(accepted: Accepted) -> Self {
        let [base, bundle] = accepted.releases;
        Self {
            base: base.manifest.to_string(),
            base_version: base.version,
            bundle: bundle.manifest.to_string(),
            bundle_version: bundle.version,
            phase: accepted.phase.name(),
            quoted: accepted.quoted,
            firmware: accepted.firmware.map(|reference| reference.name),
        }
    }
}

/// The boots that are kept of a host.
#[derive(Serialize, ToSchema)]
pub(super) struct HostBootsDocument {
    /// The last one that was handed in first.
    boots: Vec<HostBootDocument>,
}

/// A boot that was accepted once. Whether its releases are still in force, `GET /v1/releases` says.
#[derive(Serialize, ToSchema)]
struct HostBootDocument {
    /// The base's manifest: its SHA-384, 96 hexadecimal digits.
    base: String,
    /// The bundle's.
    bundle: String,
    /// The measurement register at the end of each phase, the first phase's first: 96 hexadecimal digits each.
    phases: Vec<String>,
    /// When it was handed in last, in milliseconds since the Unix epoch.
    appraised_at_ms: u64,
}

/// A boot that was accepted once, with its log.
#[derive(Serialize, ToSchema)]
pub(super) struct LoggedBootDocument {
    #[serde(flatten)]
    boot: HostBootDocument,
    /// Its event log, CEL-CBOR.
    log: Binary,
}

/// There is none.
#[derive(Debug, thiserror::Error)]
#[error("no boot of this host was accepted")]
struct NoBootError;

impl ProblemType for NoBootError {
    fn kind(&self) -> (&'static str, StatusCode) {
        ("no-boot", StatusCode::NOT_FOUND)
    }
}

impl From<HostBoot> for HostBootDocument {
    fn from(boot: HostBoot) -> Self {
        let [base, bundle] = boot.releases.map(|manifest| manifest.to_string());
        Self {
            base,
            bundle,
            phases: boot.phases.iter().map(ToString::to_string).collect(),
            appraised_at_ms: boot.appraised_at_ms,
        }
    }
}

/// Takes the event log of the boot that the host's client certificate is of. Where the verifier demands a measured boot it
/// is the one thing that a host may do before its boot was accepted.
#[utoipa::path(
    post, path = "/v1/hosts/boot", tag = "host",
    request_body = BootLogDocument,
    responses(
        (status = 200, body = AcceptedBootDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn hand_in(
    State(service): State<Arc<Service>>,
    host: Booting,
    binding: Option<Extension<ChannelBinding>>,
    input::Json(document, share): input::Json<BootLogDocument>,
) -> Result<Json<AcceptedBootDocument>, Problem> {
    let handed_in = HandedIn {
        card: host.card,
        certified: host.phases,
        certificate: (host.certificate, host.not_after),
        log: document.log.0,
        quote: document.quote.map(Into::into),
        firmware: document.firmware.map(|log| log.0),
        binding: binding.map(|Extension(binding)| binding),
    };
    let accepting = async move { boots::accept(&service, handed_in).await };
    Ok(Json(to_its_end(share, accepting).await?.into()))
}

/// The boots of a host that were accepted, the last 32.
#[utoipa::path(
    get, path = "/v1/hosts/{card}/boots", tag = "operator",
    params(("card" = String, Path, description = "The host's card id.")),
    responses(
        (status = 200, body = HostBootsDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Segment(card): Segment,
    share: PageShare,
) -> Result<Paid, Problem> {
    let boots = service.storage.host_boots(card_id(&card)?).await?;
    let boots = boots.into_iter().map(Into::into).collect();
    Ok(share.answer(&HostBootsDocument { boots }))
}

/// The boot of a host that was handed in last, with its log.
#[utoipa::path(
    get, path = "/v1/hosts/{card}/boot", tag = "operator",
    params(("card" = String, Path, description = "The host's card id.")),
    responses(
        (status = 200, body = LoggedBootDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn latest(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Segment(card): Segment,
    share: PageShare,
) -> Result<Paid, Problem> {
    let latest = service.storage.latest_host_boot(card_id(&card)?).await?;
    let (boot, log) = latest.ok_or(NoBootError)?;
    let document = LoggedBootDocument {
        boot: boot.into(),
        log: log.into(),
    };
    Ok(share.answer(&document))
}

pub(super) fn card_id(text: &str) -> Result<CardId, InputError> {
    text.parse().map_err(|_| InputError::Field {
        field: "card",
        expected: "64 hexadecimal digits",
    })
}
