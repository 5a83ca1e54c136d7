//! Operator's CLI → card.

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::decode::Error;
use minicbor::{Decode, Decoder, Encode};

use super::enclave_status::EnclaveShown;
use super::operator::OperatorReply;
use crate::boot::{Phase, Sha384};
use crate::cbor::at_most;
use crate::cose::MAX_CHAIN;
use crate::identity::CardId;
use crate::keys::{
    BootDescription, Chain, KeyDescription, KeyEvent, KeyKind, VaultKind, VaultReply,
};
use crate::operation::OperationRefusal;
use crate::operation::log::{Head, MAX_PAGE};

/// Largest frame from an operator, in bytes: an order, and some.
pub const OPERATION_FRAME: usize = 1 << 20;

/// What an operator asks a host's card.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum OperationRequest {
    /// Which host this is; nobody vouches for the answer. Answer: [`OperationReply::Host`].
    #[n(0)]
    Describe,
    /// Do what a signed [`crate::operation::Order`] says.
    #[n(1)]
    Perform(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
}

/// What the card answers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, on its way to be written or shown"
)]
pub enum OperationReply {
    /// This host.
    #[n(0)]
    Host(#[n(0)] CardId),
    /// It was handed to the hypervisor, which answered; its answer may be a refusal.
    #[n(1)]
    Guests(#[n(0)] OperatorReply),
    /// Done.
    #[n(2)]
    Done,
    /// A piece of the log.
    #[n(3)]
    Log(#[n(0)] LogPage),
    /// The card refused.
    #[n(4)]
    Refused(#[n(0)] OperationRefusal),
    /// How this host was booted, as its vault was told.
    #[n(5)]
    Boot(#[n(0)] BootShown),
    /// The keys of this host's vault.
    #[n(20)]
    Keys(#[n(0)] KeysShown),
    /// What became of this host's keys, as its vault remembers it.
    #[n(21)]
    KeyHistory(#[cbor(n(0), decode_with = "at_most_events")] Vec<KeyEvent>),
    /// The verifier accepts how this host was booted.
    #[n(30)]
    Attested(#[n(0)] AcceptedBoot),
    /// This host has another certificate.
    #[n(31)]
    Renewed(#[n(0)] RenewedCertificate),
    /// How this host's enclave is.
    #[n(40)]
    Enclave(#[n(0)] EnclaveShown),
}

/// A certificate of a card's that takes the place of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct RenewedCertificate {
    /// SHA-256 over the SubjectPublicKeyInfo of the card identity key that it is for.
    #[n(0)]
    pub key: ByteArray<32>,
    /// Its last second, since the Unix epoch.
    #[n(1)]
    pub not_after: u64,
}

/// What the verifier says of a boot that it accepts. It is the card's word that it does.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct AcceptedBoot {
    /// The base that it is of.
    #[n(0)]
    pub base: AcceptedRelease,
    /// The bundle.
    #[n(1)]
    pub bundle: AcceptedRelease,
    /// The last phase that has ended.
    #[n(2)]
    pub phase: Phase,
    /// Whether a TPM has quoted the registers for it.
    #[n(3)]
    pub quoted: bool,
    /// The name of the reference that the host's firmware is one of; none where it was compared with none, or is of none.
    #[n(4)]
    pub firmware: Option<String>,
}

/// A release that a boot is of.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct AcceptedRelease {
    /// The digest of its manifest.
    #[n(0)]
    pub manifest: Sha384,
    /// Its version.
    #[n(1)]
    pub version: u64,
}

/// The keys of a host's vault.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct KeysShown {
    /// What holds them.
    #[n(0)]
    pub vault: VaultKind,
    /// Of each purpose the newest last.
    #[cbor(n(1), decode_with = "at_most_keys")]
    pub keys: Vec<KeyDescription>,
}

/// Most keys that are shown of one vault.
const MAX_KEYS: u64 = 256;
const MAX_EVENTS: u64 = (KeyKind::ALL.len() * VaultReply::EVENTS_OF_A_KIND) as u64;

fn at_most_keys<C>(from: &mut Decoder<'_>, context: &mut C) -> Result<Vec<KeyDescription>, Error> {
    at_most::<MAX_KEYS, C, KeyDescription>(from, context)
}

fn at_most_events<C>(from: &mut Decoder<'_>, context: &mut C) -> Result<Vec<KeyEvent>, Error> {
    at_most::<MAX_EVENTS, C, KeyEvent>(from, context)
}

/// How a host was booted.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct BootShown {
    /// What the vault says of it.
    #[n(0)]
    pub boot: BootDescription,
    /// The chain of the host's TLS client key, leaf first, without the fleet CA: its leaf carries the digests of the phases that had
    /// ended when it was made. Empty before the first phase's end.
    #[cbor(n(1), decode_with = "at_most_chain")]
    pub chain: Chain,
}

fn at_most_chain<C>(from: &mut Decoder<'_>, context: &mut C) -> Result<Chain, Error> {
    at_most::<{ MAX_CHAIN as u64 }, C, ByteVec>(from, context)
}

/// A piece of the log of operations.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct LogPage {
    /// Where the log ended when it was read.
    #[n(0)]
    pub head: Head,
    /// Records as they are in the log, one after another from the one that was asked for; see [`crate::operation::log`].
    #[cbor(n(1), decode_with = "bounded")]
    pub records: Vec<ByteVec>,
}

fn bounded<C>(from: &mut Decoder<'_>, context: &mut C) -> Result<Vec<ByteVec>, Error> {
    at_most::<{ MAX_PAGE as u64 }, C, ByteVec>(from, context)
}
