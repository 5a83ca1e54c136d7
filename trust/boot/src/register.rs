//! The two registers: extended, never set (TPM 2.0 part 1, section 17.4).

use minicbor::{Decode, Encode};

use crate::Sha384;

/// A register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Register {
    /// Everything that was measured, in order: another release gives another value.
    #[n(0)]
    Measurement,
    /// Who signed what was started in the first phase, and that it ended well: the same value for every release of one signer.
    /// Keys are sealed to it.
    #[n(1)]
    Authority,
}

/// The values of both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct RegisterValues {
    /// Of [`Register::Measurement`].
    #[n(0)]
    pub measurement: Sha384,
    /// Of [`Register::Authority`].
    #[n(1)]
    pub authority: Sha384,
}

impl RegisterValues {
    /// Both at their start.
    pub const ZERO: Self = Self {
        measurement: Sha384::ZERO,
        authority: Sha384::ZERO,
    };

    /// The value of one.
    #[must_use]
    pub const fn of(&self, register: Register) -> Sha384 {
        match register {
            Register::Measurement => self.measurement,
            Register::Authority => self.authority,
        }
    }

    /// What a register extended by a digest holds: SHA-384(old || digest), as TPM2_PCR_Extend makes it.
    pub fn extend(&mut self, register: Register, digest: &Sha384) {
        let value = match register {
            Register::Measurement => &mut self.measurement,
            Register::Authority => &mut self.authority,
        };
        *value = Sha384::of(&[value.0, digest.0].concat());
    }
}

impl Register {
    /// The register's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measurement => "measurement",
            Self::Authority => "authority",
        }
    }

    /// The number that logs call it by, which is that of the PCR where a TPM has it and the configuration names no other.
    #[must_use]
    pub const fn pcr(self) -> u32 {
        match self {
            Self::Measurement => 12,
            Self::Authority => 15,
        }
    }
}
