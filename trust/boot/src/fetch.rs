//! The coordinator's first stage → card: the bundle that the verifier serves.
//!
//! The stage connects, sends one [`BundleRequest`] frame and gets one [`BundleReply`] frame. After [`BundleReply::Follows`] come the
//! bundle's bytes as they are, so that nobody has them in memory twice. They are anybody's until the stage has verified them: neither
//! the verifier nor the card vouches for them.

use minicbor::{Decode, Encode};

/// What the stage asks.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum BundleRequest {
    /// The newest bundle that a release key has signed.
    #[n(70)]
    Newest {
        /// SHA-256 over its SubjectPublicKeyInfo.
        #[cbor(n(0), with = "minicbor::bytes")]
        release_key: [u8; 32],
    },
}

/// What the card answers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum BundleReply {
    /// So many bytes follow, at most [`crate::Bundle::MAX_LEN`].
    #[n(70)]
    Follows {
        /// How many.
        #[n(0)]
        size: u32,
    },
    /// There is none.
    #[n(71)]
    Refused(#[n(0)] BundleRefusal),
}

/// Why the card has no bundle to hand over.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum BundleRefusal {
    /// The host is not enrolled: the card knows no fleet CA to tell the verifier by.
    #[n(0)]
    #[error(
        "this host is not enrolled, so that its card knows no verifier; run `bartizan host enroll`, and boot it again"
    )]
    NotEnrolled,
    /// The verifier cannot be reached, or broke off.
    #[n(1)]
    #[error("the verifier cannot be reached: {0}")]
    VerifierAway(#[n(0)] String),
    /// It began, and did not come to an end.
    #[n(2)]
    #[error("the verifier took more than {seconds} s to serve the bundle")]
    TooSlow {
        /// How long it had.
        #[n(0)]
        seconds: u64,
    },
    /// It has none of that key.
    #[n(3)]
    #[error(
        "the verifier has no bundle of this host's release key in force; run `bartizan release register` and `bartizan release publish`"
    )]
    NotPublished,
    /// It refused this host.
    #[n(4)]
    // Escaped: what a verifier says is no line of a boot's log of its own.
    #[error("the verifier refused ({status}): {problem:?}")]
    VerifierRefused {
        /// HTTP status.
        #[n(0)]
        status: u16,
        /// The problem document (RFC 9457), cut off where it is long.
        #[n(1)]
        problem: String,
    },
    /// What it serves is larger than any bundle.
    #[n(5)]
    #[error(
        "the verifier serves more than the {} bytes that a bundle may have",
        crate::Bundle::MAX_LEN
    )]
    TooLarge,
    /// It answers something that is no answer.
    #[n(6)]
    #[error("the verifier's answer is refused: {0}; see that card and verifier are of one version")]
    VerifierUnclear(#[n(0)] String),
    /// No link to it, for a reason of this host's, or since who answers there is not trusted.
    #[n(7)]
    #[error(
        "no link to the verifier can be made: {0}; see the card's log, its vault, and that `verifier` is right in its configuration"
    )]
    LinkUnusable(#[n(0)] String),
    /// Another bundle is being fetched.
    #[n(8)]
    #[error("the card fetches a bundle already; try again")]
    Busy,
}

impl BundleRequest {
    /// Largest frame either way, in bytes.
    pub const MAX_FRAME: usize = 16 << 10;
}

impl BundleRefusal {
    /// Most bytes of a problem document that are told.
    pub const MAX_PROBLEM: usize = 4 << 10;

    /// Whether nothing was served, by whoever's fault: otherwise somebody serves what is no bundle.
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        !matches!(self, Self::TooLarge | Self::VerifierUnclear(_))
    }

    /// Whether it may be otherwise in a moment.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::VerifierAway(_) | Self::TooSlow { .. } | Self::LinkUnusable(_) | Self::Busy => {
                true
            }
            Self::VerifierRefused { status, .. } => *status == 429 || *status >= 500,
            Self::NotEnrolled | Self::NotPublished | Self::TooLarge | Self::VerifierUnclear(_) => {
                false
            }
        }
    }
}
