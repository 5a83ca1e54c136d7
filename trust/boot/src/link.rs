//! What the launcher says to the vault and hears of the coordinator: frames over links that both inherit, so that nobody else
//! can have a part in them.

use minicbor::{Decode, Encode};

use crate::{Phase, Refusal, Sha384};

/// Launcher → vault: a step of the boot, before anything of it takes effect. One frame of at most
/// [`VaultStep::MAX_FRAME`] bytes.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum VaultStep {
    /// The first: who signs releases. Anything the vault was told before is forgotten, but not what it extended.
    #[n(0)]
    Begin {
        /// The release key's SubjectPublicKeyInfo, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        release_key: Vec<u8>,
        /// How many events were extended since the machine started, where this vault takes the place of one that ended:
        /// registers that outlive a vault hold them already.
        #[n(1)]
        extended: u32,
    },
    /// A signed manifest.
    #[n(1)]
    Release(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// A component was measured; it is not started before the vault agrees.
    #[n(2)]
    Measure {
        /// Its name.
        #[n(0)]
        name: String,
        /// What it is.
        #[n(1)]
        sha384: Sha384,
    },
    /// All of a phase was measured.
    #[n(3)]
    Complete(#[n(0)] Phase),
    /// The boot is stopped.
    #[n(4)]
    Fail(#[n(0)] Refusal),
    /// The boot is done: everything that was started is ready. From now on no lower version will do.
    #[n(5)]
    Booted,
    /// What the host's own firmware measured before the launcher: the bytes of a [`crate::FirmwareLog`], which the vault does not
    /// read. Right after the first, once at most, where the host has such a log.
    #[n(60)]
    Firmware(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
}

/// Vault → launcher.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum VaultAnswer {
    /// It is so.
    #[n(0)]
    Done {
        /// How many events were extended so far.
        #[n(0)]
        extended: u32,
    },
    /// Refused; the boot is stopped.
    #[n(1)]
    Refused {
        /// Why.
        #[n(0)]
        refusal: Refusal,
        /// How many events were extended so far.
        #[n(1)]
        extended: u32,
    },
}

/// Coordinator → launcher. One frame of at most [`CoordinatorStep::MAX_FRAME`] bytes.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum CoordinatorStep {
    /// The first stage: this is the bundle ([`crate::Bundle`]). The second stage is started from it.
    #[n(0)]
    Bundle(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// The second stage: measure and start this phase.
    #[n(1)]
    Launch(#[n(0)] Phase),
    /// A stage cannot go on.
    #[n(2)]
    Fail(#[n(0)] Refusal),
}

/// Launcher → coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum CoordinatorAnswer {
    /// Done: what was started is ready.
    #[n(0)]
    Done,
    /// The bundle has nothing for that phase; it is left out, and what it would open stays shut.
    #[n(1)]
    Nothing,
    /// The boot was stopped.
    #[n(2)]
    Stopped(#[n(0)] Refusal),
}

impl VaultStep {
    /// Largest frame either way, in bytes.
    pub const MAX_FRAME: usize = 2 << 20;
}

impl CoordinatorStep {
    /// Largest frame either way, in bytes.
    pub const MAX_FRAME: usize = crate::Bundle::MAX_LEN + (64 << 10);
}
