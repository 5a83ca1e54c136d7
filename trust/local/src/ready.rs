//! Telling whoever started a daemon that it serves: sd_notify(3)'s protocol, so that a service manager understands it.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;

/// Sends `READY=1` to the socket that `NOTIFY_SOCKET` names, if it is set. Opens no file: a socket and one message.
pub fn notify_ready() -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let socket = UnixDatagram::unbound()?;
    match socket.send_to(b"READY=1", path)? {
        7 => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}
