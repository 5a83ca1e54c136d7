//! HTTP/2 as both ends use it: one stream a connection, and bounds on everything else.

use std::time::Duration;

/// Bytes that may be under way to this side before it has read them, of the stream and of its connection.
pub(crate) const WINDOW: u32 = 128 << 10;
/// Bytes of headers.
pub(crate) const MAX_HEAD: u32 = 16 << 10;
/// Bytes that wait to be sent in the connection.
pub(crate) const SEND_BUFFER: usize = 64 << 10;
/// How often a peer is asked whether it is there.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(10);
/// How long it may take to say so.
pub(crate) const PING_PATIENCE: Duration = Duration::from_secs(10);
