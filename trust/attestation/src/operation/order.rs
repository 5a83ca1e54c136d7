//! What an operator signs.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::Operation;
use crate::cbor::{self, CborError};
use crate::cose::{MessageType, Sign, SignError, sign1};
use crate::identity::CardId;

/// Bytes of a nonce.
const NONCE: std::ops::RangeInclusive<usize> = 16..=32;

/// An order: what a host is to do, once, and within a window of time.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Order {
    /// Always 1.
    #[n(0)]
    pub version: u32,
    /// The host's card.
    #[n(1)]
    pub host: CardId,
    /// What it is to do.
    #[n(2)]
    pub operation: Operation,
    /// 16 to 32 random bytes.
    #[n(3)]
    pub nonce: ByteVec,
    /// When it was signed, in seconds since the Unix epoch.
    #[n(4)]
    pub issued_at: u64,
    /// The first second in which it is void, since the Unix epoch; at most [`Order::MAX_LIFETIME_S`] later.
    #[n(5)]
    pub expires_at: u64,
}

/// Bytes that are no order.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Not an order in its one encoding.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// It is of a version that is not spoken here.
    #[error("an order of version {0}; this is version 1: see that both ends are of one version")]
    Version(u32),
    /// Its nonce has another length.
    #[error("a nonce of {0} bytes; it has 16 to 32")]
    Nonce(usize),
    /// It names a VM as none can be named.
    #[error("a VM is named by 1 to 63 of `a-z`, `0-9`, `-`")]
    Vm,
    /// It says of flows what cannot be.
    #[error("a network's prefix, or a limit of a watch or a capture, is out of bounds")]
    Bounds,
}

impl Order {
    /// The version that this crate speaks.
    pub const VERSION: u32 = 1;
    /// Longest time from issue to expiry, in seconds.
    pub const MAX_LIFETIME_S: u64 = 600;
    /// Most seconds by which an operator's clock may be ahead of the host's.
    pub const MAX_SKEW_S: u64 = 60;

    /// Reads an order.
    pub fn decode(bytes: &[u8]) -> Result<Self, OrderError> {
        let order: Self = cbor::decode_strict(bytes)?;
        match &order {
            Self { version, .. } if *version != Self::VERSION => Err(OrderError::Version(*version)),
            Self { nonce, .. } if !NONCE.contains(&nonce.len()) => {
                Err(OrderError::Nonce(nonce.len()))
            }
            Self { operation, .. } if !operation.names_fit() => Err(OrderError::Vm),
            Self { operation, .. } if !operation.bounds_fit() => Err(OrderError::Bounds),
            _ => Ok(order),
        }
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }
}

/// Signs an order with an operator's key; `chain` is the operator's, leaf first.
pub fn sign_order(order: &Order, chain: &[Vec<u8>], key: &impl Sign) -> Result<Vec<u8>, SignError> {
    sign1(MessageType::Operation, &order.encode(), chain, key)
}
