//! From bytes to a request that can only be right.

use std::error::Error as _;

use super::{MeasurementRequest, Target};
use crate::cbor::{self, CborError};
use crate::measurement::{PAGE_SIZE, Refusal, UnknownAlgorithmNumber, regions};

/// A request that is refused before anything is looked at in the guest.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is larger than any request needs to be.
    #[error("a request of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It is not the one encoding of a request. An unknown kind or target is one, too.
    #[error("{0}")]
    Encoding(CborError),
    /// It asks for a hash algorithm that is none of ours.
    #[error("{0}")]
    Algorithm(UnknownAlgorithmNumber),
    /// It speaks another version.
    #[error("version {0} of the request is not known; version 1 is")]
    Version(u32),
    /// A text is empty, too long or holds control characters.
    #[error("the {field} must have 1 to {limit} bytes and no control characters")]
    Text {
        /// Which.
        field: &'static str,
        /// Longest, in bytes.
        limit: usize,
    },
    /// Too many regions.
    #[error("{0} regions; at most 256 fit into one request")]
    TooManyRegions(usize),
    /// The expected digest does not have the length of the algorithm's.
    #[error("the expected digest has {found} bytes, {expected} are due for the algorithm")]
    ExpectedDigest {
        /// Bytes found.
        found: usize,
        /// Bytes due.
        expected: usize,
    },
    /// Page digests of what the guest chose itself.
    #[error("page digests are given with the profile of a process only; ask without them")]
    PageDigests,
    /// The regions are refused.
    #[error("{0}")]
    Regions(Refusal),
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Regions(refusal) => refusal,
            RequestError::Algorithm(UnknownAlgorithmNumber(number)) => {
                Self::UnknownAlgorithm { number }
            }
            other => Self::Malformed(other.to_string()),
        }
    }
}

impl From<CborError> for RequestError {
    fn from(error: CborError) -> Self {
        let unknown = match &error {
            CborError::Malformed(malformed) => malformed
                .source()
                .and_then(|source| source.downcast_ref().copied()),
            CborError::NotDeterministic => None,
        };
        unknown.map_or(Self::Encoding(error), Self::Algorithm)
    }
}

impl MeasurementRequest {
    /// Largest encoded request in bytes.
    pub const MAX_LEN: usize = 32 << 10;
    /// Most bytes to measure with page digests asked for: their SHA-512 take 16 MiB.
    pub const MAX_BYTES_WITH_PAGE_DIGESTS: u64 = 1 << 30;

    /// Reads a request and checks every field and region.
    pub fn decode(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(RequestError::TooLarge {
                size: bytes.len(),
                limit: Self::MAX_LEN,
            });
        }
        let request: Self = cbor::decode_strict(bytes)?;
        request.check()?;
        Ok(request)
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// What [`MeasurementRequest::decode`] checks: for whoever builds a request, before signing.
    pub fn check(&self) -> Result<(), RequestError> {
        if self.version != Self::VERSION {
            return Err(RequestError::Version(self.version));
        }
        check_text("audience", &self.audience, Self::MAX_AUDIENCE)?;
        check_text("application", &self.application, Self::MAX_APPLICATION)?;
        let due = self.algorithm.digest_len();
        if let Some(found) = self.expected.as_ref().map(|digest| digest.0.len())
            && found != due
        {
            return Err(RequestError::ExpectedDigest {
                found,
                expected: due,
            });
        }
        if self.target.regions().len() > Self::MAX_REGIONS {
            return Err(RequestError::TooManyRegions(self.target.regions().len()));
        }
        self.target.check().map_err(RequestError::Regions)?;
        if self.page_digests && !matches!(self.target, Target::Profile { .. }) {
            return Err(RequestError::PageDigests);
        }
        Ok(())
    }
}

impl Target {
    /// Most bytes of one request, whatever a guest's budget: no guest has more RAM.
    pub const MAX_BYTES: u64 = 1 << 40;

    /// Refuses regions that are none, empty, unaligned, wrapping, overlapping, or too much in all.
    /// Regions of a profile are the measurer's to find.
    pub fn check(&self) -> Result<(), Refusal> {
        if matches!(self, Self::Profile { .. }) {
            return Ok(());
        }
        if self.regions().is_empty() {
            return Err(Refusal::EmptyRegion { address: 0 });
        }
        let requested = regions::check_all(self.regions())?;
        let allowed = Self::MAX_BYTES;
        if requested > allowed {
            Err(Refusal::OverBudget { requested, allowed })
        } else {
            Ok(())
        }
    }

    /// The regions named, in order; none for a profile.
    #[must_use]
    pub fn regions(&self) -> &[super::Region] {
        match self {
            Self::Physical(regions) | Self::Virtual { regions, .. } => regions,
            Self::Profile { .. } => &[],
        }
    }

    /// Bytes named in all; 0 for a profile, whose size the measurer finds.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.regions()
            .iter()
            .map(|region| region.size)
            .fold(0, u64::saturating_add)
    }

    /// Pages named in all; 0 for a profile.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.size() / PAGE_SIZE
    }

    /// The process, where one is named.
    #[must_use]
    pub const fn pid(&self) -> Option<u32> {
        match self {
            Self::Physical(_) => None,
            Self::Virtual { pid, .. } | Self::Profile { pid } => Some(*pid),
        }
    }
}

fn check_text(field: &'static str, text: &str, limit: usize) -> Result<(), RequestError> {
    if (1..=limit).contains(&text.len()) && !text.contains(char::is_control) {
        Ok(())
    } else {
        Err(RequestError::Text { field, limit })
    }
}
