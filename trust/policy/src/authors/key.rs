//! An author's public key.

use std::fmt;
use std::str::FromStr;

use bartizan_cose::{Curve, PublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// Most bytes of one that is read; a P-384 key has 215.
const MAX_PEM: usize = 1024;

/// A P-384 key, as SubjectPublicKeyInfo in PEM (RFC 7468 section 13).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuthorKey(PublicKey);

/// It is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "an author's key is a P-384 key as `{BEGIN}` (RFC 7468), as `bartizan policy key` writes it into FILE.pub"
)]
pub struct NoAuthorKey;

impl AuthorKey {
    /// Of a public key, which is to be of P-384.
    pub fn new(key: PublicKey) -> Result<Self, NoAuthorKey> {
        match key.curve() {
            Curve::P384 => Ok(Self(key)),
            Curve::P256 => Err(NoAuthorKey),
        }
    }

    /// The public key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.0
    }

    /// SHA-256 over its SubjectPublicKeyInfo, by which signed policies name it.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.0.sha256()
    }
}

impl FromStr for AuthorKey {
    type Err = NoAuthorKey;

    fn from_str(text: &str) -> Result<Self, NoAuthorKey> {
        if text.len() > MAX_PEM {
            return Err(NoAuthorKey);
        }
        let inner = text.trim().strip_prefix(BEGIN);
        let inner = inner.and_then(|inner| inner.strip_suffix(END));
        let digits: String = inner.ok_or(NoAuthorKey)?.split_whitespace().collect();
        let der = STANDARD.decode(digits).map_err(|_| NoAuthorKey)?;
        Self::new(PublicKey::from_spki_der(&der).map_err(|_| NoAuthorKey)?)
    }
}

impl TryFrom<String> for AuthorKey {
    type Error = NoAuthorKey;

    fn try_from(text: String) -> Result<Self, NoAuthorKey> {
        text.parse()
    }
}

impl fmt::Display for AuthorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{BEGIN}")?;
        let digits = STANDARD.encode(self.0.spki_der());
        let mut rest = digits.as_str();
        // Lines of 64 characters (RFC 7468 section 2).
        while let Some((line, after)) = rest.split_at_checked(64) {
            writeln!(f, "{line}")?;
            rest = after;
        }
        if !rest.is_empty() {
            writeln!(f, "{rest}")?;
        }
        writeln!(f, "{END}")
    }
}

impl From<AuthorKey> for String {
    fn from(key: AuthorKey) -> Self {
        key.to_string()
    }
}
