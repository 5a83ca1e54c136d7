//! The link to the launcher: standard input, which nobody else has.

use std::io;
use std::os::unix::net::UnixStream;

use bartizan_attestation::boot::{VaultAnswer, VaultStep};
use bartizan_local::{FrameError, inherited_link, read_frame, write_frame};

/// The launcher's link.
#[derive(Debug)]
pub struct Link(UnixStream);

/// There is no link.
#[derive(Debug, thiserror::Error)]
#[error(
    "standard input is no link to a launcher: {0}; a vault that demands a measured boot is started by bartizan-launcher"
)]
pub struct LinkError(#[from] io::Error);

impl Link {
    /// The link of this process.
    pub fn of_this_process() -> Result<Self, LinkError> {
        Ok(Self(inherited_link()?))
    }

    /// Answers steps until the launcher has ended.
    pub(crate) fn serve(
        mut self,
        mut take: impl FnMut(VaultStep) -> VaultAnswer,
    ) -> Result<(), FrameError> {
        loop {
            let step = match read_frame(&mut self.0, VaultStep::MAX_FRAME) {
                Err(FrameError::Closed) => return Ok(()),
                step => step?,
            };
            write_frame(&mut self.0, &take(step), VaultStep::MAX_FRAME)?;
        }
    }
}
