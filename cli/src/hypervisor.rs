//! Asking this host's hypervisor.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bartizan_attestation::host::{MAX_FRAME, OperatorRefusal, OperatorReply, OperatorRequest};
use bartizan_local::{FrameError, read_frame, write_frame};

/// How long an answer may take: starting a guest hashes its disks.
const DEADLINE: Duration = Duration::from_secs(300);

/// The hypervisor could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HypervisorError {
    /// Nobody listens.
    #[error("the hypervisor cannot be reached at {socket}: {source}; does bartizan-hypervisor run?", socket = .socket.display())]
    Away {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The link broke.
    #[error(
        "the hypervisor did not answer: {0}; may this user operate this host (`allowed_uids`)?"
    )]
    Link(#[from] FrameError),
    /// It refused.
    #[error(transparent)]
    Refused(#[from] OperatorRefusal),
    /// It answered another question.
    #[error("the hypervisor answered something else; are both of one version?")]
    Unexpected,
}

/// Asks once.
pub(crate) fn ask(
    socket: &Path,
    request: &OperatorRequest,
) -> Result<OperatorReply, HypervisorError> {
    let away = |source| HypervisorError::Away {
        socket: socket.into(),
        source,
    };
    let mut link = UnixStream::connect(socket).map_err(away)?;
    link.set_read_timeout(Some(DEADLINE)).map_err(away)?;
    write_frame(&mut link, request, MAX_FRAME)?;
    match read_frame(&mut link, MAX_FRAME)? {
        OperatorReply::Refused(refusal) => Err(refusal.into()),
        reply => Ok(reply),
    }
}
