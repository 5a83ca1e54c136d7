//! Telling whoever started a daemon that it serves: sd_notify(3)'s protocol, so that a service manager understands it.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;

/// The way to whoever started this process. Opened before the process confines itself, used after.
#[derive(Debug)]
pub struct Notifier(Option<UnixDatagram>);

impl Notifier {
    /// Connects to the socket that `NOTIFY_SOCKET` names, if it is set.
    pub fn from_env() -> io::Result<Self> {
        let Some(path) = env::var_os("NOTIFY_SOCKET") else {
            return Ok(Self(None));
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self(Some(socket)))
    }

    /// The same, losing what nobody takes rather than waiting.
    pub fn never_waiting(self) -> io::Result<Self> {
        if let Some(socket) = &self.0 {
            socket.set_nonblocking(true)?;
        }
        Ok(self)
    }

    /// Says that the process serves.
    pub fn ready(self) -> io::Result<()> {
        self.say("READY=1")
    }

    /// Says something else of that protocol: `STATUS=…`.
    pub fn say(&self, state: &str) -> io::Result<()> {
        match &self.0 {
            Some(socket) => socket.send(state.as_bytes()).map(drop),
            None => Ok(()),
        }
    }
}

/// [`Notifier::ready`] at once, for a process that may still open sockets when it serves.
pub fn notify_ready() -> io::Result<()> {
    Notifier::from_env()?.ready()
}
