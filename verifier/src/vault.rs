//! The link to the verifier's own vault, which holds the fleet CA, the TLS server key and the token
//! keys. The verifier holds none.
//!
//! The link is synchronous: TLS asks for a signature inside a handshake, where nothing can be awaited.
//! Each question has a deadline; a connection that fails is dropped and the question is asked once
//! more over a new one, so that a vault that was restarted is not noticed. That is safe because no
//! answer of a vault is worse for having been made twice, but three, which are asked for once: a rotation of the
//! fleet CA is refused the second time, and [`crate::anchors`] looks what came of it; one of the sealing key is done
//! once more, which has the vault busy for as long again; a key that was destroyed is not there the second time.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bartizan_attestation::certificates::Lineage;
use bartizan_attestation::keys::{
    Chain, KeyDescription, KeyEvent, Purpose, VaultRefusal, VaultReply, VaultRequest,
};
use bartizan_local::{FrameError, read_frame, write_frame};

use crate::problem::ProblemType;
use crate::task::{TaskError, blocking};

mod links;
mod signer;
#[cfg(test)]
mod tests;

use links::{Cause, Links};

pub use signer::VaultSigner;

/// How long one try of a question may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// A vault behind its Unix socket. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Vault {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: PathBuf,
    links: Links,
}

/// What a vault holds.
#[derive(Clone, Debug)]
pub struct VaultDescription {
    /// Its keys.
    pub keys: Vec<KeyDescription>,
    /// The fleet CA certificate, DER, where it knows one.
    pub fleet_ca: Option<Vec<u8>>,
}

/// The vault did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Nobody answers at the socket: nothing was asked.
    #[error(
        "the vault at {socket} cannot be reached: {source}; see that bartizan-vault runs and that `vault_socket` names its socket"
    )]
    Away {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The link failed before the answer was there; whether the vault did it is not known.
    #[error("the link to the vault failed: {0}; try again")]
    Link(#[source] FrameError),
    /// The vault refused.
    #[error("the vault refused: {0}")]
    Refused(#[from] VaultRefusal),
    /// The answer does not belong to the question.
    #[error(
        "the vault gave an answer of another kind; see that vault and verifier are of one version"
    )]
    UnexpectedReply,
    /// The question was not asked to its end.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl VaultError {
    /// Whether the vault or its device is not there, rather than that it would not: trying again can help. It may have been done.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(
            self,
            Self::Away { .. } | Self::Link(_) | Self::Refused(VaultRefusal::DeviceAway(_))
        )
    }
}

impl Vault {
    /// A vault at `socket`; nothing is connected before the first question.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self {
            shared: Arc::new(Shared {
                socket,
                links: Links::default(),
            }),
        }
    }

    /// Asks for its keys.
    pub async fn describe(&self) -> Result<VaultDescription, VaultError> {
        match self.ask(VaultRequest::Describe).await? {
            VaultReply::Description { keys, fleet_ca, .. } => Ok(VaultDescription {
                keys,
                fleet_ca: fleet_ca.map(Into::into),
            }),
            _ => Err(VaultError::UnexpectedReply),
        }
    }

    /// Asks something whose answer is a certificate chain.
    pub async fn certificates(&self, request: VaultRequest) -> Result<Vec<Vec<u8>>, VaultError> {
        match self.ask(request).await? {
            VaultReply::Certificates(chain) => Ok(plain(chain)),
            _ => Err(VaultError::UnexpectedReply),
        }
    }

    /// Has an attestation result signed by the key of `certificate` (DER).
    pub async fn sign_token(
        &self,
        claims: String,
        certificate: Vec<u8>,
    ) -> Result<String, VaultError> {
        let request = VaultRequest::SignToken {
            claims,
            certificate,
        };
        match self.ask(request).await? {
            VaultReply::Token(token) => Ok(token),
            _ => Err(VaultError::UnexpectedReply),
        }
    }

    /// What became of its keys, the oldest event first.
    pub async fn history(&self) -> Result<Vec<KeyEvent>, VaultError> {
        match self.ask(VaultRequest::History).await? {
            VaultReply::History(events) => Ok(events),
            _ => Err(VaultError::UnexpectedReply),
        }
    }

    /// The CAs of its fleet, once there is one.
    pub async fn fleet_cas(&self) -> Result<Option<Lineage>, VaultError> {
        match self.ask(VaultRequest::DescribeFleetCas).await? {
            VaultReply::FleetCas(lineage) => Ok(lineage),
            _ => Err(VaultError::UnexpectedReply),
        }
    }

    /// Has the fleet CA replaced, by an administrator's order.
    pub async fn rotate_fleet_ca(&self, order: Vec<u8>) -> Result<(), VaultError> {
        match self.ask(VaultRequest::RotateFleetCa { order }).await? {
            VaultReply::FleetCas(_) => Ok(()),
            _ => Err(VaultError::UnexpectedReply),
        }
    }

    /// Has a key of a purpose destroyed before its end.
    pub async fn revoke(&self, purpose: Purpose, id: [u8; 32]) -> Result<(), VaultError> {
        let id = id.into();
        match self.ask(VaultRequest::Revoke { purpose, id }).await? {
            VaultReply::Done => Ok(()),
            _ => Err(VaultError::UnexpectedReply),
        }
    }

    /// Has another sealing key made, and everything sealed by it.
    pub async fn rotate_sealing(&self) -> Result<(), VaultError> {
        match self.ask(VaultRequest::RotateSealing).await? {
            VaultReply::Done => Ok(()),
            _ => Err(VaultError::UnexpectedReply),
        }
    }

    /// Has a TLS 1.3 CertificateVerify signed. Blocks for at most two deadlines.
    pub fn sign_tls(&self, certificate: &[u8], message: &[u8]) -> Result<Vec<u8>, VaultError> {
        let request = VaultRequest::SignTls {
            purpose: Purpose::TlsServer,
            certificate: certificate.to_vec(),
            message: message.to_vec(),
        };
        match self.shared.ask(&request, Cause::Handshake)? {
            VaultReply::Signature(signature) => Ok(signature),
            VaultReply::Refused(refusal) => Err(refusal.into()),
            _ => Err(VaultError::UnexpectedReply),
        }
    }

    async fn ask(&self, request: VaultRequest) -> Result<VaultReply, VaultError> {
        let shared = Arc::clone(&self.shared);
        match blocking(move || shared.ask(&request, Cause::Request)).await?? {
            VaultReply::Refused(refusal) => Err(refusal.into()),
            reply => Ok(reply),
        }
    }
}

