//! Who a host or a guest is (design: identity and keys).

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use uuid::Uuid;

/// A host's identity: SHA-256 over the DER SubjectPublicKeyInfo of its first card identity key. It stays when that key is succeeded
/// by another ([`crate::succession`]): the card's certificate names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct CardId(#[cbor(with = "minicbor::bytes")] pub [u8; 32]);

/// A guest's identity: the card that started it, its VM UUID and how often it was booted there.
///
/// A CID is never part of it: a CID is a transport address and may be recycled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(map)]
pub struct GuestIdentity {
    /// The host's card.
    #[n(0)]
    pub card: CardId,
    /// The VM's UUID (RFC 9562), from its launch record.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub vm: [u8; 16],
    /// Boots of this VM on this card so far, this one included; starts at 1.
    #[n(2)]
    pub boot: u64,
}

/// A string that is not the URN of a guest or host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no identity; expected {1}")]
pub struct IdentityError(pub(crate) String, pub(crate) &'static str);

impl fmt::Display for CardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardId({self})")
    }
}

impl FromStr for CardId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 32];
        let decoded = hex::decode_to_slice(text, &mut id);
        let upper_case = text.bytes().any(|b| b.is_ascii_uppercase());
        if decoded.is_err() || upper_case {
            return Err(IdentityError(
                text.into(),
                "64 lower-case hexadecimal digits",
            ));
        }
        Ok(Self(id))
    }
}

/// `urn:bartizan:guest:<card>:<vm uuid>:<boot>`, as certificates and results carry it.
impl fmt::Display for GuestIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "urn:bartizan:guest:{}:{}:{}",
            self.card,
            Uuid::from_bytes(self.vm),
            self.boot
        )
    }
}

impl FromStr for GuestIdentity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "urn:bartizan:guest:<card>:<vm uuid>:<boot>";
        let wrong = || IdentityError(text.into(), SHAPE);
        let mut parts = text
            .strip_prefix("urn:bartizan:guest:")
            .ok_or_else(wrong)?
            .split(':');
        let (Some(card), Some(vm), Some(boot), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let identity = Self {
            card: card.parse()?,
            vm: *Uuid::try_parse(vm).map_err(|_| wrong())?.as_bytes(),
            boot: boot.parse().map_err(|_| wrong())?,
        };
        // One identity has one spelling: certificates are compared as text by others.
        if identity.boot > 0 && identity.to_string() == text {
            Ok(identity)
        } else {
            Err(wrong())
        }
    }
}

#[cfg(test)]
mod tests;
