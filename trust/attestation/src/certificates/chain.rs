//! From a chain to what it proves.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::contents::Contents;
use super::fleet_ca::Authority;
use super::{ChainError, FleetCa, Subject, Usage};
use crate::boot::Sha384;
use crate::cose::{MAX_CERTIFICATE, PublicKey};
use crate::digest::sha256;
use crate::identity::CardId;
use crate::keys::VaultKind;
use crate::measurement::Digest;

/// What a verified chain proves of its leaf. Made by [`verify_chain`] only.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifiedCertificate {
    /// What it is for.
    pub usage: Usage,
    /// Whom it speaks of.
    pub subject: Subject,
    /// The common name, for people; empty where there is none.
    pub common_name: String,
    /// Its key, on the curve of its usage.
    pub public_key: PublicKey,
    /// The card that it belongs to: its own (a card's), or its issuer's. The card's certificate names it.
    pub card: Option<CardId>,
    /// SHA-256 over the DER SubjectPublicKeyInfo of that card's key: the one in the chain, of those that the card had.
    pub card_key: Option<[u8; 32]>,
    /// Which kind of vault holds the issuing key; for cards and what they issue.
    pub vault: Option<VaultKind>,
    /// The guest's launch measurement (SHA-384); for report and guest keys.
    pub launch_measurement: Option<Digest>,
    /// The measurement register at the end of each phase of its host's boot ([`super::tcb_info::TcbInfo::phases`]).
    pub phases: Vec<Sha384>,
    /// First second of its validity, since the Unix epoch.
    pub not_before: u64,
    /// Last second of its validity, since the Unix epoch.
    pub not_after: u64,
    /// SHA-256 over its DER.
    pub sha256: [u8; 32],
}

/// Verifies a chain (DER, leaf first, without the fleet CA) for one usage at one time, in seconds
/// since the Unix epoch. It leads to the pinned CA, or to one that this leads to at that time; a server's to no former one. Revocation is for the caller to check, by [`VerifiedCertificate::subject`].
pub fn verify_chain(
    chain: &[Vec<u8>],
    ca: &FleetCa,
    at_unix_s: u64,
    usage: Usage,
) -> Result<VerifiedCertificate, ChainError> {
    if let Some(large) = chain
        .iter()
        .find(|certificate| certificate.len() > MAX_CERTIFICATE)
    {
        return Err(ChainError::TooLarge(large.len()));
    }
    // Its end only: what a former CA certified is older than the one that took its place.
    ca.pinned().check_end(at_unix_s)?;
    for issuer in ca.known().filter(|issuer| issuer.is_believed_for(usage)) {
        match verify_under(chain, issuer, at_unix_s, usage) {
            Err(ChainError::ForeignCa) => {}
            Ok(verified) => return issuer.check_time(at_unix_s).map(|()| verified),
            refused => return refused,
        }
    }
    Err(ChainError::ForeignCa)
}

/// Under one CA of the fleet.
fn verify_under(
    chain: &[Vec<u8>],
    ca: &Authority,
    at_unix_s: u64,
    usage: Usage,
) -> Result<VerifiedCertificate, ChainError> {
    match chain {
        [leaf] if !usage.issued_by_card() => verify_direct(leaf, ca, at_unix_s, usage),
        [leaf, card] if usage.issued_by_card() => verify_by_card(leaf, card, ca, at_unix_s, usage),
        _ => Err(ChainError::Length {
            usage,
            expected: usage.chain_len(),
            found: chain.len(),
        }),
    }
}

/// A certificate that the fleet CA issued itself.
fn verify_direct(
    der: &[u8],
    ca: &Authority,
    at: u64,
    usage: Usage,
) -> Result<VerifiedCertificate, ChainError> {
    let contents = Contents::read(der)?;
    let card = match usage {
        Usage::Card => {
            ca.check_issued(&contents, at)?;
            Some(Card::of(&contents)?)
        }
        _ => {
            verify_path(der, None, ca, at, usage)?;
            contents.check_usage(usage)?;
            None
        }
    };
    finish(der, contents, usage, card)
}

