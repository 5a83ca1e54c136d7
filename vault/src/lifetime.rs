//! For how long the vault certifies a key, whoever asks for more.

use bartizan_attestation::certificates::Usage;
use bartizan_attestation::keys::VaultRefusal;

const HOUR_S: u64 = 3600;
const DAY_S: u64 = 24 * HOUR_S;
/// A year, in seconds.
pub(crate) const YEAR_S: u64 = 365 * DAY_S;

/// Longest lifetime of a certificate, in seconds. Short ones are what ends the work of who took a card over.
pub(crate) const fn longest_s(usage: Usage) -> u64 {
    match usage {
        Usage::Card | Usage::Operator => YEAR_S,
        Usage::TlsClient
        | Usage::ReportKey
        | Usage::EnclaveTls
        | Usage::Evidence
        | Usage::Hypervisor => HOUR_S,
        Usage::GuestKey => DAY_S,
        // The verifier's configuration says how long; 24 hours if it does not.
        Usage::TlsServer | Usage::Token => 7 * DAY_S,
    }
}

/// The lifetime that was asked for, if a certificate of that usage may have it.
pub(crate) fn lifetime(usage: Usage, asked_s: u64) -> Result<u64, VaultRefusal> {
    let longest_s = longest_s(usage);
    if (1..=longest_s).contains(&asked_s) {
        return Ok(asked_s);
    }
    Err(VaultRefusal::NotSignable(format!(
        "a certificate of this kind lasts 1 to {longest_s} s, not {asked_s}"
    )))
}
