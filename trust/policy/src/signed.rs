//! Policies that their authors signed.
//!
//! A COSE_Sign1 of [`MessageType::PolicyYaml`] or [`MessageType::PolicyJson`] that names the author's key; its payload is the policy's
//! text, byte for byte as written.
//!
//! | attack | answer |
//! |---|---|
//! | a policy is invented or changed by whoever distributes it | only authors of the measured configuration are known |
//! | an author's key is used beyond its task | the scope in that configuration binds what it signs |
//! | YAML passed off as JSON, where a text may mean something else | the format is part of what is signed |
//! | another signature of the same author's over the same text (ECDSA has several) | the digest is of the text |

use aws_lc_rs::digest::{SHA384, digest};
use bartizan_cose::{
    CoseError, MessageType, PublicKey, Sign, SignError, Unverified, sign1_by_named_key,
};

use crate::authors::{Authors, OutsideScope};
use crate::document::Policy;
use crate::read::{Format, ReadError, read};

/// SHA-384.
pub type Sha384 = [u8; 48];

/// A policy that an author signed, within that author's scope. Made by [`Authors::verify`] only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthenticPolicy {
    policy: Policy,
    author: String,
    digest: Sha384,
}

/// A policy could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignPolicyError {
    /// It is none.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// The key failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// A signed policy is refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyRefusal {
    /// It is no signed policy.
    #[error("no signed policy: {0}")]
    Malformed(#[source] CoseError),
    /// Nobody is known by that key.
    #[error("its author is not known: no author has key {}", hex::encode(.0))]
    UnknownAuthor([u8; 32]),
    /// The author did not sign it so.
    #[error("`{author}` has not signed it so: {source}")]
    Signature {
        /// Who is said to have.
        author: String,
        /// Why not.
        source: CoseError,
    },
    /// What was signed is no text.
    #[error("what `{0}` signed is no UTF-8")]
    NotText(String),
    /// What was signed is no policy.
    #[error("what `{author}` signed is no policy: {source}")]
    Unreadable {
        /// Who signed it.
        author: String,
        /// Why.
        source: ReadError,
    },
    /// The author may not write it.
    #[error("`{author}` may not write policy `{policy}`: {source}")]
    OutsideScope {
        /// Who signed it.
        author: String,
        /// Its name.
        policy: String,
        /// Why.
        source: OutsideScope,
    },
}

/// Signs a policy's text with an author's key, whose public half is `public`.
pub fn sign_policy(
    text: &str,
    format: Format,
    public: &PublicKey,
    key: &impl Sign,
) -> Result<Vec<u8>, SignPolicyError> {
    read(text, format)?;
    let kind = message_type(format);
    Ok(sign1_by_named_key(kind, text.as_bytes(), public, key)?)
}

const fn message_type(format: Format) -> MessageType {
    match format {
        Format::Yaml => MessageType::PolicyYaml,
        Format::Json => MessageType::PolicyJson,
    }
}

impl Authors {
    /// Verifies a signed policy: by one of these, and within that one's scope.
    pub fn verify(&self, signed: &[u8]) -> Result<AuthenticPolicy, PolicyRefusal> {
        let (message, format) = parse(signed).map_err(PolicyRefusal::Malformed)?;
        // INVARIANT: messages of these types name their key; none is found where one would not.
        let key = message.key_sha256().copied().unwrap_or_default();
        let author = self
            .with_key(&key)
            .ok_or(PolicyRefusal::UnknownAuthor(key))?;
        let name = || author.name.clone();
        let text =
            message
                .verify(author.key.public_key())
                .map_err(|source| PolicyRefusal::Signature {
                    author: name(),
                    source,
                })?;
        let text = String::from_utf8(text).map_err(|_| PolicyRefusal::NotText(name()))?;
        let policy = read(&text, format).map_err(|source| PolicyRefusal::Unreadable {
            author: name(),
            source,
        })?;
        match author.scope.holds(&policy) {
            Ok(()) => Ok(AuthenticPolicy {
                policy,
                author: name(),
                digest: sha384(text.as_bytes()),
            }),
            Err(source) => Err(PolicyRefusal::OutsideScope {
                author: name(),
                policy: policy.name,
                source,
            }),
        }
    }
}

fn parse(signed: &[u8]) -> Result<(Unverified, Format), CoseError> {
    let of = |format| Ok((Unverified::parse(signed, message_type(format))?, format));
    match of(Format::Yaml) {
        Err(CoseError::WrongType { .. }) => of(Format::Json),
        other => other,
    }
}

impl AuthenticPolicy {
    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The policy, for whoever keeps it.
    #[must_use]
    pub fn into_policy(self) -> Policy {
        self.policy
    }

    /// Who signed it.
    #[must_use]
    pub fn author(&self) -> &str {
        &self.author
    }

    /// SHA-384 over its text: the same for two signatures of one text.
    #[must_use]
    pub const fn digest(&self) -> &Sha384 {
        &self.digest
    }
}

pub(crate) fn sha384(bytes: &[u8]) -> Sha384 {
    let mut sha384 = [0; 48];
    // INVARIANT: SHA-384 is 48 bytes long, so that nothing is cut off or left at zero.
    for (to, from) in sha384.iter_mut().zip(digest(&SHA384, bytes).as_ref()) {
        *to = *from;
    }
    sha384
}