/// A certificate that a card issued.
fn verify_by_card(
    der: &[u8],
    card_der: &[u8],
    ca: &Authority,
    at: u64,
    usage: Usage,
) -> Result<VerifiedCertificate, ChainError> {
    let contents = Contents::read(der)?;
    verify_path(der, Some(card_der), ca, at, usage)?;
    contents.check_usage(usage)?;
    // The path leads through this card; its signatures, times and constraints hold. What remains is what the card
    // says of itself.
    let card = Contents::read(card_der)?;
    card.check_usage(Usage::Card)?;
    let issuer = Card::of(&card)?;
    let card = finish(card_der, card, Usage::Card, Some(issuer))?;
    let leaf = finish(der, contents, usage, Some(issuer))?;
    if leaf.vault == card.vault {
        Ok(leaf)
    } else {
        Err(ChainError::VaultMismatch)
    }
}

/// RFC 5280 section 6, with ecdsa-with-SHA384 over P-384 as the only signatures. The path is through `card` where one is
/// given: path validation by itself is content with any path, and tries the fleet CA first.
fn verify_path(
    der: &[u8],
    card: Option<&[u8]>,
    ca: &Authority,
    at: u64,
    usage: Usage,
) -> Result<(), ChainError> {
    let (der, intermediates) = (
        CertificateDer::from(der),
        card.map(CertificateDer::from)
            .into_iter()
            .collect::<Vec<_>>(),
    );
    let leaf = EndEntityCert::try_from(&der)?;
    let path = leaf.verify_for_usage(
        &[webpki::aws_lc_rs::ECDSA_P384_SHA384],
        std::slice::from_ref(ca.anchor()),
        &intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(at)),
        KeyUsage::required(usage.required_purpose()),
        None,
        None,
    )?;
    let through = path
        .intermediate_certificates()
        .map(|certificate| certificate.der());
    if through.eq(intermediates.iter().cloned()) {
        Ok(())
    } else {
        Err(ChainError::PastCard)
    }
}

/// A card, as its certificate has it: who it is outlives its first key.
#[derive(Clone, Copy)]
struct Card {
    id: CardId,
    key: [u8; 32],
}

impl Card {
    fn of(certificate: &Contents<'_>) -> Result<Self, ChainError> {
        let subject = certificate.subject(Usage::Card)?;
        Ok(Self {
            id: subject.card().ok_or(ChainError::AlternativeName)?,
            key: certificate.public_key.sha256(),
        })
    }
}

/// Checks what the certificate says against its usage and the card that issued it.
fn finish(
    der: &[u8],
    contents: Contents<'_>,
    usage: Usage,
    card: Option<Card>,
) -> Result<VerifiedCertificate, ChainError> {
    let subject = contents.subject(usage)?;
    if let (Some(claimed), Some(issuer)) = (subject.card(), card)
        && claimed != issuer.id
    {
        let issuer = issuer.id;
        return Err(ChainError::ForeignCard { claimed, issuer });
    }
    let common_name = contents.common_name();
    let (vault, launch_measurement, phases) = match contents.tcb_info {
        Some(info) => (Some(info.vault), info.launch_measurement, info.phases),
        None => (None, None, Vec::new()),
    };
    if vault.is_some() != usage.names_vault()
        || launch_measurement.is_some() != usage.carries_launch_measurement()
        || (!usage.issued_by_card() && !phases.is_empty())
    {
        return Err(ChainError::TcbInfoUnfit { usage });
    }
    Ok(VerifiedCertificate {
        usage,
        common_name,
        subject,
        public_key: contents.public_key,
        card: card.map(|card| card.id),
        card_key: card.map(|card| card.key),
        vault,
        launch_measurement,
        phases,
        not_before: contents.not_before,
        not_after: contents.not_after,
        sha256: sha256(der),
    })
}
