//! Asking the vault: one connection, opened again after the vault was restarted.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bartizan_attestation::host::CardRefusal;
use bartizan_attestation::keys::{Chain, VaultRefusal, VaultReply, VaultRequest};
use bartizan_local::{FrameError, read_frame, write_frame};

/// How long the vault may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The host's vault.
#[derive(Clone, Debug)]
pub struct Vault(Arc<Link>);

#[derive(Debug)]
struct Link {
    socket: PathBuf,
    connection: Mutex<Option<UnixStream>>,
}

/// The vault did not do it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// It is not there, or the link broke.
    #[error("the vault does not answer at {socket}: {error}", socket = .socket.display())]
    Away {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        error: FrameError,
    },
    /// It was asked, and has not answered.
    #[error(
        "the vault at {socket} was asked and has not answered: {error}; it may have done it", socket = .socket.display()
    )]
    Unanswered {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        error: FrameError,
    },
    /// It refused.
    #[error(transparent)]
    Refused(#[from] VaultRefusal),
    /// It answered another question.
    #[error("the vault answered something else; are card and vault of one version?")]
    Unexpected,
}

impl VaultError {
    /// Whether the vault was not asked, or the device that holds its keys is away: nothing was done.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Away { .. } | Self::Refused(VaultRefusal::DeviceAway(_))
        )
    }

    /// Whether the vault or its device is not there, rather than that it would not: trying again can help. It may have been done.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.is_away() || matches!(self, Self::Unanswered { .. })
    }
}

impl Vault {
    /// The vault behind a socket.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self(Arc::new(Link {
            socket,
            connection: Mutex::default(),
        }))
    }

    /// Asks, blocking. A connection that broke since the last question is opened again once; what the vault may have heard is not said
    /// twice, since it may have been done.
    pub fn ask(&self, request: &VaultRequest) -> Result<VaultReply, VaultError> {
        let mut connection = self
            .0
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = connection.take() {
            match exchange(open, request, &mut connection) {
                Ok(reply) => return refused(reply),
                Err(Failed::Unheard(_)) => {}
                Err(failed) => return Err(self.failed(failed)),
            }
        }
        let fresh = UnixStream::connect(&self.0.socket)
            .map_err(|error| self.failed(Failed::Unheard(error.into())))?;
        let reply = exchange(fresh, request, &mut connection);
        refused(reply.map_err(|failed| self.failed(failed))?)
    }

    fn failed(&self, failed: Failed) -> VaultError {
        let socket = self.0.socket.clone();
        match failed {
            Failed::Unheard(error) => VaultError::Away { socket, error },
            Failed::Unanswered(error) => VaultError::Unanswered { socket, error },
        }
    }

    /// Asks for a chain, blocking.
    pub fn chain(&self, request: &VaultRequest) -> Result<Chain, VaultError> {
        match self.ask(request)? {
            VaultReply::Certificates(chain) => Ok(chain),
            _ => Err(VaultError::Unexpected),
        }
    }

    /// Asks from asynchronous code.
    pub async fn ask_async(&self, request: VaultRequest) -> Result<VaultReply, VaultError> {
        let this = self.clone();
        let asked = tokio::task::spawn_blocking(move || this.ask(&request)).await;
        asked.map_err(|_| VaultError::Unexpected)?
    }

    /// Asks for a chain from asynchronous code.
    pub async fn chain_async(&self, request: VaultRequest) -> Result<Chain, VaultError> {
        match self.ask_async(request).await? {
            VaultReply::Certificates(chain) => Ok(chain),
            _ => Err(VaultError::Unexpected),
        }
    }
}

/// An exchange that came to nothing.
enum Failed {
    /// The vault has not read the request.
    Unheard(FrameError),
    /// It may have.
    Unanswered(FrameError),
}

