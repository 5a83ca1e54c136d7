//! The CAs of one fleet, one after the other, and what links each to the next (RFC 4210 section 4.4).
//!
//! ```text
//!            new with old         new with old
//!  CA 0  ◄──────────────►  CA 1 ◄──────────────►  CA 2, the present one
//!            old with new         old with new
//! ```
//!
//! `new with old` is the newer CA's name and key, certified by the older one's key: who pins the older one follows it to the
//! newer. `old with new` is the other way round: who pins the newer one goes on believing what the older one certified, until
//! that has ended, servers excepted. So it says in its extended key usages, for who builds paths of what a peer shows, as TLS does:
//! a server by the former CA beside its link is refused.
//!
//! | attack | answer |
//! |---|---|
//! | a CA that is linked to none of the fleet's | each link is signed by its neighbour, and names name and key of the other |
//! | a link that is a CA's of something else | it may say nothing but CA, keyCertSign and the two key identifiers; "old with new" what it is good for, too |
//! | a former CA's key, stolen, to be the verifier for who has followed | no server's certificate is believed by a former CA's word, nor by "old with new" in TLS |
//! | loops, forks, long ways | it is one line of at most five CAs, each once; from the pinned one there is one way to each |
//! | a former CA's key, stolen, to go on to another CA | who pins a newer one goes back only: a CA that claims to be older yet, or to have come after the former one in what a TLS client shows, is worth what the former one is, and ends with it |
//! | an older lineage, shown again | the pinned CA is not in it |
//! | former CAs left out, so that what they certified is refused | no lineage is taken that lacks one that is known, but for the oldest where as many former ones are told as are remembered |

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::contents::Contents;
use super::fleet_ca::{Authority, FleetCaError};
use super::{ChainError, FleetCa, Usage};
use crate::digest::sha256;
use crate::text;

/// The CAs of one fleet, as they are handed round: in CBOR on a host, else in JSON, its certificates in base64url. Nothing of it is
/// believed before [`FleetCa::with_lineage`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Lineage {
    /// The present one's own certificate, DER.
    #[n(0)]
    #[serde(rename = "fleet_ca", with = "text::base64url_bytes")]
    pub present: ByteVec,
    /// Those before it, the oldest first; at most [`Lineage::MAX_FORMER`].
    #[n(1)]
    pub former: Vec<FormerFleetCa>,
}

/// A CA that was replaced. Certificates are DER.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct FormerFleetCa {
    /// Its own.
    #[n(0)]
    #[serde(rename = "fleet_ca", with = "text::base64url_bytes")]
    pub certificate: ByteVec,
    /// The next CA's name and key, certified by this one.
    #[n(1)]
    #[serde(with = "text::base64url_bytes")]
    pub new_with_old: ByteVec,
    /// This one's name and key, certified by the next one.
    #[n(2)]
    #[serde(with = "text::base64url_bytes")]
    pub old_with_new: ByteVec,
}

/// CAs that are not one fleet's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineageError {
    /// There are too many.
    #[error("{0} former fleet CAs; there are at most 4")]
    TooLong(usize),
    /// One of them is none.
    #[error(transparent)]
    FleetCa(#[from] FleetCaError),
    /// One of them is there twice.
    #[error("a fleet CA is there twice")]
    Twice,
    /// A cross-certificate cannot be read.
    #[error("a cross-certificate: {0}")]
    Malformed(#[source] ChainError),
    /// A cross-certificate is not signed by the one neighbour, or not of the other one's name and key.
    #[error("a cross-certificate does not link the two fleet CAs that it is said to link")]
    NotLinked,
    /// A cross-certificate does not let its CA certify, or says more than that; or "old with new" is good for something else than it must.
    #[error(
        "a cross-certificate says something else than basic constraints CA without a path length and key usage keyCertSign, and for a former CA what that is believed for"
    )]
    NotACa,
    /// The CA that is trusted is none of them.
    #[error(
        "the fleet CA that is trusted here, SHA-256 {0}, is none of these: they are another fleet's, or many rotations away; bring the present one's certificate by a way that is trusted"
    )]
    Foreign(String),
    /// Former CAs are missing.
    #[error(
        "these fleet CAs lack one of those that are known to be this fleet's, SHA-256 {0}; whoever tells them is behind, or leaves it out"
    )]
    Missing(String),
    /// The way to the present CA does not hold at that time.
    #[error("the way from the fleet CA that is trusted here to the present one: {0}")]
    Time(#[source] ChainError),
}

