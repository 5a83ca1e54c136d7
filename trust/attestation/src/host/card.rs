//! Hypervisor → card.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::certificates::Lineage;
use crate::identity::{CardId, GuestIdentity};
use crate::keys::{Chain, VaultKind};
use crate::measurement::{Digest, SignedReport};

/// What the hypervisor asks the card.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum CardRequest {
    /// Who this host is. Answer: [`CardReply::Host`].
    #[n(0)]
    Describe,
    /// Count one more boot of a VM, durably, unless the operator who signed its launch record is revoked. Answer:
    /// [`CardReply::Guest`].
    #[n(1)]
    NextBoot {
        /// The VM's UUID.
        #[cbor(n(0), with = "minicbor::bytes")]
        vm: [u8; 16],
        /// The operator's name.
        #[n(1)]
        operator: String,
    },
    /// Certify a measurer's report key. Answer: [`CardReply::Chain`].
    #[n(2)]
    CertifyReportKey {
        /// PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        csr: Vec<u8>,
        /// Its guest.
        #[n(1)]
        guest: GuestIdentity,
        /// That guest's launch measurement.
        #[n(2)]
        launch_measurement: Digest,
    },
    /// Certify a guest's key. Answer: [`CardReply::Chain`].
    #[n(3)]
    CertifyGuestKey {
        /// PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        csr: Vec<u8>,
        /// The guest.
        #[n(1)]
        guest: GuestIdentity,
        /// Its launch measurement.
        #[n(2)]
        launch_measurement: Digest,
    },
    /// Fetch a nonce from the verifier for a guest. Answer: [`CardReply::Nonce`].
    #[n(4)]
    Nonce {
        /// The guest.
        #[n(0)]
        guest: GuestIdentity,
    },
    /// Hand a report to the verifier. Answer: [`CardReply::Judged`].
    #[n(5)]
    Judge {
        /// The signed report.
        #[n(0)]
        report: SignedReport,
        /// The guest's certificate chain, leaf first, without the fleet CA.
        #[n(1)]
        guest_chain: Chain,
    },
    /// Certify the hypervisor's key for its link to the enclave. Answer: [`CardReply::Chain`].
    #[n(6)]
    CertifyHypervisor {
        /// PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        csr: Vec<u8>,
    },
}

/// What the card answers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum CardReply {
    /// This host.
    #[n(0)]
    Host(#[n(0)] HostDescription),
    /// The guest's identity, its boot counted.
    #[n(1)]
    Guest(#[n(0)] GuestIdentity),
    /// A chain, leaf first, without the fleet CA.
    #[n(2)]
    Chain(#[n(0)] Chain),
    /// The verifier's nonce.
    #[n(3)]
    Nonce(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]),
    /// The verifier's judgement.
    #[n(4)]
    Judged(#[n(0)] Judgement),
    /// Refused.
    #[n(5)]
    Refused(#[n(0)] CardRefusal),
}

/// Who a host is.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct HostDescription {
    /// Its card.
    #[n(0)]
    pub card: CardId,
    /// Its vault's back end.
    #[n(1)]
    pub vault: VaultKind,
    /// The card identity's chain.
    #[n(2)]
    pub chain: Chain,
    /// The fleet's CAs, as the card knows them.
    #[n(3)]
    pub fleet_cas: Lineage,
    /// The token keys' certificates that the verifier publishes at present, DER.
    #[n(4)]
    pub token_certificates: Vec<ByteVec>,
}

/// What the verifier said to a report.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Judgement {
    /// Id of the verdict that the verifier keeps.
    #[n(0)]
    pub verdict: String,
    /// The attestation result: EAR as a compact JWT. Present for every appraised report, affirmed or not.
    #[n(1)]
    pub token: String,
    /// The token keys' certificates at present, DER: the one that signed is among them. Empty where the verifier
    /// could not be asked for them after it had judged.
    #[n(2)]
    pub token_certificates: Vec<ByteVec>,
    /// The fleet's CAs, by which who pins a former one verifies those.
    #[n(3)]
    pub fleet_cas: Lineage,
}

/// Why the card refused.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum CardRefusal {
    /// The host is not enrolled yet.
    #[n(0)]
    #[error("this host is not enrolled; run `bartizan host enroll`")]
    NotEnrolled,
    /// The verifier cannot be reached.
    #[n(1)]
    #[error("the verifier cannot be reached: {0}")]
    VerifierAway(#[n(0)] String),
    /// The verifier refused, with its problem document (RFC 9457).
    #[n(2)]
    #[error("the verifier refused ({status}): {problem}")]
    VerifierRefused {
        /// HTTP status.
        #[n(0)]
        status: u16,
        /// The problem+json body.
        #[n(1)]
        problem: String,
    },
    /// The vault cannot be reached.
    #[n(3)]
    #[error("the vault cannot be reached: {0}")]
    VaultAway(#[n(0)] String),
    /// The vault refused.
    #[n(4)]
    #[error("the vault refused: {0}")]
    VaultRefused(#[n(0)] String),
    /// Durable state could not be written.
    #[n(5)]
    #[error("the card's state could not be written: {0}")]
    State(#[n(0)] String),
    /// The operator who signed a launch record is revoked.
    #[n(6)]
    #[error(
        "operator `{0}`, who signed the launch record, is revoked; have another operator sign it"
    )]
    OperatorRevoked(#[n(0)] String),
    /// Whether that operator is revoked cannot be learnt.
    #[n(7)]
    #[error(
        "nothing is launched while the verifier cannot tell whether its operator is revoked ({0}); see the card's `launch_grace_s`"
    )]
    RevocationsUnknown(#[n(0)] String),
    /// The verifier answered, but not what was asked.
    #[n(8)]
    #[error(
        "the verifier's answer is refused: {0}; see that card and verifier are of one version, and that this host's certificate is good"
    )]
    VerifierUnclear(#[n(0)] String),
    /// As many requests are under way to the verifier as may be.
    #[n(9)]
    #[error("the card is busy: {0}; try again")]
    Busy(#[n(0)] String),
    /// No link to the verifier, for a reason of this host's, or since who answers there is not trusted.
    #[n(10)]
    #[error(
        "no link to the verifier can be made: {0}; see the card's log, its vault, and that `verifier` is right in its configuration"
    )]
    LinkUnusable(#[n(0)] String),
    /// The boot is not done.
    #[n(11)]
    #[error("this host's boot is still under way; try again")]
    BootUnderWay,
    /// That is not the state of the enclave that comes next: there is another enclave of this host, or its state was reset.
    #[n(12)]
    #[error("state {asked} of the enclave does not come after {recorded}, the newest")]
    StateOrder {
        /// The number of the newest; 0 where there is none.
        #[n(0)]
        recorded: u64,
        /// The number that was to be it.
        #[n(1)]
        asked: u64,
    },
    /// The enclave has asked for its state before the card has certified it over this link.
    #[n(13)]
    #[error("an enclave is certified before it is given its state")]
    NotCertified,
}
