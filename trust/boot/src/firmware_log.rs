//! The event log of the host's own firmware: what it measured into the TPM before the kernel ran.
//!
//! The form is the crypto-agile one of the TCG PC Client Platform Firmware Profile 1.06, section 10.2, little-endian: one
//! `TCG_PCClientPCREvent` of `Spec ID Event03`, which names the banks, then `TCG_PCR_EVENT2`s. Linux shows it as
//! `/sys/kernel/security/tpm0/binary_bios_measurements`.
//!
//! | attack | answer |
//! |---|---|
//! | an event is dropped, swapped, added, or has another digest | the log does not replay to PCRs that a TPM has quoted |
//! | an event's data is another than what was measured | data is not part of a PCR: [`FirmwareEvent::is_data_measured`] says whose digest covers it |
//! | sizes and counts that are lies | all is bounded by the log's own length; nothing is allocated for a number that it announces |
//! | a bank of its own choice | PCRs are compared in the bank that the quote is of, and a log without that bank is refused |

mod event_type;
mod parse;
mod replay;
mod shown;

use crate::Sha384;

pub use event_type::EventType;
pub use replay::{Bank, PcrValue};

/// The event log of a host's firmware, over the bytes that it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirmwareLog<'a> {
    header: &'a [u8],
    algorithms: Vec<Algorithm>,
    events: Vec<FirmwareEvent<'a>>,
}

/// One event. What is a `EV_NO_ACTION` was not extended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirmwareEvent<'a> {
    /// Into which PCR; of what was not extended it may be any number.
    pub pcr: u32,
    /// Its type.
    pub event_type: EventType,
    /// The digests, one for each algorithm of the log, in no order that means anything.
    digests: Vec<(u16, &'a [u8])>,
    /// What it is of, for whoever reads the log: no PCR depends on it.
    pub data: &'a [u8],
    /// All of it, as it is in the log.
    pub bytes: &'a [u8],
}

/// A bank of the log: the algorithm's id (TCG Algorithm Registry), the length of its digests in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Algorithm {
    id: u16,
    size: usize,
}

/// Bytes that are no log, or do not explain what a TPM holds.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FirmwareLogError {
    /// It is larger than allowed.
    #[error("a firmware event log has at most {} bytes", FirmwareLog::MAX_LEN)]
    TooLarge,
    /// It does not begin as a crypto-agile log does.
    #[error(
        "not a crypto-agile firmware event log: it does not begin with `Spec ID Event03`; a log of SHA-1 alone is of no use"
    )]
    Header,
    /// An algorithm is named twice, or its digests have another length than its own.
    #[error(
        "the header of the firmware event log names algorithm {0:#06x} twice, or with a length that it has not"
    )]
    Algorithm(u16),
    /// There are too many algorithms.
    #[error(
        "a firmware event log has 1 to {} algorithms",
        FirmwareLog::MAX_ALGORITHMS
    )]
    Algorithms,
    /// There are too many events.
    #[error("a firmware event log has at most {} events", FirmwareLog::MAX_EVENTS)]
    TooManyEvents,
    /// An event ends beyond the log's end.
    #[error("event {0} of the firmware event log is cut off")]
    Cut(usize),
    /// An event has not one digest for each algorithm of the header.
    #[error(
        "event {0} of the firmware event log has not one digest for each algorithm of its header"
    )]
    Digests(usize),
    /// An event is of no PCR.
    #[error("event {index} of the firmware event log is of PCR {pcr}, which no TPM has")]
    Pcr {
        /// Its position, from 0 on.
        index: usize,
        /// Which.
        pcr: u32,
    },
    /// A startup locality that no TPM has, or that comes after PCR 0 was extended, or twice.
    #[error("event {0} of the firmware event log sets a startup locality that cannot be set there")]
    StartupLocality(usize),
    /// It has no digests of that bank.
    #[error("the firmware event log has no {} digests; have the firmware measure into that bank", .0.name())]
    NoBank(Bank),
    /// It does not replay to a PCR.
    #[error(
        "the firmware event log does not replay to PCR {pcr}: expected {expected}, found {found}"
    )]
    Replay {
        /// Which PCR.
        pcr: u8,
        /// What the log makes of it.
        expected: Sha384,
        /// What it holds.
        found: Sha384,
    },
}

impl<'a> FirmwareLog<'a> {
    /// Largest log in bytes.
    pub const MAX_LEN: usize = 256 << 10;
    /// Most events.
    pub const MAX_EVENTS: usize = 4096;
    /// Most algorithms.
    pub const MAX_ALGORITHMS: usize = 8;

    /// Reads one. Every byte must be of it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FirmwareLogError> {
        parse::log(bytes)
    }

    /// What comes before the first event, as it is in the log.
    #[must_use]
    pub const fn header(&self) -> &'a [u8] {
        self.header
    }

    /// Its events in order, without the header.
    #[must_use]
    pub fn events(&self) -> &[FirmwareEvent<'a>] {
        &self.events
    }
}

impl<'a> FirmwareEvent<'a> {
    /// Its digest for a bank.
    #[must_use]
    pub fn digest(&self, bank: Bank) -> Option<&'a [u8]> {
        let mut digests = self.digests.iter();
        let (_, digest) = digests.find(|(id, _)| *id == bank.algorithm())?;
        Some(digest)
    }

    /// Whether the digest is that of the data. Of many types it is, of images and tables it is that of something else, and what
    /// the data says is the host's word.
    #[must_use]
    pub fn is_data_measured(&self) -> bool {
        let covers = |bank: Bank| {
            let digest = self.digest(bank);
            digest.map(|digest| bank.hash(&[self.data]).bytes() == digest)
        };
        let all = Bank::ALL.map(covers);
        let mut known = all.iter().flatten().peekable();
        self.event_type.is_extended() && known.peek().is_some() && known.all(|covers| *covers)
    }
}
