//! A report on its way: the signed message, and the page digests that it commits to.

use minicbor::{Decode, Encode};

/// A signed report with what belongs to it. Nothing of it is verified; [`crate::appraisal::verify_report`] does that.
///
/// Page digests travel beside the report, which holds a digest over them ([`super::Report::page_digests`]): the
/// report can then be kept, and verified, long after they have served their purpose and are gone.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SignedReport {
    /// COSE_Sign1 by a measurer's report key.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub message: Vec<u8>,
    /// The digest of each page of each region, in order, concatenated; where the request wishes for them.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub page_digests: Option<Vec<u8>>,
}

impl SignedReport {
    /// Most bytes of page digests: those by SHA-512 of [`super::MeasurementRequest::MAX_BYTES_WITH_PAGE_DIGESTS`].
    pub const MAX_PAGE_DIGESTS: usize = 16 << 20;
}

impl From<Vec<u8>> for SignedReport {
    /// A message without page digests.
    fn from(message: Vec<u8>) -> Self {
        Self {
            message,
            page_digests: None,
        }
    }
}
