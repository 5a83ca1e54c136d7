//! The counter of a host's vault: how the verifier notices that a vault's store, with its keys, was copied.
//!
//! A host reports in from time to time. Its vault makes a statement, a COSE_Sign1 by the card identity key: a counter that is one
//! higher than the last, the random mark that the verifier gave for that last one, and random bytes of this statement. The
//! verifier answers with the next mark. Of two vaults that go on from one state, each needs the same next mark: whichever
//! comes second shows one that was used.
//!
//! ```text
//!   vault                                 verifier
//!   ── {n + 1, mark n, random} ──────────►  due, and not seen before
//!   ◄────────────────────────── mark n+1 ──
//!   copy of the vault
//!   ── {n + 1, mark n, other random} ────►  n + 1 was answered: a fork
//! ```
//!
//! | attack | answer |
//! |---|---|
//! | a statement of before, sent again, to be given a mark | the very same one gets the very same answer, which is no secret |
//! | a statement by another key, or of another card | the card identity key signs, and its certificate names the card |
//! | another message by that key passed off as this one | the message type is protected |
//! | a vault set back to a backup | looks like a copy, and is refused like one |
//! | a copy that never reports in | is not noticed by this |

#[cfg(test)]
mod tests;

use minicbor::{Decode, Decoder, Encode, decode};

use crate::cbor;
use crate::certificates::{ChainError, FleetCa, Usage, verify_chain};
use crate::cose::{CoseError, MessageType, Sign, SignError, Unverified, sign1};
use crate::identity::CardId;

/// A mark: what the verifier gives for a statement, and wants to see with the next one.
pub type Mark = [u8; 32];

/// The mark of a vault that never reported in.
pub const FIRST_MARK: Mark = [0; 32];

/// What a vault states when its host reports in.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Statement {
    /// Always [`Statement::VERSION`].
    #[n(0)]
    pub version: u32,
    /// Whose vault it is.
    #[n(1)]
    pub card: CardId,
    /// One more than that of the last statement that was answered; the first is 1.
    #[n(2)]
    pub counter: u64,
    /// The mark that was given for that one; [`FIRST_MARK`] where there was none.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub mark: Mark,
    /// Of this statement alone: made once, and kept until it is answered.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub random: [u8; 32],
    /// The machine that the vault was on when it made this.
    #[n(5)]
    pub machine: Machine,
}

/// A machine, as its card tells. For people: nothing proves it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Machine {
    #[cbor(n(0), decode_with = "decode_name")]
    name: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    boot: [u8; 16],
}

/// The name is none that a machine can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a machine's name has 1 to {max} of A-Z, a-z, 0-9, `.`, `-` and `_`", max = Machine::MAX_NAME)]
pub struct MachineError;

/// A statement was refused.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// It is no message of this type, or its signature is not by the card's key.
    #[error("the vault's statement is refused: {0}")]
    Message(#[from] CoseError),
    /// Its chain is no card's of this fleet.
    #[error("the chain of the vault's statement is refused: {0}")]
    Chain(#[from] ChainError),
    /// Its payload is not a statement.
    #[error("the vault's statement is malformed: {0}")]
    Malformed(String),
    /// It is of a version that this program does not speak.
    #[error("a vault's statement of version {0}; this program speaks {version}", version = Statement::VERSION)]
    Version(u32),
    /// Counters begin at 1.
    #[error("a vault's statement has counter 0; the first is 1")]
    Counter,
    /// It is another card's.
    #[error("the statement is of card {found}'s vault, not of {expected}'s")]
    OtherCard {
        /// Whose is due.
        expected: CardId,
        /// Whose it is.
        found: CardId,
    },
}

impl Statement {
    /// The version that this crate speaks.
    pub const VERSION: u32 = 1;
    /// Largest encoded statement in bytes.
    pub const MAX_LEN: usize = 512;

    /// Reads a statement.
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        if bytes.len() > Self::MAX_LEN {
            let size = bytes.len();
            return Err(StatementError::Malformed(format!("it has {size} bytes")));
        }
        let statement: Self = cbor::decode_strict(bytes)
            .map_err(|error| StatementError::Malformed(error.to_string()))?;
        if statement.version != Self::VERSION {
            return Err(StatementError::Version(statement.version));
        }
        if statement.counter == 0 {
            return Err(StatementError::Counter);
        }
        Ok(statement)
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Signs it with the card identity key; `chain`: its certificate chain, leaf first.
    pub fn sign(&self, chain: &[Vec<u8>], key: &impl Sign) -> Result<Vec<u8>, SignError> {
        sign1(MessageType::VaultCounter, &self.encode(), chain, key)
    }

    /// Verifies a signed statement of this card's vault. `now_s`: seconds since the Unix epoch. Whether the card is revoked is for
    /// the caller to check.
    pub fn verify(
        signed: &[u8],
        card: CardId,
        fleet_ca: &FleetCa,
        now_s: u64,
    ) -> Result<Self, StatementError> {
        let message = Unverified::parse(signed, MessageType::VaultCounter)?;
        let certified = verify_chain(message.chain(), fleet_ca, now_s, Usage::Card)?;
        let statement = Self::decode(&message.verify(&certified.public_key)?)?;
        for found in certified.card.into_iter().chain([statement.card]) {
            if found != card {
                return Err(StatementError::OtherCard {
                    expected: card,
                    found,
                });
            }
        }
        Ok(statement)
    }
}

impl Machine {
    /// Longest name in bytes: a host name's in DNS (RFC 1035 section 2.3.4).
    pub const MAX_NAME: usize = 253;

    /// A machine of this name, in the boot with this id (`/proc/sys/kernel/random/boot_id`).
    pub fn new(name: String, boot: [u8; 16]) -> Result<Self, MachineError> {
        Self::check_name(&name)?;
        Ok(Self { name, boot })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its boot.
    #[must_use]
    pub const fn boot(&self) -> &[u8; 16] {
        &self.boot
    }

    fn check_name(name: &str) -> Result<(), MachineError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if (1..=Self::MAX_NAME).contains(&name.len()) && name.bytes().all(known) {
            Ok(())
        } else {
            Err(MachineError)
        }
    }
}

fn decode_name<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<String, decode::Error> {
    let name = decoder.str()?;
    Machine::check_name(name).map_err(|error| decode::Error::message(error.to_string()))?;
    Ok(name.to_owned())
}
