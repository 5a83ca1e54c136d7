//! Why an operation is refused.

use minicbor::{Decode, Encode};

use crate::identity::CardId;

/// Why a card refused an operation.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum OperationRefusal {
    /// It is no signed order.
    #[n(0)]
    #[error("no signed order: {0}")]
    Malformed(#[n(0)] String),
    /// Its signer is no operator of this fleet whose certificate is good.
    #[n(1)]
    #[error(
        "the order's signer is refused: {0}; see `bartizan operator request` for a new certificate"
    )]
    Signer(#[n(0)] String),
    /// The signature is wrong.
    #[n(2)]
    #[error("the order's signature is refused: {0}")]
    Signature(#[n(0)] String),
    /// It is for another host.
    #[n(3)]
    #[error("the order is for host {named}, this is {this}; name this one with `--host`")]
    OtherHost {
        /// The host in the order.
        #[n(0)]
        named: CardId,
        /// This one.
        #[n(1)]
        this: CardId,
    },
    /// It is past its end.
    #[n(4)]
    #[error(
        "the order expired at {expires_at}, it is {now_s} here (seconds since 1970, by the host's clock, or by its log's newest record where that is later); sign it anew, and compare the clocks"
    )]
    Expired {
        /// Its end.
        #[n(0)]
        expires_at: u64,
        /// The host's time: its clock's, or its log's newest record's where that is later.
        #[n(1)]
        now_s: u64,
    },
    /// It is from the future.
    #[n(5)]
    #[error(
        "the order was issued at {issued_at}, it is only {now_s} here (seconds since 1970); compare the clocks"
    )]
    NotYetValid {
        /// When it was issued.
        #[n(0)]
        issued_at: u64,
        /// The host's time.
        #[n(1)]
        now_s: u64,
    },
    /// It would be good for too long, or ends before it begins.
    #[n(6)]
    #[error("an order lasts 1 to 600 seconds; sign it anew")]
    Lifetime {
        /// How long it would last, in seconds; none where it ends before it begins.
        #[n(0)]
        lifetime_s: Option<u64>,
    },
    /// It was done already, or is older than the log that would say so.
    #[n(7)]
    #[error("the order was used already, or may have been; sign it anew")]
    Replayed,
    /// The operator's role does not allow it.
    #[n(8)]
    #[error("operator `{operator}` is {role}, `{operation}` needs {least}")]
    Role {
        /// The operator.
        #[n(0)]
        operator: String,
        /// Its role.
        #[n(1)]
        role: String,
        /// The operation.
        #[n(2)]
        operation: String,
        /// The least role that may.
        #[n(3)]
        least: String,
    },
    /// The operator is revoked.
    #[n(9)]
    #[error("operator `{0}` is revoked")]
    OperatorRevoked(#[n(0)] String),
    /// Whether the operator is revoked cannot be learnt.
    #[n(10)]
    #[error(
        "nothing is done while the verifier cannot tell whether its operator is revoked ({0}); see the card's `launch_grace_s`"
    )]
    StandingUnknown(#[n(0)] String),
    /// Whether the operator is revoked was not asked, for a reason of the host's own.
    #[n(11)]
    #[error("whether the operator is revoked could not be asked: {0}")]
    StandingUnasked(#[n(0)] String),
    /// The log is not what was written.
    #[n(12)]
    #[error(
        "the log of operations is broken: {0}; nothing is done until an administrator of the host has looked at it and put it aside with `bartizan-card log --set-aside`"
    )]
    LogBroken(#[n(0)] String),
    /// The log cannot be read or written.
    #[n(13)]
    #[error("the log of operations cannot be kept: {0}; nothing is done that is not logged")]
    LogUnusable(#[n(0)] String),
    /// The operator has ordered too much.
    #[n(14)]
    #[error(
        "operator `{operator}` has ordered as much on this host as may be at once; there is one order more every {pause_s} s"
    )]
    TooMany {
        /// The operator.
        #[n(0)]
        operator: String,
        /// After how many seconds there is one more.
        #[n(1)]
        pause_s: u64,
    },
    /// The hypervisor does not answer.
    #[n(15)]
    #[error(
        "the hypervisor does not answer: {0}; what came of the order is not known: see `bartizan vm list`"
    )]
    HypervisorAway(#[n(0)] String),
    /// The vault did not make a key.
    #[n(16)]
    #[error("the key was not rotated: {0}")]
    NotRotated(#[n(0)] String),
    /// The hypervisor cannot be reached, and nothing was done.
    #[n(17)]
    #[error("the hypervisor cannot be reached: {0}; does bartizan-hypervisor run?")]
    HypervisorUnreached(#[n(0)] String),
    /// The vault does not answer.
    #[n(18)]
    #[error("the vault does not answer: {0}; does bartizan-vault run?")]
    VaultAway(#[n(0)] String),
    /// The vault was asked for a key, and did not answer.
    #[n(19)]
    #[error("whether the key was rotated is not known: {0}; see `bartizan key history host`")]
    RotationUnknown(#[n(0)] String),
    /// The vault has made the next key; it is not certified yet.
    #[n(20)]
    #[error(
        "the rotation is begun and not finished: {0}; the card goes on trying, see `bartizan key history host`"
    )]
    RotationBegun(#[n(0)] String),
    /// The verifier refuses this host, whoever orders what.
    #[n(21)]
    #[error("the verifier refuses this host: {detail} ({kind})")]
    HostRefused {
        /// In a word, as the verifier has it: the last part of its problem's type.
        #[n(0)]
        kind: String,
        /// Why.
        #[n(1)]
        detail: String,
    },
    /// The verifier has not answered.
    #[n(22)]
    #[error("the verifier does not answer: {0}; what came of the order is not known")]
    VerifierAway(#[n(0)] String),
    /// The verifier has answered something else.
    #[n(23)]
    #[error("{0}; what came of the order is not known")]
    VerifierUnclear(#[n(0)] String),
    /// There is nothing to hand in, or it could not be handed in.
    #[n(24)]
    #[error("this host's boot was not handed in: {0}")]
    NotAttested(#[n(0)] String),
    /// There is no other certificate.
    #[n(25)]
    #[error("this host's certificate was not renewed: {0}")]
    NotRenewed(#[n(0)] String),
    /// The vault was to install another certificate, and did not answer.
    #[n(26)]
    #[error(
        "whether this host's certificate was renewed is not known: {0}; see `bartizan key list host`"
    )]
    RenewalUnknown(#[n(0)] String),
    /// The verifier takes no more of this host for now, and has done nothing.
    #[n(27)]
    #[error("the verifier takes no more of this host for now: {0}")]
    VerifierBusy(#[n(0)] String),
    /// The enclave's state is not reset.
    #[n(80)]
    #[error("the enclave's state was not reset: {0}")]
    NotReset(#[n(0)] String),
    /// The vault was to forget the enclave's state, and did not answer.
    #[n(81)]
    #[error("whether the enclave's state was reset is not known: {0}; order it once more")]
    ResetUnknown(#[n(0)] String),
}

impl OperationRefusal {
    /// One word for it, as the log has it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Signer(_) => "signer",
            Self::Signature(_) => "signature",
            Self::OtherHost { .. } => "other-host",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::Lifetime { .. } => "lifetime",
            Self::Replayed => "replayed",
            Self::Role { .. } => "role",
            Self::OperatorRevoked(_) => "operator-revoked",
            Self::StandingUnknown(_) => "standing-unknown",
            Self::StandingUnasked(_) => "standing-unasked",
            Self::LogBroken(_) => "log-broken",
            Self::LogUnusable(_) => "log-unusable",
            Self::TooMany { .. } => "too-many",
            Self::HypervisorAway(_) => "hypervisor-away",
            Self::NotRotated(_) => "not-rotated",
            Self::HypervisorUnreached(_) => "hypervisor-unreached",
            Self::VaultAway(_) => "vault-away",
            Self::RotationUnknown(_) => "rotation-unknown",
            Self::RotationBegun(_) => "rotation-begun",
            Self::HostRefused { .. } => "host-refused",
            Self::VerifierAway(_) => "verifier-away",
            Self::VerifierUnclear(_) => "verifier-unclear",
            Self::NotAttested(_) => "not-attested",
            Self::NotRenewed(_) => "not-renewed",
            Self::RenewalUnknown(_) => "renewal-unknown",
            Self::VerifierBusy(_) => "verifier-busy",
            Self::NotReset(_) => "not-reset",
            Self::ResetUnknown(_) => "reset-unknown",
        }
    }
}
