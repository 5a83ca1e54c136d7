//! Which certificates of hosts with a TPM were shown on a connection that the TPM has quoted its registers for.
//!
//! A certificate by a card says what the card's vault was told; that the boot is the present one the TPM alone can say. So each
//! new TLS certificate of such a host, one in half an hour, counts once a quote came over a connection with it. What is remembered
//! is lost with the process, and is asked for again: so another configuration's demands hold from its start on. The certificate of
//! the host's enclave counts as long as one of the host's does that is of the same boot.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::identity::CardId;

use crate::firmware::ComparedFirmware;

/// The certificates, by their SHA-256.
#[derive(Debug, Default)]
pub struct Quoted(Mutex<HashMap<[u8; 32], Shown>>);

#[derive(Debug)]
struct Shown {
    /// The host's card, and the boot that the certificate was issued in.
    boot: (CardId, Vec<Sha384>),
    /// When the certificate ends, in seconds since the Unix epoch.
    not_after: u64,
    /// What the host's firmware was compared with.
    firmware: Option<ComparedFirmware>,
}

impl Quoted {
    /// A quote came over a connection with this certificate.
    pub fn add(
        &self,
        certificate: [u8; 32],
        boot: (CardId, Vec<Sha384>),
        not_after: u64,
        firmware: Option<ComparedFirmware>,
        now_s: u64,
    ) {
        let mut quoted = self.lock();
        // Only cards that a TPM has quoted for get here, a few certificates each.
        quoted.retain(|_, shown| shown.not_after >= now_s);
        let shown = Shown {
            boot,
            not_after,
            firmware,
        };
        quoted.insert(certificate, shown);
    }

    /// What the firmware of the host was compared with, if a quote came.
    #[must_use]
    pub fn of(&self, certificate: &[u8; 32]) -> Option<Option<ComparedFirmware>> {
        let quoted = self.lock();
        quoted.get(certificate).map(|shown| shown.firmware.clone())
    }

    /// The same for whoever has another certificate of that card and boot.
    #[must_use]
    pub fn of_boot(
        &self,
        card: CardId,
        phases: &[Sha384],
        now_s: u64,
    ) -> Option<Option<ComparedFirmware>> {
        let quoted = self.lock();
        let mut shown = quoted.values().filter(|shown| shown.not_after >= now_s);
        let of_boot = shown.find(|shown| shown.boot.0 == card && shown.boot.1 == phases)?;
        Some(of_boot.firmware.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Shown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_forgotten() {
        let quoted = Quoted::default();
        let boot = |card| (CardId([card; 32]), vec![Sha384([card; 48])]);
        quoted.add([1; 32], boot(1), 100, None, 50);
        assert_eq!(
            [quoted.of(&[1; 32]), quoted.of(&[2; 32])],
            [Some(None), None]
        );
        let of_boot =
            |card, phase, now| quoted.of_boot(CardId([card; 32]), &[Sha384([phase; 48])], now);
        assert_eq!(
            [
                of_boot(1, 1, 100),
                of_boot(1, 1, 101),
                of_boot(1, 2, 50),
                of_boot(2, 1, 50)
            ],
            [Some(None), None, None, None]
        );
        quoted.add([2; 32], boot(2), 200, None, 101);
        assert_eq!(
            [quoted.of(&[1; 32]), quoted.of(&[2; 32])],
            [None, Some(None)]
        );
    }
}