impl Shared {
    fn ask(&self, request: &VaultRequest, cause: Cause) -> Result<VaultReply, VaultError> {
        let away = |source| VaultError::Away {
            socket: self.socket.clone(),
            source,
        };
        let _turn = self
            .links
            .turn(cause, DEADLINE)
            .ok_or_else(|| away(io::ErrorKind::TimedOut.into()))?;
        let mut unanswered = None;
        // Sent once, over a link that is no former vault's.
        let once = matches!(
            request,
            VaultRequest::RotateFleetCa { .. }
                | VaultRequest::RotateSealing
                | VaultRequest::Revoke { .. }
        );
        if let Some(link) = self.links.take().filter(|_| !once) {
            match self.ask_over(link, request) {
                Ok(reply) => return Ok(reply),
                Err(error) => unanswered = Some(error),
            }
        }
        // The idle ones were made before a restart of the vault, if that is what happened.
        self.links.clear();
        let link = self.connect().map_err(|source| match unanswered {
            Some(error) => VaultError::Link(error),
            None => away(source),
        })?;
        self.ask_over(link, request).map_err(VaultError::Link)
    }

    fn ask_over(
        &self,
        mut link: UnixStream,
        request: &VaultRequest,
    ) -> Result<VaultReply, FrameError> {
        write_frame(&mut link, request, VaultRequest::MAX_FRAME)?;
        let reply = read_frame(&mut link, VaultRequest::MAX_FRAME)?;
        self.links.keep(link);
        Ok(reply)
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let link = UnixStream::connect(&self.socket)?;
        link.set_read_timeout(Some(DEADLINE))?;
        link.set_write_timeout(Some(DEADLINE))?;
        Ok(link)
    }
}

/// A chain as plain bytes.
#[must_use]
pub fn plain(chain: Chain) -> Vec<Vec<u8>> {
    chain.into_iter().map(Into::into).collect()
}

impl ProblemType for VaultError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Away { .. } | Self::Link(_) | Self::Refused(VaultRefusal::DeviceAway(_)) => {
                ("vault-away", StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Refused(VaultRefusal::NotSignable(_)) => {
                ("not-signable", StatusCode::UNPROCESSABLE_ENTITY)
            }
            Self::Refused(VaultRefusal::Overlap { .. }) => {
                ("too-many-valid-keys", StatusCode::CONFLICT)
            }
            Self::Refused(VaultRefusal::TooManyFormer { .. }) => {
                ("too-many-former-fleet-cas", StatusCode::CONFLICT)
            }
            Self::Refused(VaultRefusal::Rotation(_)) => ("rotation-refused", StatusCode::FORBIDDEN),
            Self::Refused(VaultRefusal::NoKey { .. }) => ("no-key", StatusCode::NOT_FOUND),
            Self::Refused(_) => ("vault-refused", StatusCode::SERVICE_UNAVAILABLE),
            Self::UnexpectedReply => ("vault-unexpected", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Task(error) => error.kind(),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Away { .. } | Self::Refused(VaultRefusal::DeviceAway(_)) => Some(1),
            // It may have been done.
            Self::Link(_) | Self::Refused(_) | Self::UnexpectedReply => None,
            Self::Task(error) => error.retry_after_s(),
        }
    }
}
