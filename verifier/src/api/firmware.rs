//! What hosts' own firmware measured, and what it may.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bartizan_attestation::boot::{NoDigest, Sha384};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::Operator;
use super::body::Bodiless;
use super::boots::card_id;
use super::input::{self, InputError, Parameters, Segment};
use super::listing::{PageQuery, PageShare, Paid};
use crate::binary::Binary;
use crate::clock::now_ms;
use crate::config::{FirmwarePcrs, is_firmware_pcr};
use crate::firmware::{self, MatchedReference};
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::{FirmwareReference, PcrValues, Storage};
use crate::task::to_its_end;

/// Longest name of a reference in bytes.
const MAX_NAME: usize = 128;

/// A reference was not registered or retired, or there is none.
#[derive(Debug, thiserror::Error)]
enum ReferenceError {
    /// It has no PCR, or one that firmware has not.
    #[error("a reference has one PCR at least, below 24, and none of 12, 15, 16 and 23")]
    Pcrs,
    /// Its name is none.
    #[error("a reference's name has 1 to {MAX_NAME} bytes, without control characters")]
    Name,
    /// It lacks what is demanded.
    #[error(
        "the reference has no value for PCR {0}, which this verifier's configuration demands; no host would be accepted by it"
    )]
    Lacking(u8),
    /// There are too many.
    #[error(
        "{} references are in force; retire one that no host needs",
        Storage::MAX_FIRMWARE_REFERENCES
    )]
    TooMany,
    /// There is none in force.
    #[error("no reference of this id is in force; see GET /v1/firmware")]
    NotFound,
    /// The host has shown none.
    #[error(
        "this host has shown nothing of its firmware: it needs a TPM, `host_pcrs` or `quoted_pcrs` in its vault's configuration, a boot from releases that are registered, and an event log that replays to its PCRs"
    )]
    NotShown,
}

impl ProblemType for ReferenceError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Pcrs => ("firmware-pcrs-unusable", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Name => ("firmware-name-unusable", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Lacking(_) => ("firmware-pcr-lacking", StatusCode::UNPROCESSABLE_ENTITY),
            Self::TooMany => ("too-many-firmware-references", StatusCode::CONFLICT),
            Self::NotFound => ("no-firmware-reference", StatusCode::NOT_FOUND),
            Self::NotShown => ("no-firmware", StatusCode::NOT_FOUND),
        }
    }
}

/// What PCRs of the SHA-384 bank hold, by number: 96 hexadecimal digits each.
#[derive(Deserialize, Serialize)]
#[serde(try_from = "BTreeMap<u8, String>", into = "BTreeMap<u8, String>")]
#[derive(Clone)]
pub(super) struct Pcrs(pub(super) PcrValues);

impl TryFrom<BTreeMap<u8, String>> for Pcrs {
    type Error = NoDigest;

    fn try_from(texts: BTreeMap<u8, String>) -> Result<Self, NoDigest> {
        let values = texts.into_iter();
        let values = values.map(|(number, text)| Ok((number, text.parse()?)));
        values.collect::<Result<_, _>>().map(Self)
    }
}

impl From<Pcrs> for BTreeMap<u8, String> {
    fn from(pcrs: Pcrs) -> Self {
        let values = pcrs.0.into_iter();
        values
            .map(|(number, value)| (number, value.to_string()))
            .collect()
    }
}

/// What a host showed last of its firmware.
#[derive(Serialize, ToSchema)]
pub(super) struct HostFirmwareDocument {
    /// The PCRs of the SHA-384 bank that its TPM has quoted, by number: 96 hexadecimal digits each. The log replays to them.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pcrs: Pcrs,
    /// The firmware's event log, in the crypto-agile form of the TCG PC Client Platform Firmware Profile.
    log: Binary,
    /// When it was shown, in milliseconds since the Unix epoch.
    shown_at_ms: u64,
    /// The reference in force that these PCRs are those of.
    reference: Option<MatchedDocument>,
}

/// A reference that is met.
#[derive(Serialize, ToSchema)]
struct MatchedDocument {
    /// SHA-384 over its PCRs' numbers and values, 96 hexadecimal digits.
    id: String,
    /// Its name.
    name: String,
}

impl From<MatchedReference> for MatchedDocument {
    fn from(reference: MatchedReference) -> Self {
        Self {
            id: reference.id.to_string(),
            name: reference.name,
        }
    }
}

/// A reference to be registered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReferenceDocument {
    /// Which machines and firmware it is of.
    name: String,
    /// What the PCRs of the SHA-384 bank must hold, by number: 96 hexadecimal digits each.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pcrs: Pcrs,
}

/// A reference that is in force.
#[derive(Serialize, ToSchema)]
pub(super) struct RegisteredReferenceDocument {
    /// SHA-384 over its PCRs' numbers and values, 96 hexadecimal digits.
    id: String,
}

/// The references.
#[derive(Serialize, ToSchema)]
pub(super) struct ReferencesDocument {
    /// By their ids.
    references: Vec<ReferenceDocument>,
    /// What `after` has to be for the next page; null on the last one.
    next: Option<String>,
}