impl Lineage {
    /// Most former CAs that are remembered: beyond, who pins the oldest is not of the fleet any more.
    pub const MAX_FORMER: usize = 4;

    /// That of a fleet whose CA was never replaced.
    #[must_use]
    pub fn of(present: Vec<u8>) -> Self {
        Self {
            present: present.into(),
            former: Vec::new(),
        }
    }

    /// The certificates that lead who pins a former CA to the present one, the present CA's first: what a server of the present
    /// CA's shows after its own.
    #[must_use]
    pub fn new_with_old(&self) -> Vec<Vec<u8>> {
        let former = self.former.iter().rev();
        former.map(|former| former.new_with_old.to_vec()).collect()
    }

    /// The certificate (DER) of the CA with this SHA-256, in lower-case hexadecimal, if it is one of them. Nothing is said of whether it
    /// is to be trusted.
    #[must_use]
    pub fn named(&self, sha256_hex: &str) -> Option<&[u8]> {
        let former = self.former.iter().map(|former| &former.certificate);
        former
            .chain([&self.present])
            .map(|der| der.as_slice())
            .find(|der| hex::encode(sha256(der)) == sha256_hex)
    }

    /// All CAs in their order, each linked both ways to the next; when those links are valid is left open.
    fn verify(&self) -> Result<Line, LineageError> {
        if self.former.len() > Self::MAX_FORMER {
            return Err(LineageError::TooLong(self.former.len()));
        }
        let former = self.former.iter().map(|former| &former.certificate);
        let cas = former
            .chain([&self.present])
            .map(|der| Authority::read(der));
        let cas = cas.collect::<Result<Vec<_>, _>>()?;
        for (at, ca) in cas.iter().enumerate() {
            let same = |other: &Authority| other.public_key == ca.public_key;
            if cas.iter().skip(at + 1).any(same) {
                return Err(LineageError::Twice);
            }
        }
        let neighbours = cas.iter().zip(cas.iter().skip(1)).zip(&self.former);
        let links = neighbours.map(|((older, newer), former)| {
            Ok(Links {
                forward: link(&former.new_with_old, older, newer, None)?,
                backward: link(
                    &former.old_with_new,
                    newer,
                    older,
                    Some(Usage::of_former_ca_der()),
                )?,
            })
        });
        let links = links.collect::<Result<_, LineageError>>()?;
        Ok(Line { cas, links })
    }
}

/// The CAs of a fleet, the oldest first, and the links of each to the next.
struct Line {
    cas: Vec<Authority>,
    links: Vec<Links>,
}

/// First and last second of a cross-certificate's validity.
type Validity = (u64, u64);

#[derive(Clone, Copy)]
struct Links {
    forward: Validity,
    backward: Validity,
}

impl FleetCa {
    /// The same CA pinned, which from now on leads to the others of its fleet, too, as long as the links hold.
    pub fn with_lineage(&self, lineage: &Lineage) -> Result<Self, LineageError> {
        let Line { cas, links } = lineage.verify()?;
        let pinned = cas.iter().position(|ca| ca.der == self.pinned().der);
        let Some(pinned) = pinned else {
            return Err(LineageError::Foreign(hex::encode(self.sha256())));
        };
        let (older, newer) = (cas.iter().take(pinned), cas.iter().skip(pinned + 1));
        let backward = links.iter().take(pinned).map(|links| links.backward);
        let forward = links.iter().skip(pinned).map(|links| links.forward);
        let mut linked = led_back_to(self.pinned(), older.rev().zip(backward.rev()));
        linked.extend(led_on_to(self.pinned(), newer.zip(forward)));
        Ok(self.linked_to(linked))
    }

