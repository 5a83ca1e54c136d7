//! Which certificates of hosts with a TPM were shown on a connection that the TPM has quoted its registers for.
//!
//! A certificate by a card says what the card's vault was told; that the boot is the present one the TPM alone can say. So each
//! new TLS certificate of such a host, one in half an hour, counts once a quote came over a connection with it. What is remembered
//! is lost with the process, and is asked for again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The certificates, by their SHA-256, and when they end, in seconds since the Unix epoch.
#[derive(Debug, Default)]
pub struct Quoted(Mutex<HashMap<[u8; 32], u64>>);

impl Quoted {
    /// A quote came over a connection with this certificate.
    pub fn add(&self, certificate: [u8; 32], not_after: u64, now_s: u64) {
        let mut quoted = self.lock();
        // Only cards that a TPM has quoted for get here, a few certificates each.
        quoted.retain(|_, not_after| *not_after >= now_s);
        quoted.insert(certificate, not_after);
    }

    /// Whether one did.
    #[must_use]
    pub fn has(&self, certificate: &[u8; 32]) -> bool {
        self.lock().contains_key(certificate)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_forgotten() {
        let quoted = Quoted::default();
        quoted.add([1; 32], 100, 50);
        assert!(quoted.has(&[1; 32]) && !quoted.has(&[2; 32]));
        quoted.add([2; 32], 200, 101);
        assert!(!quoted.has(&[1; 32]) && quoted.has(&[2; 32]));
    }
}
