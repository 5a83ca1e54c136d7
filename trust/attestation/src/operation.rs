//! Operations: all that an operator can do to a host, each by name. An operator signs an [`Order`] over host, operation, arguments,
//! nonce and window; the host's card verifies it, writes it down, has it done and writes down what came of it ([`log`]).
//!
//! The message is a COSE_Sign1 of type [`MessageType::Operation`](crate::cose::MessageType::Operation), with the operator's chain in
//! `x5chain`.
//!
//! | attack | answer |
//! |---|---|
//! | an order replayed at the same host | its nonce is remembered, on disk, until the order has expired |
//! | an order replayed at another host | it names one card |
//! | an order signed for later, to outlive its operator's certificate or role | it lasts ten minutes at most, from when it was issued |
//! | an order for the future | no clock may be ahead by more than a minute |
//! | an operator who gives themselves a role | the role is in the certificate, which the fleet CA signs |
//! | an order passed off as a launch record, or the other way round | the type is signed ([`crate::cose`]) |

mod authorised;
mod flows;
pub mod log;
mod order;
mod refusal;

pub use authorised::{AuthorisedOperation, SignedOrder};
pub use flows::{CaptureLimits, FlowFilter, MAX_SECONDS, MAX_SNAP, Network, NetworkError};
pub use order::{Order, OrderError, sign_order};
pub use refusal::OperationRefusal;

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::certificates::Role;
use crate::digest::sha256;

/// Longest name of a VM: a UUID has 36 bytes, a name at most 63.
const MAX_VM: usize = 63;

/// What is to be done. A VM is named by its name or its UUID.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Operation {
    /// Run a guest from a signed launch record, which may be another operator's.
    #[n(0)]
    RunGuest {
        /// COSE_Sign1 over the YAML.
        #[cbor(n(0), with = "minicbor::bytes")]
        record: Vec<u8>,
    },
    /// All guests.
    #[n(1)]
    ListGuests,
    /// One guest.
    #[n(2)]
    ShowGuest {
        /// Name or UUID.
        #[n(0)]
        vm: String,
    },
    /// Stop a guest.
    #[n(3)]
    StopGuest {
        /// Name or UUID.
        #[n(0)]
        vm: String,
        /// At once, not by ACPI.
        #[n(1)]
        force: bool,
    },
    /// The end of a guest's console output, which may hold what the guest prints of its secrets.
    #[n(4)]
    ReadConsole {
        /// Name or UUID.
        #[n(0)]
        vm: String,
        /// At most so many bytes.
        #[n(1)]
        max: u32,
    },
    /// Make a new key of one kind, and use it from now on.
    #[n(5)]
    RotateKeys {
        /// Which.
        #[n(0)]
        key: RotatableKey,
    },
    /// A piece of the log of operations.
    #[n(6)]
    ReadLog {
        /// From this record on.
        #[n(0)]
        from: u64,
        /// At most so many records.
        #[n(1)]
        most: u32,
    },
    /// How this host was booted.
    #[n(7)]
    ShowBoot,
    /// The keys of the host's vault.
    #[n(20)]
    ListKeys,
    /// What became of the host's keys.
    #[n(21)]
    KeyHistory,
    /// Have a guest's measurer make a new report key, and use it from now on.
    #[n(22)]
    RotateReportKey {
        /// Name or UUID.
        #[n(0)]
        vm: String,
    },
    /// Prove this host's present boot to the verifier now, whatever that knows of it.
    #[n(30)]
    AttestHost,
    /// Have this host certified anew, for the same card identity key; where another waits for its certificate, for that one.
    #[n(31)]
    RenewCertificate,
    /// How this host's enclave is.
    #[n(40)]
    ShowEnclave,
    /// Forget the state of this host's enclave: it begins as the first time, and takes the set of policies that comes next.
    #[n(80)]
    ResetEnclaveState,
    /// A guest's flows, and the latest of those that are over.
    #[n(100)]
    ListFlows {
        /// Name or UUID.
        #[n(0)]
        vm: String,
        /// Which.
        #[n(1)]
        filter: FlowFilter,
    },
    /// Each flow of a guest's as it ends.
    #[n(101)]
    WatchFlows {
        /// Name or UUID.
        #[n(0)]
        vm: String,
        /// Which.
        #[n(1)]
        filter: FlowFilter,
        /// For so long, 1 to [`MAX_SECONDS`].
        #[n(2)]
        seconds: u32,
    },
    /// The packets of a guest's flows: what it says, and what is said to it.
    #[n(102)]
    CaptureFlows {
        /// Name or UUID.
        #[n(0)]
        vm: String,
        /// Which.
        #[n(1)]
        filter: FlowFilter,
        /// How much of them.
        #[n(2)]
        limits: CaptureLimits,
    },
}

/// A key that an operator may have rotated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum RotatableKey {
    /// The host's TLS client key towards the verifier.
    #[n(0)]
    TlsClient,
    /// The host's card identity key: another comes after it, the host stays who it is.
    #[n(50)]
    Card,
    /// What the host's vault seals its keys and its store with.
    #[n(70)]
    Sealing,
}

impl RotatableKey {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TlsClient => "tls-client",
            Self::Card => "card",
            Self::Sealing => "sealing",
        }
    }
}

