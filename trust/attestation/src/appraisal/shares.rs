//! A report's regions, each with its share of the page digests.

use crate::measurement::{MeasuredRegion, Report};

/// One region as the report has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share<'r> {
    pub(super) measured: &'r MeasuredRegion,
    /// Its page digests, concatenated, where they are at hand.
    pub(super) page_digests: Option<&'r [u8]>,
}

/// Deals page digests out to the regions that they are of: as many to each as it has pages.
pub(super) fn shares<'r>(
    report: &'r Report,
    page_digests: Option<&'r [u8]>,
) -> impl Iterator<Item = Share<'r>> {
    let digest_len = report.digest.0.len();
    let mut rest = page_digests;
    report.regions.iter().map(move |measured| {
        let pages = usize::try_from(measured.region.pages()).unwrap_or(usize::MAX);
        let page_digests = rest.map(|bytes| {
            let (own, others) = bytes.split_at(pages.saturating_mul(digest_len).min(bytes.len()));
            rest = Some(others);
            own
        });
        Share {
            measured,
            page_digests,
        }
    })
}
