//! Hypervisor ⇄ enclave: which guests run, and what devices and the enclave have to say to one another.
//!
//! Frames over the channel between the two. What is said of guests is said anew on each channel; [`ToEnclave::AllTold`] follows, and
//! whoever was not named by then does not run.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::identity::GuestIdentity;

/// Largest frame to the enclave, in bytes: a signed launch record, and some.
pub const TO_ENCLAVE_FRAME: usize = 256 << 10;
/// Largest frame of the enclave's, in bytes.
pub const FROM_ENCLAVE_FRAME: usize = 32 << 10;

/// What the hypervisor says.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ToEnclave {
    /// A guest runs, or is about to.
    #[n(0)]
    Runs(#[n(0)] RunningGuest),
    /// A guest has ended.
    #[n(1)]
    Ended(#[n(0)] GuestIdentity),
    /// Those that run were all told.
    #[n(2)]
    AllTold,
    /// Devices are there: they know no epoch yet.
    #[n(3)]
    DevicesThere,
    /// What devices said: the contents of a frame of theirs.
    #[n(4)]
    OfDevices(#[n(0)] ByteVec),
    /// Devices are gone: what they asked is not waited for any more.
    #[n(5)]
    DevicesGone,
    /// Whether it is there. Answer: [`FromEnclave::Pong`], whatever else it has to say.
    #[n(6)]
    Ping,
}

/// What the enclave says.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum FromEnclave {
    /// For devices: the contents of a frame.
    #[n(0)]
    ForDevices(#[n(0)] ByteVec),
    /// It is there.
    #[n(1)]
    Pong,
}

/// A guest that runs.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct RunningGuest {
    /// Its identity.
    #[n(0)]
    pub guest: GuestIdentity,
    /// Its launch record (COSE_Sign1), as the operator signed it: the enclave verifies that itself.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub record: Vec<u8>,
    /// When the operator sent it, in seconds since the Unix epoch: the operator's certificate had to be valid then.
    #[n(2)]
    pub ordered_at_s: u64,
}
