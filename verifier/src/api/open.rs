//! What everybody may fetch.

use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::openapi;
use crate::binary::Binary;
use crate::problem::Problem;
use crate::service::Service;
use crate::storage::StorageError;
use crate::token_keys::TokenKey;

/// A JSON Web Key Set (RFC 7517 section 5).
#[derive(Serialize, ToSchema)]
pub(super) struct JwkSetDocument {
    /// The token keys, newest first.
    keys: Vec<JwkDocument>,
}

/// A token key (RFC 7517 section 4).
#[derive(Serialize, ToSchema)]
struct JwkDocument {
    /// Always `EC`.
    kty: String,
    /// Always `P-256`.
    crv: String,
    /// The x coordinate, base64url.
    x: String,
    /// The y coordinate, base64url.
    y: String,
    /// Always `ES256`.
    alg: &'static str,
    /// Always `sig`.
    r#use: &'static str,
    /// The certificate's SHA-256, base64url: equal to `x5t#S256`.
    kid: String,
    /// The certificate's SHA-256, base64url: results name their key by it.
    #[serde(rename = "x5t#S256")]
    x5t_s256: String,
    /// The chain, leaf first, without the fleet CA: DER in base64 with padding (RFC 7517 section 4.7).
    x5c: Vec<String>,
}

impl From<TokenKey> for JwkDocument {
    fn from(key: TokenKey) -> Self {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let thumbprint = Binary::encode(&key.sha256);
        Self {
            kty: key.jwk.kty,
            crv: key.jwk.crv,
            x: key.jwk.x,
            y: key.jwk.y,
            alg: "ES256",
            r#use: "sig",
            kid: thumbprint.clone(),
            x5t_s256: thumbprint,
            x5c: key
                .chain
                .iter()
                .map(|certificate| STANDARD.encode(certificate))
                .collect(),
        }
    }
}

/// The token keys' certificates.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenCertificatesDocument {
    /// One chain a key, newest first; each DER, leaf first, without the fleet CA.
    token_certificates: Vec<Vec<Binary>>,
}

/// The token keys as a JSON Web Key Set.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "open",
    responses((status = 200, body = JwkSetDocument))
)]
pub(super) async fn jwks(State(service): State<Arc<Service>>) -> Json<JwkSetDocument> {
    let keys = service
        .token_keys
        .published()
        .into_iter()
        .map(Into::into)
        .collect();
    Json(JwkSetDocument { keys })
}

/// The certificates of the token keys whose results may still be valid.
#[utoipa::path(
    get, path = "/v1/token-certificates", tag = "open",
    responses((status = 200, body = TokenCertificatesDocument))
)]
pub(super) async fn token_certificates(
    State(service): State<Arc<Service>>,
) -> Json<TokenCertificatesDocument> {
    let chain = |key: TokenKey| key.chain.into_iter().map(Binary).collect();
    let token_certificates = service
        .token_keys
        .published()
        .into_iter()
        .map(chain)
        .collect();
    Json(TokenCertificatesDocument { token_certificates })
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "open",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub(super) async fn description() -> impl IntoResponse {
    // Made once: anybody may ask, as often as they like.
    static DOCUMENT: LazyLock<String> = LazyLock::new(openapi::document);
    (
        [(header::CONTENT_TYPE, "application/json")],
        DOCUMENT.as_str(),
    )
}

/// Whether the service and its database answer.
#[utoipa::path(
    get, path = "/healthz", tag = "open",
    responses(
        (status = 204, description = "It does."),
        (status = 503, body = crate::problem::ProblemDocument,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn health(State(service): State<Arc<Service>>) -> Result<StatusCode, Problem> {
    service
        .storage
        .check()
        .await
        .map_err(|error: StorageError| Problem::from(error))?;
    Ok(StatusCode::NO_CONTENT)
}
