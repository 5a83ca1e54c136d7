//! Card → hypervisor: what an operator ordered, and the card has authorised.

use minicbor::{Decode, Encode};

use super::enclave_status::EnclaveLink;
use super::flows::{FlowsSeen, ObserveFlows};
use super::measurer::ReportKeyRotated;
use super::supervisor::GuestStatus;

/// What the card asks the hypervisor for an operator. A VM is named by its name or its UUID.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum OperatorRequest {
    /// Run a guest from a signed launch record. Answer: [`OperatorReply::Guest`].
    #[n(0)]
    Run {
        /// COSE_Sign1 over the YAML.
        #[cbor(n(0), with = "minicbor::bytes")]
        record: Vec<u8>,
    },
    /// All guests. Answer: [`OperatorReply::Guests`].
    #[n(1)]
    List,
    /// One guest. Answer: [`OperatorReply::Guest`].
    #[n(2)]
    Show {
        /// Name or UUID.
        #[n(0)]
        vm: String,
    },
    /// Stop a guest. Answer: [`OperatorReply::Done`].
    #[n(3)]
    Stop {
        /// Name or UUID.
        #[n(0)]
        vm: String,
        /// At once, not by ACPI.
        #[n(1)]
        force: bool,
    },
    /// The end of a guest's console output. Answer: [`OperatorReply::Console`].
    #[n(4)]
    Console {
        /// Name or UUID.
        #[n(0)]
        vm: String,
        /// At most so many bytes.
        #[n(1)]
        max: u32,
    },
    /// Have a guest's measurer make a new report key now. Answer, once it is certified: [`OperatorReply::ReportKeyRotated`].
    #[n(20)]
    RotateReportKey {
        /// Name or UUID.
        #[n(0)]
        vm: String,
    },
    /// The link to the enclave. Answer: [`OperatorReply::Enclave`].
    #[n(40)]
    ShowEnclave,
    /// See a guest's flows. Answer: [`OperatorReply::Seen`], until it says that it is over.
    #[n(100)]
    ObserveFlows(#[n(0)] ObserveFlows),
}

/// What the hypervisor answers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum OperatorReply {
    /// Done.
    #[n(0)]
    Done,
    /// One guest.
    #[n(1)]
    Guest(#[n(0)] GuestStatus),
    /// All guests.
    #[n(2)]
    Guests(#[n(0)] Vec<GuestSummary>),
    /// Console output.
    #[n(3)]
    Console(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Refused.
    #[n(4)]
    Refused(#[n(0)] OperatorRefusal),
    /// The guest asked about does not run, or its supervisor does not answer: what is known of it.
    #[n(5)]
    Summary(#[n(0)] GuestSummary),
    /// A new report key signs.
    #[n(20)]
    ReportKeyRotated(#[n(0)] ReportKeyRotated),
    /// The link to the enclave.
    #[n(40)]
    Enclave(#[n(0)] EnclaveLink),
    /// A part of what is seen of a guest's flows.
    #[n(100)]
    Seen(#[n(0)] FlowsSeen),
}

/// One line of the list of guests.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct GuestSummary {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// Its identity's URN.
    #[n(1)]
    pub guest: String,
    /// Its role.
    #[n(2)]
    pub role: String,
    /// Its state.
    #[n(3)]
    pub state: GuestState,
    /// Whether a key is known to be enrolled in this boot.
    #[n(4)]
    pub enrolled: bool,
}

/// A guest's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum GuestState {
    /// QEMU is up; the guest has not shown life yet.
    #[n(0)]
    Booting,
    /// The guest has used its API or finished booting by its console.
    #[n(1)]
    Running,
    /// It should run on after a snapshot, which QEMU has not confirmed yet. Pauses that end as they should are no state.
    #[n(2)]
    Paused,
    /// Down.
    #[n(3)]
    Stopped,
    /// Ended by itself or given up on.
    #[n(4)]
    Failed,
    /// It has not ended, and its supervisor does not answer. It may run on.
    #[n(5)]
    Unresponsive,
    /// Its files are being hashed, or its QEMU started.
    #[n(6)]
    Starting,
    /// It has ended, and its policy starts it again in a while.
    #[n(7)]
    Restarting,
}

/// Why an operator's request was refused.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum OperatorRefusal {
    /// The record's signature, chain or form is wrong.
    #[n(0)]
    #[error("the launch record is refused: {0}")]
    BadRecord(#[n(0)] String),
    /// A file is not what was signed.
    #[n(1)]
    #[error(
        "{path} has SHA-384 {found}, the launch record says {expected}; sign the record anew if that is meant"
    )]
    FileMismatch {
        /// The file.
        #[n(0)]
        path: String,
        /// What was signed.
        #[n(1)]
        expected: String,
        /// What is there.
        #[n(2)]
        found: String,
    },
    /// No such VM.
    #[n(2)]
    #[error("no VM `{0}` here; see `bartizan vm list`")]
    UnknownVm(#[n(0)] String),
    /// It runs already, or is about to.
    #[n(3)]
    #[error("VM `{0}` runs already, or is about to; see `bartizan vm list`")]
    AlreadyRunning(#[n(0)] String),
    /// The card is away or refused.
    #[n(4)]
    #[error("the card: {0}")]
    Card(#[n(0)] String),
    /// QEMU or its supervisor could not be started.
    #[n(5)]
    #[error("the guest could not be started: {0}")]
    Start(#[n(0)] String),
    /// Its supervisor does not answer.
    #[n(6)]
    #[error(
        "the supervisor of VM `{0}` does not answer, and its guest may run on; wait, or end both with `bartizan vm stop --force {0}`"
    )]
    Unresponsive(#[n(0)] String),
    /// It was killed, and the kernel has not ended all of it yet.
    #[n(7)]
    #[error(
        "VM `{0}` has not ended within {1} s; a process of it may wait for a disk. `bartizan vm stop --force` kills it"
    )]
    StillEnding(#[n(0)] String, #[n(1)] u64),
    /// It is being started, or waits to be started again.
    #[n(8)]
    #[error("VM `{0}` does not run at present; see `bartizan vm list`")]
    NotRunning(#[n(0)] String),
    /// Its report key was not rotated.
    #[n(20)]
    #[error("the report key of VM `{vm}` is not rotated: {why}; try again")]
    NotRotated {
        /// Which.
        #[n(0)]
        vm: String,
        /// Why.
        #[n(1)]
        why: String,
    },
    /// It has no network device.
    #[n(100)]
    #[error(
        "VM `{0}` has no network device that serves, so that it has no flows; see `network` in its launch record, and `bartizan vm show {0}`"
    )]
    NoNetwork(#[n(0)] String),
    /// There are as many observations as there may be.
    #[n(101)]
    #[error(
        "as many lists, watches and captures of flows are under way on this host as there may be; end one, or try again"
    )]
    TooManyObservers,
    /// Devices do not answer.
    #[n(102)]
    #[error("the devices process does not show flows: {0}; does bartizan-devices run?")]
    DevicesAway(#[n(0)] String),
}
