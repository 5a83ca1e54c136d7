//! The fleet CA, and another in its place.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bartizan_attestation::certificates::{FormerFleetCa, Lineage};
use bartizan_attestation::rotation::{AuthorisedRotation, RotationRefusal};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::Operator;
use super::input;
use crate::anchors::AnchorsError;
use crate::binary::Binary;
use crate::clock::now_s;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::task::to_its_end;
use crate::tls_identity::TlsIdentityError;

/// The fleet CA was not replaced.
#[derive(Debug, thiserror::Error)]
enum FleetCaRouteError {
    /// The order is not to be followed.
    #[error(transparent)]
    Order(#[from] RotationRefusal),
    /// Another operator signed it.
    #[error("operator `{signer}` signed this order; hand in your own")]
    OtherOperator {
        /// Who did.
        signer: String,
    },
    /// It was, and whoever follows now does not know this server.
    #[error(
        "the fleet CA was replaced, and nobody is told before this server has a certificate by the new one, which is tried again every 5 s: {0}; do not order another, run `bartizan operator roll-fleet-ca` in a while"
    )]
    NotShown(#[source] TlsIdentityError),
    /// The vault did not do it.
    #[error(transparent)]
    Anchors(#[from] AnchorsError),
}

impl ProblemType for FleetCaRouteError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Order(_) | Self::OtherOperator { .. } => {
                ("rotation-refused", StatusCode::FORBIDDEN)
            }
            Self::NotShown(_) => ("fleet-ca-not-shown", StatusCode::SERVICE_UNAVAILABLE),
            Self::Anchors(error) => error.kind(),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Anchors(error) => error.retry_after_s(),
            _ => None,
        }
    }
}

/// The fleet CA, and those before it.
#[derive(Serialize, ToSchema)]
pub(super) struct FleetCaDocument {
    /// The present one's certificate, DER. This answer proves nothing: compare it with what was pinned, or follow the links from
    /// there.
    fleet_ca: Binary,
    /// The former ones, the oldest first; four at most.
    former: Vec<FormerFleetCaDocument>,
}

/// A fleet CA that was replaced. All certificates are DER.
#[derive(Serialize, ToSchema)]
struct FormerFleetCaDocument {
    /// Its own certificate.
    fleet_ca: Binary,
    /// The next CA's name and key, certified by this one (RFC 4210 section 4.4).
    new_with_old: Binary,
    /// This one's name and key, certified by the next one, until all that it certified has ended.
    old_with_new: Binary,
}

impl From<&Lineage> for FleetCaDocument {
    fn from(lineage: &Lineage) -> Self {
        let former = |ca: &FormerFleetCa| FormerFleetCaDocument {
            fleet_ca: ca.certificate.to_vec().into(),
            new_with_old: ca.new_with_old.to_vec().into(),
            old_with_new: ca.old_with_new.to_vec().into(),
        };
        Self {
            fleet_ca: lineage.present.to_vec().into(),
            former: lineage.former.iter().map(former).collect(),
        }
    }
}

/// An order to replace the fleet CA.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotationDocument {
    /// COSE_Sign1 by an administrator over the SHA-256 of the CA that is to be replaced, and when the order expires.
    order: Binary,
}

/// The fleet CA's certificate, and what links it to the former ones.
#[utoipa::path(
    get, path = "/v1/fleet-ca", tag = "open",
    responses((status = 200, body = FleetCaDocument))
)]
pub(super) async fn show(State(service): State<Arc<Service>>) -> Json<FleetCaDocument> {
    Json(FleetCaDocument::from(&*service.tls.lineage()))
}

/// Replaces the fleet CA, on an order that the operator who asks has signed: the vault follows no word of this service. Hosts, guests and
/// operators follow by the links in the answer; what the former CA certified stays good to its end. 409 while four former CAs have
/// certified what may be valid.
#[utoipa::path(
    post, path = "/v1/keys/fleet-ca/rotate", tag = "operator",
    request_body = RotationDocument,
    responses(
        (status = 200, body = FleetCaDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rotate(
    State(service): State<Arc<Service>>,
    operator: Operator,
    input::Json(wish, share): input::Json<RotationDocument>,
) -> Result<Json<FleetCaDocument>, Problem> {
    // The vault judges it again. Here it is known besides whether its operator is revoked: it is the one who asks.
    let order = AuthorisedRotation::verify(&wish.order.0, &service.anchors.ca(), now_s())
        .map_err(FleetCaRouteError::from)?;
    if order.operator() != operator.name {
        let signer = order.operator().to_owned();
        return Err(FleetCaRouteError::OtherOperator { signer }.into());
    }
    let rotated = to_its_end(share, async move {
        let known = service.anchors.rotate(wish.order.0).await?;
        let certificate = hex::encode(known.ca().sha256());
        tracing::warn!(operator = operator.name, certificate, "fleet CA replaced");
        // From now on nothing new is the former CA's. What is not done here is tried again by its schedule, or is good by the links.
        let shown = service.tls.follow().await;
        shown.map_err(FleetCaRouteError::NotShown)?;
        // Only then: nobody finds the way to the new CA before.
        if let Err(error) = service.token_keys.replace().await {
            tracing::warn!(%error, "the token key's certificate is the former fleet CA's still");
        }
        Ok::<_, FleetCaRouteError>(FleetCaDocument::from(&**known.lineage()))
    });
    rotated.await.map(Json)
}
