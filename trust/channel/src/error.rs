//! What can go wrong with a link.

use std::error::Error;
use std::io;

use rustls::server::VerifierBuilderError;

/// A link could not be prepared or opened.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The handshake failed: wrong certificate, wrong protocol version, or the connection broke.
    #[error("the TLS 1.3 handshake failed: {0}")]
    Handshake(io::Error),
    /// The other side could not be reached.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// The answer took too long.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The fleet CA certificate is unusable.
    #[error("the fleet CA certificate is unusable: {0}")]
    FleetCa(rustls::Error),
    /// The client verifier could not be built.
    #[error("the fleet CA certificate is unusable for clients: {0}")]
    ClientVerifier(#[from] VerifierBuilderError),
    /// The settings contradict one another.
    #[error("the TLS settings are unusable: {0}")]
    Settings(rustls::Error),
    /// The connection has no binding yet.
    #[error("the connection exports no channel binding: {0}")]
    Binding(rustls::Error),
    /// The server's name is no DNS name or IP address.
    #[error("`{0}` is no DNS name or IP address")]
    ServerName(String),
    /// HTTP over the link failed.
    #[error("the HTTP exchange failed: {}", with_cause(.0))]
    Http(#[from] hyper::Error),
    /// A request that cannot be put into HTTP.
    #[error("the request is malformed: {0}")]
    Request(#[from] hyper::http::Error),
    /// The answer is larger than allowed.
    #[error("the answer exceeds {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// What an error means to whoever asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The peer cannot be reached, or broke off: trying again can help. For whatever reason: of several addresses that fail
    /// differently nobody can tell which one counts.
    Away,
    /// Somebody answers who is not the peer, or the peer does not take us for one of the fleet.
    Untrusted,
    /// This side's settings or request, or what the peer answered, cannot be used.
    Unusable,
}

impl ChannelError {
    /// Whether the peer may have got the request, and done what it asks for, though its answer is not there.
    #[must_use]
    pub const fn may_have_been_asked(&self) -> bool {
        matches!(self, Self::Http(_) | Self::TimedOut | Self::TooLarge { .. })
    }

    /// What it means to whoever asked.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Handshake(error) if is_of_tls(error) => Fault::Untrusted,
            // A server refuses a client's certificate only after the client's side of the handshake is done, in the place of
            // the first answer (RFC 8446 section 4.4.4).
            Self::Http(error)
                if causes(error).any(|cause| cause.downcast_ref().is_some_and(is_of_tls)) =>
            {
                Fault::Untrusted
            }
            Self::Http(error) if error.is_parse() => Fault::Unusable,
            Self::Handshake(_) | Self::Connect(_) | Self::TimedOut | Self::Http(_) => Fault::Away,
            Self::FleetCa(_)
            | Self::ClientVerifier(_)
            | Self::Settings(_)
            | Self::Binding(_)
            | Self::ServerName(_)
            | Self::Request(_)
            | Self::TooLarge { .. } => Fault::Unusable,
        }
    }
}

/// Whether TLS itself failed, rather than the connection under it: rustls's errors come as invalid data.
fn is_of_tls(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

fn causes<'e>(error: &'e dyn Error) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// hyper's own words tell nothing of the connection.
fn with_cause(error: &hyper::Error) -> String {
    match causes(error).last() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
