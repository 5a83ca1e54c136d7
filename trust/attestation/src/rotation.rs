//! Replacing the fleet CA: what an administrator signs, and when the vault takes it.
//!
//! | attack | answer |
//! |---|---|
//! | whoever took the verifier over has the CA replaced | the vault does it on an order that an administrator signed, and on no word of the verifier's |
//! | an order sent again | it names the CA that it replaces, which is the present one no more |
//! | an order signed for later | it lasts ten minutes at most |
//! | a former CA's key, stolen, certifies an administrator who has the present one replaced | only the present one's operators do; a former one's have themselves certified anew first |
//! | an order passed off as one to a host | the type is signed ([`crate::cose`]) |

use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};
use crate::certificates::{FleetCa, Role, Subject, Usage, verify_chain};
use crate::cose::{MessageType, Sign, SignError, Unverified, sign1};

/// What an administrator signs: the present fleet CA gives way to a new one.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct RotationOrder {
    /// Always 1.
    #[n(0)]
    pub version: u32,
    /// SHA-256 over the present CA's certificate, DER.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub fleet_ca: [u8; 32],
    /// The first second in which it is void, since the Unix epoch; at most [`RotationOrder::MAX_LIFETIME_S`] ahead.
    #[n(2)]
    pub expires_at: u64,
}

/// An order that an administrator signed for this fleet CA, and that is good now. What remains for whoever follows it: that the
/// administrator is not revoked, as far as that is known there. Made by [`AuthorisedRotation::verify`] only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorisedRotation {
    operator: String,
}

/// Why a rotation is refused.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum RotationRefusal {
    /// It is no order.
    #[n(0)]
    #[error("that is no order to replace the fleet CA: {0}; see that both ends are of one version")]
    Malformed(#[n(0)] String),
    /// Who signed it is no operator of this fleet.
    #[n(1)]
    #[error("who signed the order is no operator of this fleet: {0}")]
    Signer(#[n(0)] String),
    /// The signature is wrong.
    #[n(2)]
    #[error("the order's signature is wrong: {0}")]
    Signature(#[n(0)] String),
    /// Their role does not allow it.
    #[n(3)]
    #[error("operator `{operator}` is {role}; only an administrator has the fleet CA replaced")]
    Role {
        /// Who signed it.
        #[n(0)]
        operator: String,
        /// What they are.
        #[n(1)]
        role: String,
    },
    /// It replaces another CA.
    #[n(4)]
    #[error(
        "the order replaces the fleet CA {named}, the present one is {present}: it was done before, or the fleet CA in the operator's folder is not the present one; see `bartizan operator roll-fleet-ca`"
    )]
    OtherCa {
        /// SHA-256 of the one that it names, 64 hexadecimal digits.
        #[n(0)]
        named: String,
        /// That of the present one.
        #[n(1)]
        present: String,
    },
    /// It has expired.
    #[n(5)]
    #[error(
        "the order expired at {expires_at} s, it is {now_s} s; sign another, and compare the clocks"
    )]
    Expired {
        /// When, since the Unix epoch.
        #[n(0)]
        expires_at: u64,
        /// The time.
        #[n(1)]
        now_s: u64,
    },
    /// Who signed it is an operator by the word of a CA that was replaced.
    #[n(7)]
    #[error(
        "a former fleet CA certified operator `{operator}`, and only the present one's have it replaced; have the same key certified anew by `bartizan service init` on the verifier's machine, and sign again"
    )]
    FormerCa {
        /// Who signed it.
        #[n(0)]
        operator: String,
    },
    /// It is good for too long.
    #[n(6)]
    #[error("the order is good for {ahead_s} s more; ten minutes are the most: compare the clocks")]
    Lifetime {
        /// For how long.
        #[n(0)]
        ahead_s: u64,
    },
}

impl RotationOrder {
    /// The version that this crate speaks.
    pub const VERSION: u32 = 1;
    /// Longest time to its expiry, in seconds.
    pub const MAX_LIFETIME_S: u64 = 600;

    /// Reads an order.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode_strict(bytes)
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }
}

/// Signs an order with an operator's key; `chain` is the operator's, leaf first.
pub fn sign_rotation(
    order: &RotationOrder,
    chain: &[Vec<u8>],
    key: &impl Sign,
) -> Result<Vec<u8>, SignError> {
    sign1(MessageType::FleetCaRotation, &order.encode(), chain, key)
}

impl AuthorisedRotation {
    /// Verifies an order against the present CA, which may lead to former ones: their operators are told from strangers, and refused.
    /// `now_s` is in seconds since the Unix epoch.
    pub fn verify(signed: &[u8], present: &FleetCa, now_s: u64) -> Result<Self, RotationRefusal> {
        let malformed = |error: &dyn std::error::Error| {
            let why = error.to_string();
            RotationRefusal::Malformed(why)
        };
        let message = Unverified::parse(signed, MessageType::FleetCaRotation)
            .map_err(|error| malformed(&error))?;
        let signer = verify_chain(message.chain(), present, now_s, Usage::Operator)
            .map_err(|error| RotationRefusal::Signer(error.to_string()))?;
        // Said last: an order that was followed already is its signer's former CA's, too.
        let by_present = verify_chain(message.chain(), &present.alone(), now_s, Usage::Operator);
        let by_present = by_present.is_ok();
        let Subject::Operator { name, role } = signer.subject else {
            return Err(RotationRefusal::Signer("it is no operator's".into()));
        };
        let payload = message
            .verify(&signer.public_key)
            .map_err(|error| RotationRefusal::Signature(error.to_string()))?;
        let order = RotationOrder::decode(&payload).map_err(|error| malformed(&error))?;
        if order.version != RotationOrder::VERSION {
            let why = format!("it is of version {}", order.version);
            return Err(RotationRefusal::Malformed(why));
        }
        if !role.includes(Role::Administrator) {
            return Err(RotationRefusal::Role {
                operator: name,
                role: role.to_string(),
            });
        }
        if order.fleet_ca != present.sha256() {
            return Err(RotationRefusal::OtherCa {
                named: hex::encode(order.fleet_ca),
                present: hex::encode(present.sha256()),
            });
        }
        if !by_present {
            return Err(RotationRefusal::FormerCa { operator: name });
        }
        let expires_at = order.expires_at;
        match expires_at.checked_sub(now_s) {
            None | Some(0) => Err(RotationRefusal::Expired { expires_at, now_s }),
            Some(ahead_s) if ahead_s > RotationOrder::MAX_LIFETIME_S => {
                Err(RotationRefusal::Lifetime { ahead_s })
            }
            Some(_) => Ok(Self { operator: name }),
        }
    }

    /// Who signed it.
    #[must_use]
    pub fn operator(&self) -> &str {
        &self.operator
    }
}

#[cfg(test)]
mod tests;
