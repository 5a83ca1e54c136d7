//! Bundles, which hosts fetch in order to be booted from them: before the verifier knows how they were booted.
//!
//! Nobody need believe what is served here: hosts verify it by their release key. It is looked at when it is published, so that no
//! mistake stops each boot.

use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use bartizan_attestation::boot::{Bundle, BundleError, Sha384, UnfitBundleError};
use bartizan_attestation::cose::{CoseError, MessageType, Unverified};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

use super::access::{Booting, Operator};
use super::body::{Bodiless, Pace, arrival, bounded};
use super::input::{InputError, Segment};
use crate::clock::now_ms;
use crate::cut::Cut;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::{NewBundle, Published, Storage};
use crate::task::{blocking, to_its_end};

mod serving;

pub(super) use serving::Serving;

/// One is published at a time: three times its size is what that takes in memory.
#[derive(Clone, Debug)]
pub(super) struct Publishing(Arc<Semaphore>);

impl Default for Publishing {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// The whole of what is to be published, and the turn in which that is done.
#[derive(Debug)]
pub(super) struct NewBytes {
    bytes: Vec<u8>,
    turn: OwnedSemaphorePermit,
}

/// A bundle was not published, or there is none.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    /// Another one is being published.
    #[error("another bundle is being published; try again")]
    Busy,
    /// It is none.
    #[error(transparent)]
    Malformed(#[from] BundleError),
    /// What it has in the place of a manifest is none.
    #[error("the bundle has no signed manifest: {0}")]
    Unsigned(#[from] CoseError),
    /// Its release is not in force.
    #[error(
        "no release of manifest {0} is in force; run `bartizan release register` with this bundle first"
    )]
    Unregistered(Sha384),
    /// No boot could go on from it.
    #[error("no host could be booted from it: {0}")]
    Unfit(#[from] UnfitBundleError),
    /// As many later ones are kept as there may be.
    #[error(
        "{} bundles of later versions are published; retire one of their releases first",
        Storage::BUNDLES_OF_A_KEY
    )]
    Superseded,
    /// Somebody else dropped some of it while it was being stored.
    #[error(
        "pieces of the bundle were dropped while it was being stored, as a second verifier does that is started with this database; see that there is one only, and try again"
    )]
    Torn,
    /// None of that key is published and in force.
    #[error(
        "no bundle of this release key is published and in force; see `bartizan release list` and `bartizan release publish`"
    )]
    None,
    /// As many hosts as may are being served.
    #[error("bundles are being served to as many hosts as may be at once; try again")]
    ServingBusy,
}

impl ProblemType for PublishError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Busy => ("publishing-busy", StatusCode::SERVICE_UNAVAILABLE),
            Self::Malformed(_) | Self::Unsigned(_) => {
                ("bundle-malformed", StatusCode::UNPROCESSABLE_ENTITY)
            }
            Self::Unregistered(_) => ("bundle-release-unknown", StatusCode::CONFLICT),
            Self::Unfit(_) => ("bundle-refused", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Superseded => ("bundle-superseded", StatusCode::CONFLICT),
            Self::Torn => ("bundle-torn", StatusCode::SERVICE_UNAVAILABLE),
            Self::None => ("bundle-not-published", StatusCode::NOT_FOUND),
            Self::ServingBusy => ("bundles-busy", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        matches!(self, Self::Busy | Self::ServingBusy).then_some(1)
    }
}

/// A bundle that was published.
#[derive(Serialize, ToSchema)]
pub(super) struct PublishedDocument {
    /// SHA-384 of its release's manifest, 96 hexadecimal digits.
    manifest: String,
    /// Its version.
    version: u64,
    /// What it is a release of.
    product: String,
    /// SHA-384 over all of it, 96 hexadecimal digits.
    sha384: String,
}

impl FromRequest<Arc<Service>> for NewBytes {
    type Rejection = Problem;

    async fn from_request(
        request: Request,
        service: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        let (parts, body) = request.into_parts();
        let size = bounded(&parts, Bundle::MAX_LEN)?;
        let publishing = parts
            .extensions
            .get::<Publishing>()
            .ok_or(PublishError::Busy)?;
        let turn = Arc::clone(&publishing.0).try_acquire_owned();
        let turn = turn.map_err(|_| PublishError::Busy)?;
        let bytes = arrival(body, size, Pace::of(&service.config.limits)).await?;
        Ok(Self { bytes, turn })
    }
}

