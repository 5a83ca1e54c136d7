//! The registers that a measured boot extends: what was started, and who vouched for it.

use std::sync::{Mutex, PoisonError};

use bartizan_attestation::digest::Hasher;
use bartizan_attestation::measurement::HashAlgorithm;

/// A register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Register {
    /// What was started: programs, configurations, images.
    Measurement,
    /// Who vouched for it: the keys that signed what was started.
    Authority,
}

/// Both registers, SHA-384; zero at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegisterValues {
    /// Of [`Register::Measurement`].
    pub measurement: [u8; 48],
    /// Of [`Register::Authority`].
    pub authority: [u8; 48],
}

/// Registers in memory, for back ends without their own: they begin anew with the process.
#[derive(Debug)]
pub(crate) struct VolatileRegisters(Mutex<RegisterValues>);

impl VolatileRegisters {
    pub(crate) fn extend(&self, register: Register, digest: &[u8; 48]) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = match register {
            Register::Measurement => &mut values.measurement,
            Register::Authority => &mut values.authority,
        };
        *value = extended(value, digest);
    }

    pub(crate) fn values(&self) -> RegisterValues {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for VolatileRegisters {
    fn default() -> Self {
        Self(Mutex::new(RegisterValues {
            measurement: [0; 48],
            authority: [0; 48],
        }))
    }
}

/// `SHA-384(old || digest)`, as TPM2_PCR_Extend does it (TPM 2.0 Library part 1 section 17).
fn extended(old: &[u8; 48], digest: &[u8; 48]) -> [u8; 48] {
    let mut hasher = Hasher::new(HashAlgorithm::Sha384);
    hasher.update(old);
    hasher.update(digest);
    let mut new = [0; 48];
    // INVARIANT: SHA-384 has 48 bytes.
    for (to, from) in new.iter_mut().zip(hasher.finish().0) {
        *to = from;
    }
    new
}
