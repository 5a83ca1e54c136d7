//! The registers that a measured boot extends, for back ends that have none of their own.

use std::sync::{Mutex, PoisonError};

use bartizan_attestation::boot::Sha384;

pub use bartizan_attestation::boot::{Register, RegisterValues};

/// Registers in memory: they begin anew with the process.
#[derive(Debug)]
pub(crate) struct VolatileRegisters(Mutex<RegisterValues>);

impl VolatileRegisters {
    pub(crate) fn extend(&self, register: Register, digest: &Sha384) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.extend(register, digest);
    }

    pub(crate) fn values(&self) -> RegisterValues {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for VolatileRegisters {
    fn default() -> Self {
        Self(Mutex::new(RegisterValues::ZERO))
    }
}