impl Operation {
    /// Its name, as the log has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RunGuest { .. } => "run-guest",
            Self::ListGuests => "list-guests",
            Self::ShowGuest { .. } => "show-guest",
            Self::StopGuest { .. } => "stop-guest",
            Self::ReadConsole { .. } => "read-console",
            Self::RotateKeys { .. } => "rotate-keys",
            Self::ReadLog { .. } => "read-log",
            Self::ShowBoot => "show-boot",
            Self::ListKeys => "list-keys",
            Self::KeyHistory => "key-history",
            Self::RotateReportKey { .. } => "rotate-report-key",
            Self::AttestHost => "attest-host",
            Self::RenewCertificate => "renew-certificate",
            Self::ShowEnclave => "show-enclave",
            Self::ResetEnclaveState => "reset-enclave-state",
            Self::ListFlows { .. } => "list-flows",
            Self::WatchFlows { .. } => "watch-flows",
            Self::CaptureFlows { .. } => "capture-flows",
        }
    }

    /// The least role that may order it.
    #[must_use]
    pub const fn least_role(&self) -> Role {
        match self {
            Self::ListGuests
            | Self::ShowGuest { .. }
            | Self::ReadLog { .. }
            | Self::ShowBoot
            | Self::ListKeys
            | Self::KeyHistory
            | Self::ShowEnclave
            | Self::ListFlows { .. }
            | Self::WatchFlows { .. } => Role::Observer,
            // The last one changes nothing, but the verifier judges so many boots of a host and no more.
            Self::RunGuest { .. }
            | Self::StopGuest { .. }
            | Self::ReadConsole { .. }
            | Self::AttestHost => Role::Runner,
            Self::RotateKeys { .. }
            | Self::RotateReportKey { .. }
            | Self::RenewCertificate
            | Self::ResetEnclaveState
            // What others say to a guest is not its runner's to read.
            | Self::CaptureFlows { .. } => Role::Administrator,
        }
    }

    /// Its arguments, as the log has them: short, and a launch record by its SHA-256.
    #[must_use]
    pub fn arguments(&self) -> BTreeMap<String, String> {
        let named = match self {
            Self::RunGuest { record } => vec![("record_sha256", hex::encode(sha256(record)))],
            Self::ListGuests
            | Self::ShowBoot
            | Self::ListKeys
            | Self::KeyHistory
            | Self::AttestHost
            | Self::RenewCertificate
            | Self::ShowEnclave
            | Self::ResetEnclaveState => Vec::new(),
            Self::ShowGuest { vm } | Self::RotateReportKey { vm } => vec![("vm", vm.clone())],
            Self::StopGuest { vm, force } => {
                vec![("vm", vm.clone()), ("force", force.to_string())]
            }
            Self::ReadConsole { vm, max } => vec![("vm", vm.clone()), ("max", max.to_string())],
            Self::RotateKeys { key } => vec![("key", key.name().into())],
            Self::ReadLog { from, most } => {
                vec![("from", from.to_string()), ("most", most.to_string())]
            }
            Self::ListFlows { vm, filter } => with_vm(vm, [filter.arguments()]),
            Self::WatchFlows {
                vm,
                filter,
                seconds,
            } => {
                let lasts = vec![("seconds", seconds.to_string())];
                with_vm(vm, [filter.arguments(), lasts])
            }
            Self::CaptureFlows { vm, filter, limits } => {
                with_vm(vm, [filter.arguments(), limits.arguments()])
            }
        };
        named
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Whether a VM that it names can be one's name.
    fn names_fit(&self) -> bool {
        let part = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        match self {
            Self::ShowGuest { vm }
            | Self::StopGuest { vm, .. }
            | Self::ReadConsole { vm, .. }
            | Self::RotateReportKey { vm }
            | Self::ListFlows { vm, .. }
            | Self::WatchFlows { vm, .. }
            | Self::CaptureFlows { vm, .. } => {
                (1..=MAX_VM).contains(&vm.len()) && vm.bytes().all(part)
            }
            Self::RunGuest { .. }
            | Self::ListGuests
            | Self::RotateKeys { .. }
            | Self::ReadLog { .. }
            | Self::ShowBoot
            | Self::ListKeys
            | Self::KeyHistory
            | Self::AttestHost
            | Self::RenewCertificate
            | Self::ShowEnclave
            | Self::ResetEnclaveState => true,
        }
    }

    /// Whether what it says of flows is within bounds.
    fn bounds_fit(&self) -> bool {
        match self {
            Self::ListFlows { filter, .. } => filter.fits(),
            Self::WatchFlows {
                filter, seconds, ..
            } => filter.fits() && flows::seconds_fit(*seconds),
            Self::CaptureFlows { filter, limits, .. } => filter.fits() && limits.fit(),
            _ => true,
        }
    }
}

fn with_vm<const N: usize>(
    vm: &str,
    others: [Vec<(&'static str, String)>; N],
) -> Vec<(&'static str, String)> {
    let vm = [("vm", vm.to_owned())];
    vm.into_iter().chain(others.into_iter().flatten()).collect()
}

#[cfg(test)]
mod tests;
