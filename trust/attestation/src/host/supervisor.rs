//! Hypervisor → a guest's supervisor. One request and one reply a connection, except
//! [`SupervisorRequest::Watch`], which streams replies until either side closes.

use minicbor::bytes::ByteVec;
use minicbor::decode::Error;
use minicbor::{Decode, Decoder, Encode};

use super::measurer::{Outcome, ReportKeyRotated};
use crate::cbor::at_most;
use crate::cose::MAX_CHAIN;
use crate::identity::GuestIdentity;
use crate::keys::Chain;
use crate::measurement::Digest;
use crate::renewal::{OVERLAP_MS, RenewalRefusal};

/// What the hypervisor asks a guest's supervisor.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum SupervisorRequest {
    /// How the guest is. Answer: [`SupervisorReply::Status`].
    #[n(0)]
    Status,
    /// Measure. Answer: [`SupervisorReply::Measured`].
    #[n(1)]
    Measure {
        /// The guest's signed request, verbatim.
        #[cbor(n(0), with = "minicbor::bytes")]
        request: Vec<u8>,
    },
    /// Stream [`SupervisorReply::CertificateNeeded`] and [`SupervisorReply::Status`] as they happen.
    #[n(2)]
    Watch,
    /// The certificate for the measurer's newest CSR. Answer: [`SupervisorReply::Done`].
    #[n(3)]
    InstallCertificate {
        /// The chain.
        #[n(0)]
        chain: Chain,
    },
    /// Hand out the one-time launch secret. Answer: [`SupervisorReply::LaunchSecret`], once a boot.
    #[n(4)]
    TakeLaunchSecret,
    /// Keep the guest's enrolled key for this boot; refused if `secret` is not the launch secret or a
    /// key is enrolled already. Answer: [`SupervisorReply::Done`] or [`SupervisorReply::Refused`].
    #[n(5)]
    Enroll {
        /// The launch secret.
        #[cbor(n(0), with = "minicbor::bytes")]
        secret: [u8; 32],
        /// The enrolled key.
        #[n(1)]
        enrollment: Enrollment,
    },
    /// Stop the guest: by ACPI first, or at once. Answer: [`SupervisorReply::Done`] when it is down.
    #[n(6)]
    Stop {
        /// At once.
        #[n(0)]
        force: bool,
    },
    /// The last bytes of the serial console. Answer: [`SupervisorReply::Console`].
    #[n(7)]
    Console {
        /// At most so many bytes.
        #[n(0)]
        max: u32,
    },
    /// Put a renewed key in the enrolled one's place, if the guest's request is right. Answer:
    /// [`SupervisorReply::Renewed`] or [`SupervisorReply::NotRenewed`].
    #[n(8)]
    Renew {
        /// The guest's signed request (COSE_Sign1), verbatim.
        #[cbor(n(0), with = "minicbor::bytes")]
        request: Vec<u8>,
        /// The chain that the card made for the new key.
        #[n(1)]
        chain: Chain,
    },
    /// Have the measurer make a new report key now. Answer, once it is certified: [`SupervisorReply::ReportKeyRotated`].
    #[n(20)]
    RotateReportKey,
}

/// What a supervisor answers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum SupervisorReply {
    /// Done.
    #[n(0)]
    Done,
    /// Refused, and why.
    #[n(1)]
    Refused(#[n(0)] String),
    /// How the guest is.
    #[n(2)]
    Status(#[n(0)] GuestStatus),
    /// A report or a refusal.
    #[n(3)]
    Measured(#[n(0)] Outcome),
    /// The measurer wants its key certified.
    #[n(4)]
    CertificateNeeded {
        /// PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        csr: Vec<u8>,
    },
    /// The launch secret.
    #[n(5)]
    LaunchSecret(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]),
    /// Console output.
    #[n(6)]
    Console(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// The request was granted, now or when it came before: what is enrolled.
    #[n(7)]
    Renewed(#[n(0)] Enrollment),
    /// The request was refused.
    #[n(8)]
    NotRenewed(#[n(0)] RenewalRefusal),
    /// A new report key signs.
    #[n(20)]
    ReportKeyRotated(#[n(0)] ReportKeyRotated),
}

/// A guest's enrolled key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Enrollment {
    /// The guest's certificate chain, leaf first.
    #[cbor(n(0), decode_with = "at_most_chain")]
    pub chain: Chain,
    /// The key that it replaced last, if it did.
    #[n(1)]
    pub superseded: Option<Superseded>,
}

/// A guest's key that was replaced.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Superseded {
    /// Its certificate chain, leaf first.
    #[cbor(n(0), decode_with = "at_most_chain")]
    pub chain: Chain,
    /// Until when requests that it signed are taken, milliseconds since the Unix epoch.
    #[n(1)]
    pub valid_until_ms: u64,
}

/// Known attack: a supervisor that was taken over has the daemon hold a chain of millions of empty certificates.
fn at_most_chain<C>(from: &mut Decoder<'_>, context: &mut C) -> Result<Chain, Error> {
    at_most::<{ MAX_CHAIN as u64 }, C, ByteVec>(from, context)
}

impl Enrollment {
    /// The first of a boot.
    #[must_use]
    pub const fn new(chain: Chain) -> Self {
        Self {
            chain,
            superseded: None,
        }
    }

    /// What is enrolled after a renewal at `now_ms`.
    #[must_use]
    pub fn renewed(&self, chain: Chain, now_ms: u64) -> Self {
        Self {
            chain,
            superseded: Some(Superseded {
                chain: self.chain.clone(),
                valid_until_ms: now_ms.saturating_add(OVERLAP_MS),
            }),
        }
    }
}

/// How a guest is.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct GuestStatus {
    /// Who it is.
    #[n(0)]
    pub guest: GuestIdentity,
    /// Its launch measurement.
    #[n(1)]
    pub launch_measurement: Digest,
    /// The launch record's YAML as signed.
    #[n(2)]
    pub record: String,
    /// Its vsock CID.
    #[n(3)]
    pub cid: u32,
    /// Its state.
    #[n(4)]
    pub state: super::GuestState,
    /// Its QEMU's pid, while there is one.
    #[n(5)]
    pub qemu_pid: Option<u32>,
    /// Its measurer's pid, while there is one.
    #[n(6)]
    pub measurer_pid: Option<u32>,
    /// How it is executed: `kvm` or `tcg`.
    #[n(7)]
    pub accelerator: String,
    /// The enrolled key, once there is one.
    #[n(8)]
    pub enrollment: Option<Enrollment>,
    /// When this boot began, milliseconds since the Unix epoch.
    #[n(9)]
    pub started_at_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor::{decode_strict, encode};

    #[test]
    fn chain_of_more_certificates_than_any_is_refused_before_it_is_read() {
        let enrolled = |length| {
            let chain = || vec![ByteVec::from(vec![]); length];
            SupervisorReply::Renewed(Enrollment::new(chain()).renewed(chain(), 0))
        };
        let whole = enrolled(MAX_CHAIN);
        assert_eq!(
            decode_strict::<SupervisorReply>(&encode(&whole)).unwrap(),
            whole
        );
        let longer = encode(&enrolled(MAX_CHAIN + 1));
        decode_strict::<SupervisorReply>(&longer).unwrap_err();
    }
}