    /// The present CA of a lineage in the place of this one, if the way from this one to it holds at that time, in seconds since
    /// the Unix epoch. Of the same lineage: what former CAs certified is good until their links end. What this one leads to already
    /// must be in it; the oldest give way where there are [`Lineage::MAX_FORMER`] after them.
    pub fn rolled(&self, lineage: &Lineage, at_unix_s: u64) -> Result<Self, LineageError> {
        let known = self.with_lineage(lineage)?;
        let present = known.known().find(|ca| ca.der == *lineage.present);
        // INVARIANT: a lineage leads forward from each of its CAs to the present one.
        let present = present.ok_or(LineageError::NotLinked)?;
        let holds = [self.pinned(), present].map(|ca| ca.check_time(at_unix_s));
        for held in holds {
            held.map_err(LineageError::Time)?;
        }
        let is_full = lineage.former.len() == Lineage::MAX_FORMER;
        let left_out = left_out(self.former(), known.former(), is_full)
            .or_else(|| left_out(self.later(), known.later(), false));
        if let Some(left_out) = left_out {
            return Err(LineageError::Missing(hex::encode(sha256(&left_out.der))));
        }
        Self::from_der(&lineage.present)?.with_lineage(lineage)
    }
}

/// The first of the known CAs that was not told in its place, counted from the pinned one; those beyond the told ones may give way.
fn left_out<'a>(
    known: impl Iterator<Item = &'a Authority>,
    mut told: impl Iterator<Item = &'a Authority>,
    give_way: bool,
) -> Option<&'a Authority> {
    let mut known = known.map(|ca| (ca, told.next()));
    let left_out = known.find(|(ca, told)| told.map_or(!give_way, |told| told.der != ca.der));
    left_out.map(|(ca, _)| ca)
}

/// Checks that `issuer` certified name and key of `subject` by this certificate, as a CA and nothing else, for these extended key
/// usages or without any; answers when it is valid.
fn link(
    der: &[u8],
    issuer: &Authority,
    subject: &Authority,
    good_for: Option<Vec<&[u8]>>,
) -> Result<Validity, LineageError> {
    let contents = Contents::read(der).map_err(LineageError::Malformed)?;
    contents
        .check_issuer(&issuer.name, &issuer.public_key)
        .map_err(|_| LineageError::NotLinked)?;
    if contents.name() != subject.name || contents.public_key != subject.public_key {
        return Err(LineageError::NotLinked);
    }
    let certifies = contents.certifies().map_err(LineageError::Malformed)?;
    let no_more = contents.says_no_more_than_ca(good_for);
    if certifies != Some(None) || !no_more.map_err(LineageError::Malformed)? {
        return Err(LineageError::NotACa);
    }
    Ok((contents.not_before, contents.not_after))
}

/// One CA before the other on the way back from the pinned one: none for longer than all links up to it. Each begins with its own
/// link, which is as old as itself: what it certified before others took its place is verified as of then.
fn led_back_to<'a>(
    pinned: &Authority,
    way: impl Iterator<Item = (&'a Authority, Validity)>,
) -> Vec<Authority> {
    let (_, mut valid_until) = pinned.validity();
    let each = way.map(|(ca, (begin, end))| {
        valid_until = valid_until.min(end);
        ca.clone().superseded().valid_within((begin, valid_until))
    });
    each.collect()
}

/// One CA after the other on the way from the pinned one: each valid while all links up to it are.
fn led_on_to<'a>(
    pinned: &Authority,
    way: impl Iterator<Item = (&'a Authority, Validity)>,
) -> Vec<Authority> {
    let mut valid = pinned.validity();
    let each = way.map(|(ca, (begin, end))| {
        valid = (valid.0.max(begin), valid.1.min(end));
        ca.clone().valid_within(valid)
    });
    each.collect()
}
