//! Whom a certificate speaks of: its one URI in the subject alternative name.

use std::fmt;
use std::str::FromStr;

use super::contents::Contents;
use super::{ChainError, Role, Usage};
use crate::identity::{CardId, GuestIdentity, IdentityError};

/// Longest operator name in bytes.
const MAX_OPERATOR: usize = 63;

/// Whom a certificate speaks of.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// A host's card, or its TLS client: `urn:bartizan:host:<card>`.
    Host(CardId),
    /// The measurer of one guest: `urn:bartizan:measurer:<card>:<vm uuid>:<boot>`.
    Measurer(GuestIdentity),
    /// A host's enclave: `urn:bartizan:enclave:<card>`.
    Enclave(CardId),
    /// A host's hypervisor: `urn:bartizan:hypervisor:<card>`.
    Hypervisor(CardId),
    /// A guest: `urn:bartizan:guest:<card>:<vm uuid>:<boot>`.
    Guest(GuestIdentity),
    /// An operator: `urn:bartizan:operator:<name>:<role>`; the name is 1 to 63 of `a-z 0-9 . _ -`.
    Operator {
        /// Its name: what is revoked.
        name: String,
        /// What it may do on hosts.
        role: Role,
    },
    /// The verifier's token key: `urn:bartizan:token`.
    Token,
    /// A TLS server: no URI, but DNS names and addresses.
    Server,
}

impl Subject {
    /// An operator; refuses names that would not read back from a certificate.
    pub fn operator(name: &str, role: Role) -> Result<Self, IdentityError> {
        Self::check_operator(name)?;
        Ok(Self::Operator {
            name: name.into(),
            role,
        })
    }

    /// Refuses what is no operator's name.
    pub fn check_operator(name: &str) -> Result<(), IdentityError> {
        let fits = (1..=MAX_OPERATOR).contains(&name.len())
            && name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
        if fits {
            Ok(())
        } else {
            let shown = name.chars().take(MAX_OPERATOR).collect();
            Err(IdentityError(
                shown,
                "an operator's name of 1 to 63 of a-z, 0-9, `.`, `_`, `-`",
            ))
        }
    }

    /// Whom a certificate (DER) speaks of. Nothing of it is verified: for certificates that were, and are kept where nobody else
    /// writes.
    pub fn in_certificate(der: &[u8], usage: Usage) -> Result<Self, ChainError> {
        Contents::read(der)?.subject(usage)
    }

    /// The URI in its certificate; a server has none.
    #[must_use]
    pub fn uri(&self) -> Option<String> {
        match self {
            Self::Server => None,
            named => Some(named.to_string()),
        }
    }

    /// The card that this subject belongs to.
    #[must_use]
    pub const fn card(&self) -> Option<CardId> {
        match self {
            Self::Host(card) | Self::Enclave(card) | Self::Hypervisor(card) => Some(*card),
            Self::Measurer(guest) | Self::Guest(guest) => Some(guest.card),
            Self::Operator { .. } | Self::Token | Self::Server => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(card) => write!(f, "urn:bartizan:host:{card}"),
            Self::Enclave(card) => write!(f, "urn:bartizan:enclave:{card}"),
            Self::Hypervisor(card) => write!(f, "urn:bartizan:hypervisor:{card}"),
            Self::Measurer(guest) => {
                let urn = guest.to_string();
                write!(f, "urn:bartizan:measurer:{}", urn.trim_start_matches(GUEST))
            }
            Self::Guest(guest) => guest.fmt(f),
            Self::Operator { name, role } => write!(f, "urn:bartizan:operator:{name}:{role}"),
            Self::Token => f.write_str("urn:bartizan:token"),
            Self::Server => f.write_str("a TLS server"),
        }
    }
}

const GUEST: &str = "urn:bartizan:guest:";

/// Reads a URI; one subject has one spelling.
impl FromStr for Subject {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<Self, Self::Err> {
        let unknown = || IdentityError(uri.chars().take(200).collect(), "a urn:bartizan: URI");
        let (kind, name) = uri
            .strip_prefix("urn:bartizan:")
            .map(|rest| rest.split_once(':').unwrap_or((rest, "")))
            .ok_or_else(unknown)?;
        let subject = match kind {
            "host" => Self::Host(name.parse()?),
            "enclave" => Self::Enclave(name.parse()?),
            "hypervisor" => Self::Hypervisor(name.parse()?),
            "measurer" => Self::Measurer(format!("{GUEST}{name}").parse()?),
            "guest" => Self::Guest(uri.parse()?),
            "operator" => {
                let (name, role) = name.split_once(':').ok_or_else(unknown)?;
                Self::operator(name, role.parse()?)?
            }
            "token" => Self::Token,
            _ => return Err(unknown()),
        };
        if subject.to_string() == uri {
            Ok(subject)
        } else {
            Err(unknown())
        }
    }
}

#[cfg(test)]
mod tests;
