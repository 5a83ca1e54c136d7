//! The fleet's CAs, as the host tells them: by them a guest that was launched with a CA that was replaced since verifies what the
//! present one certified. None of it is believed that does not lead back to the anchor.

use bartizan_attestation::certificates::{FormerFleetCa, Lineage};
use serde::Deserialize;

use crate::host_api::{HostApiError, decode};

/// In base64url.
#[derive(Deserialize)]
pub(crate) struct FleetCas {
    fleet_ca: String,
    former: Vec<Former>,
}

#[derive(Deserialize)]
struct Former {
    fleet_ca: String,
    new_with_old: String,
    old_with_new: String,
}

impl FleetCas {
    pub(crate) fn lineage(&self) -> Result<Lineage, HostApiError> {
        let bytes = |text: &str| decode("fleet_cas", text).map(Into::into);
        let former = |ca: &Former| {
            Ok(FormerFleetCa {
                certificate: bytes(&ca.fleet_ca)?,
                new_with_old: bytes(&ca.new_with_old)?,
                old_with_new: bytes(&ca.old_with_new)?,
            })
        };
        Ok(Lineage {
            present: bytes(&self.fleet_ca)?,
            former: self
                .former
                .iter()
                .map(former)
                .collect::<Result<_, HostApiError>>()?,
        })
    }
}
