//! What is measured: one step of a boot each.

use minicbor::{Decode, Encode};

use crate::{Part, Phase, Register, Sha384};

/// A step of a boot, as it is hashed into a register: SHA-384 over its deterministic CBOR.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Measured {
    /// A manifest was accepted.
    #[n(0)]
    Release {
        /// Its part.
        #[n(0)]
        part: Part,
        /// Its version.
        #[n(1)]
        version: u64,
        /// SHA-256 over the SubjectPublicKeyInfo of the release key.
        #[cbor(n(2), with = "minicbor::bytes")]
        signer: [u8; 32],
        /// The digest of what was signed.
        #[n(3)]
        manifest: Sha384,
    },
    /// A component was measured, and is one that the manifest allows.
    #[n(1)]
    Component {
        /// In which phase.
        #[n(0)]
        phase: Phase,
        /// Its name.
        #[n(1)]
        name: String,
        /// What it is.
        #[n(2)]
        sha384: Sha384,
    },
    /// All of a phase was measured.
    #[n(2)]
    Completed {
        /// Which.
        #[n(0)]
        phase: Phase,
    },
    /// The first phase has ended well, with programs by this signer.
    #[n(3)]
    Authority {
        /// SHA-256 over the SubjectPublicKeyInfo of the release key.
        #[cbor(n(0), with = "minicbor::bytes")]
        signer: [u8; 32],
    },
    /// The boot was stopped; nothing comes after.
    #[n(4)]
    Failed {
        /// In which phase.
        #[n(0)]
        phase: Phase,
        /// By which component, where it was one.
        #[n(1)]
        component: Option<String>,
        /// What was found in its place.
        #[n(2)]
        found: Option<Sha384>,
    },
}

/// A step, and the register that it goes into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Which register.
    pub register: Register,
    /// What is measured.
    pub measured: Measured,
}

impl Event {
    /// The event's data: what is hashed.
    #[must_use]
    pub fn data(&self) -> Vec<u8> {
        bartizan_cose::cbor::encode(&self.measured)
    }

    /// What its register is extended by.
    #[must_use]
    pub fn digest(&self) -> Sha384 {
        Sha384::of(&self.data())
    }

    pub(crate) const fn measurement(measured: Measured) -> Self {
        Self {
            register: Register::Measurement,
            measured,
        }
    }

    pub(crate) const fn authority(measured: Measured) -> Self {
        Self {
            register: Register::Authority,
            measured,
        }
    }
}
