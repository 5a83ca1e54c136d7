//! Who is at the other end of a TLS connection.

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::certificates::{FleetCa, Role, Subject, Usage, verify_chain};
use bartizan_attestation::identity::CardId;

/// The client of a connection, as its certificate says. Made once a connection, by [`Peer::identify`]
/// alone: TLS has proved possession of the key and the path to the fleet CA, this checks what the
/// certificate is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// No certificate, or one that is neither a host's, nor its enclave's, nor an operator's.
    Anonymous,
    /// A host's card.
    Host {
        /// The card.
        card: CardId,
        /// SHA-256 over the DER SubjectPublicKeyInfo of the card's key that certified it.
        card_key: [u8; 32],
        /// The measurement register at the end of each phase of the boot that the certificate was issued in.
        phases: Vec<Sha384>,
        /// SHA-256 over the certificate.
        certificate: [u8; 32],
        /// Last second of the certificate's validity: connections outlive certificates.
        not_after: u64,
    },
    /// A host's enclave.
    Enclave {
        /// The host's card.
        card: CardId,
        /// SHA-256 over the DER SubjectPublicKeyInfo of the card's key that certified it.
        card_key: [u8; 32],
        /// The measurement register at the end of each phase of the boot that the certificate was issued in.
        phases: Vec<Sha384>,
        /// Last second of the certificate's validity.
        not_after: u64,
    },
    /// An operator.
    Operator {
        /// Its name.
        name: String,
        /// What it may do.
        role: Role,
        /// Last second of the certificate's validity.
        not_after: u64,
    },
}

/// What this connection has and no other (RFC 9266): beside its [`Peer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelBinding(pub [u8; 32]);

impl Peer {
    /// Identifies a client by the chain that it presented.
    #[must_use]
    pub fn identify(chain: Option<&[Vec<u8>]>, ca: &FleetCa, now_s: u64) -> Self {
        let Some(chain) = chain else {
            return Self::Anonymous;
        };
        let verified = verify_chain(chain, ca, now_s, Usage::TlsClient)
            .or_else(|_| verify_chain(chain, ca, now_s, Usage::EnclaveTls))
            .or_else(|_| verify_chain(chain, ca, now_s, Usage::Operator));
        match verified {
            Ok(certificate) => match (certificate.subject, certificate.card_key) {
                (Subject::Host(card), Some(card_key)) => Self::Host {
                    card,
                    card_key,
                    phases: certificate.phases,
                    certificate: certificate.sha256,
                    not_after: certificate.not_after,
                },
                (Subject::Enclave(card), Some(card_key)) => Self::Enclave {
                    card,
                    card_key,
                    phases: certificate.phases,
                    not_after: certificate.not_after,
                },
                (Subject::Operator { name, role }, _) => Self::Operator {
                    name,
                    role,
                    not_after: certificate.not_after,
                },
                _ => Self::Anonymous,
            },
            Err(error) => {
                tracing::info!(%error, "a client's certificate is neither a host's, nor its enclave's, nor an operator's");
                Self::Anonymous
            }
        }
    }
}
