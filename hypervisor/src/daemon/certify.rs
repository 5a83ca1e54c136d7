//! Brings a measurer's CSR to the card and the certificate back.

use bartizan_attestation::host::{CardReply, CardRequest, SupervisorReply, SupervisorRequest};

use super::guest::Guest;
use super::link::LinkError;

/// Has the card certify the report key of `guest`'s measurer.
pub(super) async fn certify(guest: &Guest, csr: Vec<u8>) -> Result<(), LinkError> {
    let request = CardRequest::CertifyReportKey {
        csr,
        guest: guest.identity,
        launch_measurement: guest.launch_measurement.clone(),
    };
    let CardReply::Chain(chain) = guest.card.ask(&request).await? else {
        return Err(LinkError::Unexpected("card"));
    };
    match guest
        .supervisor
        .ask(&SupervisorRequest::InstallCertificate { chain })
        .await?
    {
        SupervisorReply::Done => Ok(()),
        _ => Err(LinkError::Unexpected("supervisor")),
    }
}
