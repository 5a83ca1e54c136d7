//! From bytes to a report that is right in itself. Whether it answers its request, and what it
//! proves, is for the appraisal to say.

use std::error::Error as _;

use super::bounded::TooManyError;
use super::{Mapping, Report, ResolvedProcess, TranslationBasis};
use crate::cbor::{self, CborError};
use crate::cose::MessageType;
use crate::measurement::{Digest, Refusal, Region, regions};

const SHA256_LEN: usize = 32;
const SHA384_LEN: usize = 48;
/// A path of 4095 bytes (`PATH_MAX`), each of which may have become U+FFFD (3 bytes).
const MAX_PATH: usize = 3 * 4095;
/// `TASK_COMM_LEN` is 16 with the end; likewise.
const MAX_COMM: usize = 3 * 15;

/// A report that is refused as a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is not the one encoding of a report.
    #[error("{0}")]
    Encoding(CborError),
    /// It is larger than a report may be.
    #[error("a report of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It speaks another version.
    #[error("version {0} of the report is not known; version 1 is")]
    Version(u32),
    /// A field is longer than it may be, or empty where it may not.
    #[error("the report's {0} is out of its range")]
    Range(&'static str),
    /// A digest has another length than the report's other digests, or than no algorithm has.
    #[error("the report's {0} does not have the length of its algorithm's digests")]
    DigestLength(&'static str),
    /// A region or mapping is not whole pages, wraps or overlaps another.
    #[error("the report's regions: {0}")]
    Regions(Refusal),
}

impl From<CborError> for ReportError {
    fn from(error: CborError) -> Self {
        let too_many = match &error {
            CborError::Malformed(malformed) => malformed
                .source()
                .and_then(|source| source.downcast_ref::<TooManyError>().copied()),
            CborError::NotDeterministic => None,
        };
        too_many.map_or(Self::Encoding(error), |TooManyError(list)| {
            Self::Range(list)
        })
    }
}

impl Report {
    /// Most regions in a report, and most mappings, of all processes together.
    pub const MAX_MAPPINGS: usize = 4096;
    /// Most processes in a report.
    pub const MAX_PROCESSES: usize = 64;

    /// Reads a report and checks every field.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReportError> {
        let limit = MessageType::Report.max_len();
        if bytes.len() > limit {
            return Err(ReportError::TooLarge {
                size: bytes.len(),
                limit,
            });
        }
        let report: Self = cbor::decode_strict(bytes)?;
        report.check()?;
        Ok(report)
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// What [`Report::decode`] checks.
    pub fn check(&self) -> Result<(), ReportError> {
        if self.version != Self::VERSION {
            return Err(ReportError::Version(self.version));
        }
        in_range(
            "request",
            self.request.len(),
            1,
            MessageType::MeasurementRequest.max_len(),
        )?;
        in_range("hypervisor_version", self.hypervisor_version.len(), 1, 64)?;
        of_length("launch_measurement", &self.launch_measurement, SHA384_LEN)?;
        let digest_len = self.digest.0.len();
        if ![32, 48, 64].contains(&digest_len) {
            return Err(ReportError::DigestLength("digest"));
        }
        if let Some(digest) = &self.page_digests {
            of_length("page digests' digest", digest, digest_len)?;
        }
        in_range("regions", self.regions.len(), 1, Self::MAX_MAPPINGS)?;
        for measured in &self.regions {
            of_length("region's digest", &measured.digest, digest_len)?;
        }
        in_range("processes", self.processes.len(), 0, Self::MAX_PROCESSES)?;
        let mappings = self.processes.iter().map(|process| process.mappings.len());
        in_range("mappings", mappings.sum(), 0, Self::MAX_MAPPINGS)?;
        self.processes.iter().try_for_each(check_process)?;
        self.check_address_spaces()?;
        match &self.translation {
            Some(basis) if !self.processes.is_empty() => check_translation(basis),
            None if self.processes.is_empty() => Ok(()),
            _ => Err(ReportError::Range("translation")),
        }
    }

    /// The same address may be measured in several processes, each of which has as many regions as mappings then.
    fn check_address_spaces(&self) -> Result<(), ReportError> {
        let mut regions = self.regions.iter().map(|measured| measured.region);
        if let [_, _, ..] = self.processes.as_slice() {
            for process in &self.processes {
                check_regions(regions.by_ref().take(process.mappings.len()))?;
            }
        }
        check_regions(regions)
    }
}

fn check_process(process: &ResolvedProcess) -> Result<(), ReportError> {
    in_range("comm", process.comm.len(), 0, MAX_COMM)?;
    in_range("executable", process.executable.len(), 1, MAX_PATH)?;
    in_range("mappings", process.mappings.len(), 1, Report::MAX_MAPPINGS)?;
    for Mapping { path, .. } in &process.mappings {
        if let Some(path) = path {
            in_range("mapping's path", path.len(), 1, MAX_PATH)?;
        }
    }
    check_regions(process.mappings.iter().map(|mapping| mapping.region))?;
    let ascending = process
        .mappings
        .is_sorted_by_key(|mapping| mapping.region.address);
    if ascending {
        Ok(())
    } else {
        Err(ReportError::Range("order of mappings"))
    }
}

fn check_translation(basis: &TranslationBasis) -> Result<(), ReportError> {
    let TranslationBasis {
        levels,
        kernel,
        banner,
    } = basis;
    in_range("levels", usize::from(*levels), 4, 5)?;
    in_range("banner", banner.len(), 1, 1024)?;
    of_length("kernel", kernel, SHA256_LEN)
}

fn check_regions(listed: impl Iterator<Item = Region>) -> Result<(), ReportError> {
    let listed: Vec<_> = listed.collect();
    regions::check_all(&listed)
        .map(drop)
        .map_err(ReportError::Regions)
}

fn in_range(field: &'static str, len: usize, least: usize, most: usize) -> Result<(), ReportError> {
    if (least..=most).contains(&len) {
        Ok(())
    } else {
        Err(ReportError::Range(field))
    }
}

fn of_length(field: &'static str, digest: &Digest, due: usize) -> Result<(), ReportError> {
    if digest.0.len() == due {
        Ok(())
    } else {
        Err(ReportError::DigestLength(field))
    }
}
