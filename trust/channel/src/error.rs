//! What can go wrong with a link.

use rustls::server::VerifierBuilderError;

/// A link could not be prepared or opened.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The handshake failed: wrong certificate, wrong protocol version, or the connection broke.
    #[error("the TLS 1.3 handshake failed: {0}")]
    Handshake(std::io::Error),
    /// The other side could not be reached.
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    /// It took too long.
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
    /// The server's name is no DNS name or IP address.
    #[error("`{0}` is no DNS name or IP address")]
    ServerName(String),
    /// HTTP over the link failed.
    #[error("the HTTP exchange failed: {0}")]
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
