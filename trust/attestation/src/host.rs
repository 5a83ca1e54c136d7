//! What the processes of one host tell one another, over local links (`bartizan-local`).
//!
//! | from | to | messages |
//! |---|---|---|
//! | operator's CLI | card | [`OperationRequest`] / [`OperationReply`] |
//! | card | hypervisor | [`OperatorRequest`] / [`OperatorReply`] |
//! | hypervisor | card | [`CardRequest`] / [`CardReply`] |
//! | hypervisor | a guest's supervisor | [`SupervisorRequest`] / [`SupervisorReply`] |
//! | supervisor | measurer, both ways | [`ToMeasurer`] / [`FromMeasurer`] |
//! | hypervisor | enclave, both ways | [`ToEnclave`] / [`FromEnclave`] |
//! | enclave | card | [`ForCard`] / [`FromCard`] |
//! | keeper | card | [`MachineState`] |

mod card;
mod enclave;
mod enclave_status;
mod flows;
mod guests;
mod measurer;
mod operation;
mod operator;
mod supervisor;

pub use card::{CardRefusal, CardReply, CardRequest, HostDescription, Judgement};
pub use enclave::{ENCLAVE_FRAME, ForCard, FromCard, StoredState};
pub use enclave_status::{
    Certified, EnclaveLink, EnclaveShown, KEEPER_FRAME, MachineHeard, MachineState, OpenLinks, Use,
};
pub use flows::{
    FlowDecision, FlowEnd, FlowShown, FlowsEnd, FlowsSeen, FlowsTally, MAX_FLOWS, Observation,
    ObserveFlows,
};
pub use guests::{FROM_ENCLAVE_FRAME, FromEnclave, RunningGuest, TO_ENCLAVE_FRAME, ToEnclave};
pub use measurer::{
    FromMeasurer, MeasurerContext, Outcome, RamMapping, RamRange, ReportKeyRotated, ToMeasurer,
};
pub use operation::{
    AcceptedBoot, AcceptedRelease, BootShown, KeysShown, LogPage, OPERATION_FRAME, OperationReply,
    OperationRequest, RenewedCertificate,
};
pub use operator::{GuestState, GuestSummary, OperatorRefusal, OperatorReply, OperatorRequest};
pub use supervisor::{Enrollment, GuestStatus, Superseded, SupervisorReply, SupervisorRequest};

/// Largest frame on a local link of this module, in bytes: a report with the page digests (SHA-512)
/// of 1 GiB, and some.
pub const MAX_FRAME: usize = 24 << 20;