/// Publishes the bundle of a registered release: hosts are served the newest one of their release key. The body is the bundle.
#[utoipa::path(
    post, path = "/v1/bundles", tag = "operator",
    request_body(content = String, content_type = "application/octet-stream", description = "The bundle, at most 64 MiB."),
    responses(
        (status = 200, body = PublishedDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn publish(
    State(service): State<Arc<Service>>,
    operator: Operator,
    Bodiless(share): Bodiless,
    new: NewBytes,
) -> Result<Json<PublishedDocument>, Problem> {
    let published = to_its_end(share, publish_whole(service, operator, new));
    published.await.map(Json)
}

/// The turn goes with the memory, which is beside that of other requests.
async fn publish_whole(
    service: Arc<Service>,
    operator: Operator,
    NewBytes { bytes, turn: _turn }: NewBytes,
) -> Result<PublishedDocument, Problem> {
    let (read, bytes) = blocking(move || (read(&bytes), bytes)).await?;
    let (bundle, manifest) = read?;
    let storage = &service.storage;
    let key = storage.release_key_of(&manifest).await?;
    let key = key.ok_or(PublishError::Unregistered(manifest))?;
    let signer = key.sha256();
    let verifying = move || {
        let verified = bundle.verify(&key);
        drop(bundle);
        (verified, Sha384::of(&bytes), bytes)
    };
    let (verified, sha384, bytes) = blocking(verifying).await?;
    let verified = verified.map_err(PublishError::from)?;
    let new = NewBundle {
        manifest: &manifest,
        signer: &signer,
        bytes: &bytes,
        sha384,
        operator: &operator.name,
    };
    match storage.publish_bundle(new, now_ms()).await? {
        Published::Kept => {}
        Published::Superseded => return Err(PublishError::Superseded.into()),
        Published::Retired => return Err(PublishError::Unregistered(manifest).into()),
        Published::Torn => return Err(PublishError::Torn.into()),
    }
    let release = verified.manifest();
    tracing::warn!(%manifest, version = release.version, operator = operator.name, "bundle published");
    Ok(PublishedDocument {
        manifest: manifest.to_string(),
        version: release.version,
        product: release.product.clone(),
        sha384: sha384.to_string(),
    })
}

/// A bundle, and the digest of what claims to be its manifest: nobody has verified either.
fn read(bytes: &[u8]) -> Result<(Bundle, Sha384), PublishError> {
    let bundle = Bundle::from_bytes(bytes)?;
    let message = Unverified::parse(&bundle.manifest, MessageType::ReleaseManifest)?;
    let manifest = Sha384::of(message.unverified_payload());
    Ok((bundle, manifest))
}

/// The newest published bundle of a release key, among those of releases in force. Its host's boot needs not to be accepted.
#[utoipa::path(
    get, path = "/v1/bundles/{release_key}", tag = "host",
    params(("release_key" = String, Path, description = "SHA-256 over its SubjectPublicKeyInfo, 64 hexadecimal digits.")),
    responses(
        (status = 200, description = "The bundle.", body = String, content_type = "application/octet-stream"),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn newest(
    State(service): State<Arc<Service>>,
    host: Booting,
    Extension(serving): Extension<Serving>,
    Segment(key): Segment,
    Extension(cut): Extension<Cut>,
) -> Result<Response, Problem> {
    let bundle = service.storage.newest_bundle(&release_key(&key)?).await?;
    let bundle = bundle.ok_or(PublishError::None)?;
    let turn = serving.begin(host.card, cut).await;
    let turn = turn.ok_or(PublishError::ServingBusy)?;
    let pace = Pace::of(&service.config.limits);
    let body = serving::serve(service.storage.clone(), bundle, pace, turn);
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, bundle.size.to_string()),
    ];
    Ok((headers, body).into_response())
}

fn release_key(text: &str) -> Result<[u8; 32], InputError> {
    let mut key = [0; 32];
    let decoded = hex::decode_to_slice(text, &mut key);
    decoded.map(|()| key).map_err(|_| InputError::Field {
        field: "release_key",
        expected: "SHA-256 over a SubjectPublicKeyInfo: 64 hexadecimal digits",
    })
}
