//! What hosts may be booted from.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use bartizan_attestation::boot::{ManifestError, Sha384, VerifiedManifest};
use bartizan_attestation::cose::{PublicKey, PublicKeyError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::Operator;
use super::body::Bodiless;
use super::input::{self, InputError, Parameters, Segment};
use super::listing::{PageQuery, PageShare, Paid};
use crate::binary::Binary;
use crate::clock::now_ms;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::{Release, StorageError};
use crate::task::to_its_end;

/// A release was not registered or retired.
#[derive(Debug, thiserror::Error)]
enum ReleaseError {
    /// The key is none.
    #[error("`key` is no public key (SubjectPublicKeyInfo, DER): {0}")]
    Key(#[from] PublicKeyError),
    /// The key may not sign releases of this fleet.
    #[error(
        "release key {} is not in the verifier's configuration, `measured_boot: {{demanded: {{release_keys}}}}`",
        hex::encode(.0)
    )]
    Signer([u8; 32]),
    /// It is none, or not signed by that key.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// There is none in force.
    #[error("no release of this manifest is in force; see GET /v1/releases")]
    NotFound,
}

impl ProblemType for ReleaseError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Key(_) => ("release-key-malformed", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Signer(_) => ("release-key-unknown", StatusCode::FORBIDDEN),
            Self::Manifest(_) => ("release-refused", StatusCode::UNPROCESSABLE_ENTITY),
            Self::NotFound => ("no-release", StatusCode::NOT_FOUND),
        }
    }
}

/// A release to be registered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReleaseDocument {
    /// The signed manifest (COSE_Sign1).
    manifest: Binary,
    /// The public half of the release key: SubjectPublicKeyInfo, DER.
    key: Binary,
}

/// The registered releases.
#[derive(Serialize, ToSchema)]
pub(super) struct ReleasesDocument {
    /// By their manifests' digests.
    releases: Vec<ReleaseDocument>,
    /// What `after` has to be for the next page; null on the last one.
    next: Option<String>,
}

/// A registered release.
#[derive(Serialize, ToSchema)]
pub(super) struct ReleaseDocument {
    /// SHA-384 of its manifest, 96 hexadecimal digits: what event logs name it by.
    manifest: String,
    /// `base` or `bundle`.
    part: String,
    /// Its version.
    version: u64,
    /// What it is a release of.
    product: String,
    /// SHA-256 of the release key, 64 hexadecimal digits.
    signer: String,
    /// Who registered it last.
    operator: String,
    /// When, in milliseconds since the Unix epoch.
    registered_at_ms: u64,
    /// When it was retired, in milliseconds since the Unix epoch; null while it is in force.
    retired_at_ms: Option<u64>,
    /// Who retired it.
    retired_by: Option<String>,
    /// When its bundle was published, in milliseconds since the Unix epoch; null if there is none.
    published_at_ms: Option<u64>,
}

impl From<Release> for ReleaseDocument {
    fn from(release: Release) -> Self {
        let (retired_at_ms, retired_by) = release.retired.unzip();
        Self {
            manifest: release.manifest.to_string(),
            part: release.part.name().into(),
            version: release.version,
            product: release.product,
            signer: hex::encode(release.signer),
            operator: release.operator,
            registered_at_ms: release.registered_at_ms,
            retired_at_ms,
            retired_by,
            published_at_ms: release.published_at_ms,
        }
    }
}

/// Registers a release: hosts that were booted from it are accepted. One that was retired is in force again.
#[utoipa::path(
    post, path = "/v1/releases", tag = "operator",
    request_body = NewReleaseDocument,
    responses(
        (status = 204, description = "It is registered."),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn register(
    State(service): State<Arc<Service>>,
    operator: Operator,
    input::Json(document, share): input::Json<NewReleaseDocument>,
) -> Result<StatusCode, Problem> {
    let key = PublicKey::from_spki_der(&document.key.0).map_err(ReleaseError::from)?;
    if !service
        .config
        .measured_boot
        .signers()
        .contains(&key.sha256())
    {
        return Err(ReleaseError::Signer(key.sha256()).into());
    }
    let signed = document.manifest.0;
    let release = VerifiedManifest::verify(&signed, &key).map_err(ReleaseError::from)?;
    to_its_end(share, async move {
        let (storage, operator) = (&service.storage, operator.name);
        let registered = storage.register_release(&release, &signed, &key, &operator, now_ms());
        registered.await?;
        tracing::warn!(manifest = %release.sha384(), operator, "release registered");
        Ok::<_, StorageError>(StatusCode::NO_CONTENT)
    })
    .await
}

/// The releases that were ever registered.
#[utoipa::path(
    get, path = "/v1/releases", tag = "operator",
    params(PageQuery),
    responses(
        (status = 200, body = ReleasesDocument),
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
    let after = query.after.as_deref().map(manifest).transpose()?;
    let page = service.storage.releases(after, limit).await?;
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|release| release.manifest.to_string());
    let releases = page.rows.into_iter().map(Into::into).collect();
    Ok(share.answer(&ReleasesDocument { releases, next }))
}

/// Retires a release: from the answer on, hosts that were booted from it are refused, and what they report.
#[utoipa::path(
    delete, path = "/v1/releases/{manifest}", tag = "operator",
    params(("manifest" = String, Path, description = "SHA-384 of its manifest, 96 hexadecimal digits.")),
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
    let manifest = manifest(&name)?;
    to_its_end(share, async move {
        let (storage, operator) = (&service.storage, operator.name);
        let retired = storage.retire_release(&manifest, &operator, now_ms());
        if !retired.await? {
            return Err(Problem::from(ReleaseError::NotFound));
        }
        service.streams.decided();
        tracing::warn!(%manifest, operator, "release retired");
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn manifest(text: &str) -> Result<Sha384, InputError> {
    text.parse().map_err(|_| InputError::Field {
        field: "manifest",
        expected: "SHA-384: 96 lower-case hexadecimal digits",
    })
}
