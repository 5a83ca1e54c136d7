//! Asking the vault: one connection, opened again after the vault was restarted.

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
    /// It refused.
    #[error(transparent)]
    Refused(#[from] VaultRefusal),
    /// It answered another question.
    #[error("the vault answered something else; are card and vault of one version?")]
    Unexpected,
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

    /// Asks, blocking. A connection that broke since the last question is opened again once.
    pub fn ask(&self, request: &VaultRequest) -> Result<VaultReply, VaultError> {
        let mut connection = self
            .0
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = connection.take()
            && let Ok(reply) = exchange(open, request, &mut connection)
        {
            return refused(reply);
        }
        let away = |error| VaultError::Away {
            socket: self.0.socket.clone(),
            error,
        };
        let fresh = UnixStream::connect(&self.0.socket)
            .map_err(FrameError::from)
            .map_err(away)?;
        refused(exchange(fresh, request, &mut connection).map_err(away)?)
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

/// The connection is put back only after a whole exchange: half an answer can never be taken for the next one's.
fn exchange(
    mut stream: UnixStream,
    request: &VaultRequest,
    keep: &mut Option<UnixStream>,
) -> Result<VaultReply, FrameError> {
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    write_frame(&mut stream, request, VaultRequest::MAX_FRAME)?;
    let reply = read_frame(&mut stream, VaultRequest::MAX_FRAME)?;
    *keep = Some(stream);
    Ok(reply)
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
            VaultError::Refused(refusal) => Self::VaultRefused(refusal.to_string()),
            error @ (VaultError::Away { .. } | VaultError::Unexpected) => {
                Self::VaultAway(error.to_string())
            }
        }
    }
}
