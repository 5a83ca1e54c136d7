//! The link to the card, which alone has a way to the verifier.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bartizan_boot::{Bundle, BundleRefusal, BundleReply, BundleRequest};
use bartizan_cose::PublicKey;
use bartizan_local::{FrameError, read_frame, write_frame};

/// How long the card may take until it answers: longer than it gives the verifier.
const ANSWER: Duration = Duration::from_secs(240);
/// How long it may take to hand the bytes over.
const HANDOVER: Duration = Duration::from_secs(60);
/// Memory that is reserved before anything has arrived.
const AHEAD: usize = 1 << 20;

/// The card, behind its socket for this stage.
#[derive(Clone, Debug)]
pub struct Card {
    socket: PathBuf,
    answer: Duration,
    handover: Duration,
}

/// The card has no bundle to hand over.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// It is not there, or broke off.
    #[error(
        "the card does not answer at {socket}: {error}; see the card's log, and `coordinator` in its configuration",
        socket = .socket.display()
    )]
    Away {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        error: FrameError,
    },
    /// It says why.
    #[error(transparent)]
    Refused(#[from] BundleRefusal),
    /// It announces more than a bundle may have.
    #[error(
        "the card announces {size} bytes, a bundle has at most {}",
        Bundle::MAX_LEN
    )]
    TooLarge {
        /// What it announces, in bytes.
        size: u32,
    },
}

impl Card {
    /// The card behind a socket.
    #[must_use]
    pub const fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            answer: ANSWER,
            handover: HANDOVER,
        }
    }

    /// What the verifier serves as the newest bundle of a release key. Nobody has verified it.
    pub fn newest_bundle(&self, release_key: &PublicKey) -> Result<Vec<u8>, CardError> {
        let away = |error| CardError::Away {
            socket: self.socket.clone(),
            error,
        };
        let (mut link, reply) = self.ask(release_key.sha256()).map_err(away)?;
        match reply {
            BundleReply::Refused(refusal) => Err(refusal.into()),
            BundleReply::Follows { size } if size as usize > Bundle::MAX_LEN => {
                Err(CardError::TooLarge { size })
            }
            BundleReply::Follows { size } => {
                let until = Instant::now() + self.handover;
                let read = read_whole(&mut link, size as usize, until);
                read.map_err(|error| away(error.into()))
            }
        }
    }

    fn ask(&self, release_key: [u8; 32]) -> Result<(UnixStream, BundleReply), FrameError> {
        let mut link = UnixStream::connect(&self.socket)?;
        link.set_read_timeout(Some(self.answer))?;
        link.set_write_timeout(Some(self.handover))?;
        let request = BundleRequest::Newest { release_key };
        write_frame(&mut link, &request, BundleRequest::MAX_FRAME)?;
        let reply = read_frame(&mut link, BundleRequest::MAX_FRAME)?;
        Ok((link, reply))
    }
}

/// Reads so many bytes; memory grows with what arrives.
fn read_whole(link: &mut UnixStream, size: usize, until: Instant) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size.min(AHEAD));
    let mut part = vec![0; AHEAD];
    while bytes.len() < size {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        link.set_read_timeout(Some(left))?;
        let want = part.len().min(size - bytes.len());
        let read = link.read(part.get_mut(..want).unwrap_or_default())?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(part.get(..read).unwrap_or_default());
    }
    Ok(bytes)
}

impl CardError {
    /// Whether nothing was served, by whoever's fault.
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        match self {
            Self::Away { .. } => true,
            Self::Refused(refusal) => refusal.is_absence(),
            Self::TooLarge { .. } => false,
        }
    }

    /// Whether it may be otherwise in a moment.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Away { .. } => true,
            Self::Refused(refusal) => refusal.may_pass(),
            Self::TooLarge { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
