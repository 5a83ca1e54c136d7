//! Measuring guest memory: the request, the report, and the refusals between them.

mod algorithm;
mod refusal;
mod regions;
mod report;
mod request;
mod signed_report;

pub use algorithm::{
    Digest, DigestKind, HashAlgorithm, UnknownAlgorithmNumber, UnknownHashAlgorithm,
};
pub use refusal::Refusal;
pub use report::{
    Mapping, MappingFlags, MeasuredRegion, Report, ReportError, ResolvedProcess, Snapshot,
    SnapshotMode, TranslationBasis,
};
pub use request::{MeasurementRequest, Region, RequestError, Target};
pub use signed_report::SignedReport;

/// Size of a page in bytes; digests are always over whole pages of this size.
pub const PAGE_SIZE: u64 = 4096;

#[cfg(test)]
mod tests;
