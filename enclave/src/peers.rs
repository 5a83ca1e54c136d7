//! Who may be at the other end of a link: the card of this host, its hypervisor. TLS has proven possession of the key and the path to
//! the fleet CA; this says whose it is.

use std::sync::OnceLock;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::certificates::{
    ChainError, FleetCa, Subject, Usage, VerifiedCertificate, verify_chain,
};
use bartizan_attestation::identity::CardId;

/// A peer's own certificates: its leaf, its card's.
const PATH: usize = 2;

/// The card that this enclave has: the first that it met, for as long as the machine runs.
///
/// The keeper's links lead to one card. Another one that comes later, over a keeper that was taken over, is not taken for it.
#[derive(Debug, Default)]
pub struct OwnCard(OnceLock<CardId>);

/// A peer that was judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The card that certified it.
    pub card: CardId,
    /// The measurement register at the end of each phase of the boot, as its certificate says.
    pub phases: Vec<Sha384>,
    /// Last second of its certificate's validity, since the Unix epoch.
    pub not_after: u64,
}

/// Whoever is there is not who should be.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It shows no certificate.
    #[error("it shows no certificate")]
    Nobody,
    /// Its certificate is another's.
    #[error("its certificate is refused: {0}")]
    Certificate(#[from] ChainError),
    /// It is of another card than this enclave is of.
    #[error("it is of card {found}, this enclave is of {own}")]
    OtherCard {
        /// Its card.
        found: CardId,
        /// This enclave's.
        own: CardId,
    },
    /// No card is known yet.
    #[error("this enclave has met no card yet")]
    NoCard,
}

impl OwnCard {
    /// The card, once one was met.
    #[must_use]
    pub fn known(&self) -> Option<CardId> {
        self.0.get().copied()
    }

    /// Judges who is at the card's link.
    pub fn card(
        &self,
        chain: Option<&[Vec<u8>]>,
        ca: &FleetCa,
        now_s: u64,
    ) -> Result<Peer, PeerError> {
        let (found, certificate) = judge(chain, ca, now_s, Usage::TlsClient)?;
        let own = *self.0.get_or_init(|| found);
        of(found, own, certificate)
    }

    /// Judges who is at the hypervisor's link.
    pub fn hypervisor(
        &self,
        chain: Option<&[Vec<u8>]>,
        ca: &FleetCa,
        now_s: u64,
    ) -> Result<Peer, PeerError> {
        let (found, certificate) = judge(chain, ca, now_s, Usage::Hypervisor)?;
        let own = self.known().ok_or(PeerError::NoCard)?;
        of(found, own, certificate)
    }
}

fn judge(
    chain: Option<&[Vec<u8>]>,
    ca: &FleetCa,
    now_s: u64,
    usage: Usage,
) -> Result<(CardId, VerifiedCertificate), PeerError> {
    let chain = chain.ok_or(PeerError::Nobody)?;
    // Then cross-certificates, for TLS alone: what they say was told, and judged, by another way.
    let path = chain.get(..PATH).unwrap_or(chain);
    let certificate = verify_chain(path, ca, now_s, usage)?;
    match certificate.subject {
        Subject::Host(card) | Subject::Hypervisor(card) => Ok((card, certificate)),
        // INVARIANT: the usage says which subjects there are.
        _ => Err(PeerError::Nobody),
    }
}

fn of(found: CardId, own: CardId, certificate: VerifiedCertificate) -> Result<Peer, PeerError> {
    if found != own {
        return Err(PeerError::OtherCard { found, own });
    }
    Ok(Peer {
        card: found,
        phases: certificate.phases,
        not_after: certificate.not_after,
    })
}

#[cfg(test)]
pub(crate) mod tests;
