//! What one connection has and no other: the channel binding `tls-exporter` (RFC 9266).

use tokio_rustls::TlsStream;

use crate::error::ChannelError;

/// `EXPORTER-Channel-Binding` (RFC 9266 section 2), without context.
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// 32 bytes that both ends of a connection have, and nobody else: what is signed over them was made for this connection.
pub fn channel_binding<S>(stream: &TlsStream<S>) -> Result<[u8; 32], ChannelError> {
    let exported = match stream {
        TlsStream::Client(stream) => {
            (stream.get_ref().1).export_keying_material([0; 32], LABEL, None)
        }
        TlsStream::Server(stream) => {
            (stream.get_ref().1).export_keying_material([0; 32], LABEL, None)
        }
    };
    exported.map_err(ChannelError::Binding)
}
