//! How the enclave of a host is: what each process knows of it, from the keeper to the operator.
//!
//! | from | to | message |
//! |---|---|---|
//! | keeper | card | [`MachineState`], again whenever it changes and every few seconds |
//! | hypervisor | card | [`EnclaveLink`] |
//! | card | operator | [`EnclaveShown`] |

use minicbor::{Decode, Encode};

use crate::identity::CardId;
use crate::keys::BootDescription;

/// Largest frame from the keeper, in bytes.
pub const KEEPER_FRAME: usize = 4 << 10;

/// The machine, as its keeper has it. Times are seconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct MachineState {
    /// Since when QEMU runs; `None` between two runs.
    #[n(0)]
    pub since_s: Option<u64>,
    /// How often it was started by this keeper.
    #[n(1)]
    pub starts: u64,
    /// Which of its links the machine holds open.
    #[n(2)]
    pub links: OpenLinks,
    /// What QEMU may use, and does.
    #[n(3)]
    pub use_of: Use,
}

/// Links that are open.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct OpenLinks {
    /// To the card.
    #[n(0)]
    pub card: bool,
    /// To the hypervisor.
    #[n(1)]
    pub hypervisor: bool,
    /// To the verifier.
    #[n(2)]
    pub verifier: bool,
}

/// What QEMU's control group may use, and does. `None` is not known, or not limited.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Use {
    /// Most memory, in bytes.
    #[n(0)]
    pub memory_limit: Option<u64>,
    /// Memory, in bytes.
    #[n(1)]
    pub memory: Option<u64>,
    /// Most threads.
    #[n(2)]
    pub threads_limit: Option<u64>,
    /// Threads.
    #[n(3)]
    pub threads: Option<u64>,
    /// Most CPU time, in percent of one CPU.
    #[n(4)]
    pub cpu_limit: Option<u64>,
    /// CPU time since the machine was started, in milliseconds.
    #[n(5)]
    pub cpu_ms: Option<u64>,
}

/// The hypervisor's link to the enclave.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct EnclaveLink {
    /// Since when it is open, in seconds since the Unix epoch; `None` if it is not.
    #[n(0)]
    pub since_s: Option<u64>,
    /// Guests that the enclave is told of.
    #[n(1)]
    pub guests: u64,
}

/// The enclave, as the card of its host has it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct EnclaveShown {
    /// How the host was booted, as its vault was told: the enclave's kernel, image, command line and configuration are of the last phase.
    #[n(0)]
    pub boot: BootDescription,
    /// When it was certified last, and until when that holds, in seconds since the Unix epoch; `None` since the card was started.
    #[n(1)]
    pub certified: Option<Certified>,
    /// Whether the card's own link to it is open.
    #[n(2)]
    pub link: bool,
    /// Whether bytes are moved between it and the verifier.
    #[n(3)]
    pub forwarded: bool,
    /// What its keeper said last; `None` where the card hears no keeper, or has heard none yet.
    #[n(4)]
    pub machine: Option<MachineHeard>,
    /// The hypervisor's link to it; `None` where the hypervisor is away.
    #[n(5)]
    pub hypervisor: Option<EnclaveLink>,
    /// The card.
    #[n(6)]
    pub card: CardId,
}

/// The validity of the enclave's certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Certified {
    /// When they were made.
    #[n(0)]
    pub since_s: u64,
    /// Their last second.
    #[n(1)]
    pub until_s: u64,
}

/// What a keeper said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct MachineHeard {
    /// It.
    #[n(0)]
    pub state: MachineState,
    /// When, in seconds since the Unix epoch.
    #[n(1)]
    pub at_s: u64,
    /// Whether the keeper is there.
    #[n(2)]
    pub connected: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the keeper of another version sends it.
    #[test]
    fn a_state_has_one_encoding_without_what_is_not_known() {
        let state = MachineState {
            since_s: Some(1_700_000_000),
            starts: 2,
            links: OpenLinks {
                card: true,
                ..OpenLinks::default()
            },
            use_of: Use {
                memory: Some(64 << 20),
                ..Use::default()
            },
        };
        let bytes = "a4001a6553f10001 0202a300f501f402f403a1011a04000000".replace(' ', "");
        let bytes = hex::decode(bytes).unwrap();
        assert_eq!(minicbor::to_vec(state).unwrap(), bytes);
        let read: MachineState = minicbor::decode(&bytes).unwrap();
        assert_eq!(read, state);
    }
}
