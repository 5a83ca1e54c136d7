//! Which protocol is spoken inside a connection (ALPN, RFC 7301). There are two, and who says nothing means HTTP/1.1.

use std::sync::Arc;

use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::acceptor::Acceptor;
use crate::connector::Connector;

/// As ALPN names them (RFC 7301 section 6, RFC 9113 section 3.2).
const HTTP_1_1: &[u8] = b"http/1.1";
const HTTP_2: &[u8] = b"h2";

impl Acceptor {
    /// The same that also takes HTTP/2, from clients that offer nothing else.
    #[must_use]
    pub fn with_http2(self) -> Self {
        let mut config = (**self.0.config()).clone();
        // The first of these that a client offers is chosen.
        config.alpn_protocols = vec![HTTP_1_1.into(), HTTP_2.into()];
        Self(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Connector {
    /// The same for HTTP/2 alone. A server that does not speak it ends the handshake, or [`speaks_http2`] says so.
    #[must_use]
    pub fn with_http2(self) -> Self {
        let mut config = (**self.0.config()).clone();
        config.alpn_protocols = vec![HTTP_2.into()];
        Self(TlsConnector::from(Arc::new(config)))
    }
}

/// Whether both ends have agreed on HTTP/2.
#[must_use]
pub fn speaks_http2<S>(stream: &TlsStream<S>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP_2)
}
