//! From a signed request to what is to be measured.

use bartizan_attestation::cose::{MessageType, Unverified};
use bartizan_attestation::measurement::{MeasurementRequest, Refusal};

/// Parses a signed request strictly. Its signature is the hypervisor's to check: the measurer is not told
/// the guest's key, and its report carries the request verbatim for the verifier to check again.
///
/// # Errors
/// [`Refusal::Malformed`], or the refusal that a region earns.
pub fn parse(signed: &[u8]) -> Result<MeasurementRequest, Refusal> {
    let message = Unverified::parse(signed, MessageType::MeasurementRequest)
        .map_err(|error| Refusal::Malformed(error.to_string()))?;
    Ok(MeasurementRequest::decode(message.unverified_payload())?)
}

/// The most bytes that this request may measure, of a guest with that budget. Page digests of more would
/// outgrow the report.
pub(crate) fn allowed(request: &MeasurementRequest, budget: u64) -> u64 {
    if request.page_digests {
        budget.min(MeasurementRequest::MAX_BYTES_WITH_PAGE_DIGESTS)
    } else {
        budget
    }
}

/// Refuses more bytes than are allowed.
pub(crate) const fn check_size(requested: u64, allowed: u64) -> Result<(), Refusal> {
    if requested > allowed {
        Err(Refusal::OverBudget { requested, allowed })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
