//! The messages as `stream.proto` has them: what protobuf can carry, right or wrong. They leave this crate as [`crate::message`] alone.
//!
//! Written by hand, so that no build needs a compiler of `.proto` files. Who changes one changes the other.

use prost::bytes::Bytes;
use prost::{Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Up {
    #[prost(oneof = "UpMessage", tags = "1, 2, 3, 4, 5")]
    pub(crate) message: Option<UpMessage>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum UpMessage {
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(message, tag = "2")]
    Evidence(Evidence),
    #[prost(message, tag = "3")]
    PolicyInForce(PolicyInForce),
    #[prost(message, tag = "4")]
    PolicyRefused(PolicyRefused),
    #[prost(message, tag = "5")]
    CommandDone(CommandDone),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Down {
    #[prost(oneof = "DownMessage", tags = "1, 2, 3, 4")]
    pub(crate) message: Option<DownMessage>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum DownMessage {
    #[prost(message, tag = "1")]
    EvidenceKept(EvidenceKept),
    #[prost(message, tag = "2")]
    PolicySet(PolicySet),
    #[prost(message, tag = "3")]
    Appraisal(Appraisal),
    #[prost(message, tag = "4")]
    Command(Command),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Hello {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) source: Bytes,
    #[prost(uint64, tag = "2")]
    pub(crate) oldest: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) next: u64,
    #[prost(message, optional, tag = "4")]
    pub(crate) in_force: Option<HeldSet>,
    #[prost(uint64, tag = "5")]
    pub(crate) last_command: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HeldSet {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) digest: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Evidence {
    #[prost(uint64, tag = "1")]
    pub(crate) sequence: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) signed: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PolicyInForce {
    #[prost(message, optional, tag = "1")]
    pub(crate) set: Option<HeldSet>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) guests: Vec<GuestPolicy>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GuestPolicy {
    #[prost(message, optional, tag = "1")]
    pub(crate) guest: Option<Guest>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) digest: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PolicyRefused {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(enumeration = "RefusalReason", tag = "2")]
    pub(crate) reason: i32,
    #[prost(string, tag = "3")]
    pub(crate) detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
#[repr(i32)]
pub(crate) enum RefusalReason {
    Unspecified = 0,
    Rollback = 1,
    Author = 2,
    Malformed = 3,
    Failed = 4,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CommandDone {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(enumeration = "CommandOutcome", tag = "2")]
    pub(crate) outcome: i32,
    #[prost(string, tag = "3")]
    pub(crate) detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
#[repr(i32)]
pub(crate) enum CommandOutcome {
    Unspecified = 0,
    Done = 1,
    NoGuest = 2,
    Failed = 3,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EvidenceKept {
    #[prost(uint64, tag = "1")]
    pub(crate) up_to: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PolicySet {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) signed: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Guest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) vm: Bytes,
    #[prost(uint64, tag = "2")]
    pub(crate) boot: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Appraisal {
    #[prost(message, optional, tag = "1")]
    pub(crate) guest: Option<Guest>,
    #[prost(enumeration = "Trust", tag = "2")]
    pub(crate) trust: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
#[repr(i32)]
pub(crate) enum Trust {
    Unspecified = 0,
    None = 1,
    Affirming = 2,
    Contraindicated = 3,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Command {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(enumeration = "CommandKind", tag = "2")]
    pub(crate) kind: i32,
    #[prost(message, optional, tag = "3")]
    pub(crate) guest: Option<Guest>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
#[repr(i32)]
pub(crate) enum CommandKind {
    Unspecified = 0,
    Isolate = 1,
    Release = 2,
}
