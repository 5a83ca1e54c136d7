//! Why writes cannot be tracked.

use rustix::io::Errno;

use crate::range::{AddressRange, FileRange};

/// Why writes cannot be tracked, or are no longer. The guest goes on in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TrackError {
    /// The kernel lacks a feature.
    #[error(
        "the kernel cannot write-protect shared memory asynchronously, or the userfaultfd is in use already; Linux 6.7 can"
    )]
    NoProtection,
    /// The kernel does not tell.
    #[error("the kernel does not tell which pages were written (PAGEMAP_SCAN); Linux 6.7 does")]
    NoScan,
    /// A range that is to be tracked is not all mapped.
    #[error("{0} of the RAM file is not all mapped by the process that is tracked")]
    NotMapped(FileRange),
    /// A range that is to be tracked is not all logged.
    #[error("{0} is more of the RAM file than its other writers' logs are of")]
    NotLogged(FileRange),
    /// A page that should be tracked is not, or no more: it was mapped anew, or somebody else's userfaultfd tracks it.
    #[error("not all of {0} is tracked; its process mapped something else there")]
    NotTracked(AddressRange),
    /// An earlier round failed, after which nobody knows what was written.
    #[error("an earlier round failed; begin anew")]
    Lost,
    /// The kernel refused.
    #[error("cannot {doing}: {errno}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
}

impl TrackError {
    pub(crate) fn system(doing: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::System { doing, errno }
    }
}
