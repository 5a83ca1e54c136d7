//! Why a chain is refused.

use super::tcb_info::TcbInfoError;
use super::{Subject, Usage};
use crate::identity::{CardId, IdentityError};

/// A chain that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A chain of another length than the usage has; the fleet CA's certificate is not part of it.
    #[error("a chain of {found} certificates where a {} has {expected}; send it leaf first, without the fleet CA", usage.name())]
    Length {
        /// The usage.
        usage: Usage,
        /// Certificates due.
        expected: usize,
        /// Certificates found.
        found: usize,
    },
    /// A certificate of more than 8192 bytes.
    #[error("a certificate of {0} bytes exceeds the limit of 8192")]
    TooLarge(usize),
    /// A certificate that cannot be parsed, or holds an extension twice or malformed.
    #[error("a certificate of the chain is malformed")]
    Malformed,
    /// A certificate of the chain, or the fleet CA's, is past its end.
    #[error("a certificate of the chain has expired; renew it")]
    Expired,
    /// A certificate of the chain, or the fleet CA's, is not valid yet.
    #[error("a certificate of the chain is not valid yet; compare the clocks")]
    NotYetValid,
    /// The chain does not lead to this fleet CA.
    #[error("the chain was not issued by this fleet CA")]
    ForeignCa,
    /// The certificate is for something else.
    #[error("the certificate is not for use as {}: its key usages differ", usage.name())]
    WrongUsage {
        /// The usage asked for.
        usage: Usage,
    },
    /// The key is not of the curve that the usage has.
    #[error("the certificate's key is not of the curve that a {} has", usage.name())]
    WrongKey {
        /// The usage asked for.
        usage: Usage,
    },
    /// The path to the fleet CA is invalid in another way.
    #[error("the chain is invalid: {0}")]
    Path(webpki::Error),
    /// The subject alternative name is not the one URI (for a server: not names alone).
    #[error("the certificate's subject alternative name must be exactly one URI of this fleet")]
    AlternativeName,
    /// The URI cannot be read.
    #[error("the certificate's URI: {0}")]
    Uri(#[from] IdentityError),
    /// The certificate speaks of somebody that its usage cannot be for.
    #[error("a certificate for {subject} cannot be a {}", usage.name())]
    WrongSubject {
        /// The usage asked for.
        usage: Usage,
        /// Whom it speaks of.
        subject: Box<Subject>,
    },
    /// The certificate names another card than the one that issued it.
    #[error("the certificate names card {claimed}, its issuer is card {issuer}")]
    ForeignCard {
        /// The card in the certificate.
        claimed: CardId,
        /// The card in its issuer's certificate.
        issuer: CardId,
    },
    /// The TcbInfo extension is unreadable.
    #[error("{0}")]
    TcbInfo(#[from] TcbInfoError),
    /// The TcbInfo extension is there where it may not be, lacks, or lacks a member.
    #[error("the certificate's TcbInfo extension does not fit a {}", usage.name())]
    TcbInfoUnfit {
        /// The usage asked for.
        usage: Usage,
    },
    /// The certificate was not issued by the card in its chain.
    #[error("the certificate was not issued by the card in its chain, but by the fleet CA itself")]
    PastCard,
    /// Leaf and card name different vaults.
    #[error("the certificate names another kind of vault than the card that issued it")]
    VaultMismatch,
}

impl From<webpki::Error> for ChainError {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error as E;
        match error {
            E::CertExpired { .. } => Self::Expired,
            E::CertNotValidYet { .. } => Self::NotYetValid,
            E::UnknownIssuer | E::InvalidSignatureForPublicKey => Self::ForeignCa,
            E::BadDer | E::BadDerTime | E::MalformedExtensions | E::TrailingData(_) => {
                Self::Malformed
            }
            other => Self::Path(other),
        }
    }
}