/// A registered reference.
#[derive(Serialize, ToSchema)]
pub(super) struct ReferenceDocument {
    /// SHA-384 over its PCRs' numbers and values, 96 hexadecimal digits.
    id: String,
    /// Which machines and firmware it is of.
    name: String,
    /// What the PCRs of the SHA-384 bank must hold, by number.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pcrs: Pcrs,
    /// Who registered it last.
    operator: String,
    /// When, in milliseconds since the Unix epoch.
    registered_at_ms: u64,
    /// When it was retired, in milliseconds since the Unix epoch; null while it is in force.
    retired_at_ms: Option<u64>,
    /// Who retired it.
    retired_by: Option<String>,
}

impl From<FirmwareReference> for ReferenceDocument {
    fn from(reference: FirmwareReference) -> Self {
        let (retired_at_ms, retired_by) = reference.retired.unzip();
        Self {
            id: reference.id.to_string(),
            name: reference.name,
            pcrs: Pcrs(reference.pcrs),
            operator: reference.operator,
            registered_at_ms: reference.registered_at_ms,
            retired_at_ms,
            retired_by,
        }
    }
}

/// What a host showed last of its own firmware, whether its boot was accepted or not.
#[utoipa::path(
    get, path = "/v1/hosts/{card}/firmware", tag = "operator",
    params(("card" = String, Path, description = "The host's card id.")),
    responses(
        (status = 200, body = HostFirmwareDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn shown(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Segment(card): Segment,
    share: PageShare,
) -> Result<Paid, Problem> {
    let shown = service.storage.host_firmware(card_id(&card)?).await?;
    let shown = shown.ok_or(ReferenceError::NotShown)?;
    let reference = firmware::reference_of(&service, &shown.pcrs).await?;
    Ok(share.answer(&HostFirmwareDocument {
        pcrs: Pcrs(shown.pcrs),
        log: shown.log.into(),
        shown_at_ms: shown.shown_at_ms,
        reference: reference.map(Into::into),
    }))
}

/// Registers a reference: hosts whose PCRs hold these values are accepted. One that was retired is in force again.
#[utoipa::path(
    post, path = "/v1/firmware", tag = "operator",
    request_body = NewReferenceDocument,
    responses(
        (status = 200, body = RegisteredReferenceDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn register(
    State(service): State<Arc<Service>>,
    operator: Operator,
    input::Json(document, share): input::Json<NewReferenceDocument>,
) -> Result<Json<RegisteredReferenceDocument>, Problem> {
    let (name, pcrs) = (document.name, document.pcrs.0);
    if !(1..=MAX_NAME).contains(&name.len()) || name.contains(char::is_control) {
        return Err(ReferenceError::Name.into());
    }
    if pcrs.is_empty() || !pcrs.keys().copied().all(is_firmware_pcr) {
        return Err(ReferenceError::Pcrs.into());
    }
    let demanded = service.config.measured_boot.firmware_of(true);
    let lacking =
        (demanded.into_iter().flat_map(FirmwarePcrs::numbers)).find(|pcr| !pcrs.contains_key(pcr));
    if let Some(lacking) = lacking {
        return Err(ReferenceError::Lacking(lacking).into());
    }
    to_its_end(share, async move {
        let (storage, operator) = (&service.storage, operator.name);
        let registered = storage.register_firmware(&name, &pcrs, &operator, now_ms());
        if !registered.await? {
            return Err(Problem::from(ReferenceError::TooMany));
        }
        let id = FirmwareReference::id_of(&pcrs).to_string();
        tracing::warn!(%id, name, operator, "firmware reference registered");
        Ok(Json(RegisteredReferenceDocument { id }))
    })
    .await
}

/// The references that were ever registered.
#[utoipa::path(
    get, path = "/v1/firmware", tag = "operator",
    params(PageQuery),
    responses(
        (status = 200, body = ReferencesDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Parameters(query): Parameters<PageQuery>,
    share: PageShare,
) -> Result<Paid, Problem> {
    let limit = share.limit(query.limit, 1000)?;
    let after = query.after.as_deref().map(id).transpose()?;
    let page = service.storage.firmware_references(after, limit).await?;
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|reference| reference.id.to_string());
    let references = page.rows.into_iter().map(Into::into).collect();
    Ok(share.answer(&ReferencesDocument { references, next }))
}

/// Retires a reference: where firmware is demanded, hosts that were accepted by it are refused from the answer on.
#[utoipa::path(
    delete, path = "/v1/firmware/{id}", tag = "operator",
    params(("id" = String, Path, description = "SHA-384 over its PCRs' numbers and values, 96 hexadecimal digits.")),
    responses(
        (status = 204, description = "It is retired."),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn retire(
    State(service): State<Arc<Service>>,
    operator: Operator,
    Segment(name): Segment,
    Bodiless(share): Bodiless,
) -> Result<StatusCode, Problem> {
    let id = id(&name)?;
    to_its_end(share, async move {
        let (storage, operator) = (&service.storage, operator.name);
        let retired = storage.retire_firmware(&id, &operator, now_ms());
        if !retired.await? {
            return Err(Problem::from(ReferenceError::NotFound));
        }
        service.streams.decided();
        tracing::warn!(%id, operator, "firmware reference retired");
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn id(text: &str) -> Result<Sha384, InputError> {
    text.parse().map_err(|_| InputError::Field {
        field: "id",
        expected: "SHA-384: 96 lower-case hexadecimal digits",
    })
}