/// The connection is put back only after a whole exchange: half an answer can never be taken for the next one's.
fn exchange(
    mut stream: UnixStream,
    request: &VaultRequest,
    keep: &mut Option<UnixStream>,
) -> Result<VaultReply, Failed> {
    let asked = (stream.set_read_timeout(Some(DEADLINE)).map_err(Into::into))
        .and_then(|()| Ok(stream.set_write_timeout(Some(DEADLINE))?))
        .and_then(|()| write_frame(&mut stream, request, VaultRequest::MAX_FRAME));
    asked.map_err(Failed::Unheard)?;
    match read_frame(&mut stream, VaultRequest::MAX_FRAME) {
        Ok(reply) => {
            *keep = Some(stream);
            Ok(reply)
        }
        Err(error) if is_unread(&error) => Err(Failed::Unheard(error)),
        Err(error) => Err(Failed::Unanswered(error)),
    }
}

/// Whether the peer has ended without reading what was sent: the kernel tells that from an end after reading (unix(7), `ECONNRESET`).
fn is_unread(error: &FrameError) -> bool {
    matches!(error, FrameError::Io(error) if error.kind() == io::ErrorKind::ConnectionReset)
}

fn refused(reply: VaultReply) -> Result<VaultReply, VaultError> {
    match reply {
        VaultReply::Refused(refusal) => Err(refusal.into()),
        reply => Ok(reply),
    }
}

impl From<VaultError> for CardRefusal {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Refused(VaultRefusal::NoKey { .. }) => Self::NotEnrolled,
            VaultError::Refused(VaultRefusal::DeviceAway(_)) => Self::VaultAway(error.to_string()),
            VaultError::Refused(VaultRefusal::StateOrder { recorded, asked }) => {
                Self::StateOrder { recorded, asked }
            }
            VaultError::Refused(refusal) => Self::VaultRefused(refusal.to_string()),
            error @ (VaultError::Away { .. }
            | VaultError::Unanswered { .. }
            | VaultError::Unexpected) => Self::VaultAway(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread::JoinHandle;

    use super::*;

    const ASKED: VaultRequest = VaultRequest::RotateSealing;

    /// A vault that does this with each connection, and how often it was asked.
    fn vault(
        turns: Vec<fn(&mut UnixStream) -> u32>,
    ) -> (tempfile::TempDir, Vault, JoinHandle<u32>) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("vault.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let heard = std::thread::spawn(move || {
            let turn = |turn: fn(&mut UnixStream) -> u32| turn(&mut listener.accept().unwrap().0);
            turns.into_iter().map(turn).sum()
        });
        (folder, Vault::new(socket), heard)
    }

    fn hear(link: &mut UnixStream) -> u32 {
        let request: VaultRequest = read_frame(link, VaultRequest::MAX_FRAME).unwrap();
        assert_eq!(request, ASKED);
        1
    }

    fn answer(link: &mut UnixStream) -> u32 {
        let heard = hear(link);
        write_frame(link, &VaultReply::Done, VaultRequest::MAX_FRAME).unwrap();
        heard
    }

    #[test]
    fn a_vault_that_ended_between_two_questions_is_asked_again() {
        let (_folder, vault, heard) = vault(vec![answer, answer]);
        for _ in 0..2 {
            assert!(matches!(vault.ask(&ASKED), Ok(VaultReply::Done)));
        }
        assert_eq!(heard.join().unwrap(), 2);
    }

    /// It may have done it, and would do it twice.
    #[test]
    fn a_vault_that_ended_while_it_was_asked_is_not_asked_again() {
        let (_folder, vault, heard) = vault(vec![|link| answer(link) + hear(link), answer]);
        vault.ask(&ASKED).unwrap();
        let unanswered = vault.ask(&ASKED);
        assert!(matches!(unanswered, Err(VaultError::Unanswered { .. })));
        vault.ask(&ASKED).unwrap();
        assert_eq!(heard.join().unwrap(), 3);
    }

    #[test]
    fn a_vault_that_ended_before_it_read_the_question_is_asked_again() {
        let unread = |link: &mut UnixStream| {
            let heard = answer(link);
            // The next question has come, and is not read.
            rustix::event::poll(
                &mut [rustix::event::PollFd::new(
                    link,
                    rustix::event::PollFlags::IN,
                )],
                None,
            )
            .unwrap();
            heard
        };
        let (_folder, vault, heard) = vault(vec![unread, answer]);
        for _ in 0..2 {
            vault.ask(&ASKED).unwrap();
        }
        assert_eq!(heard.join().unwrap(), 2);
    }
}
