//! Accepting connections for ever: what passes by itself is waited out.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::park_timeout;
use std::time::Duration;

use rustix::io::Errno;

/// Between two tries: doubled from the first to the last while they fail.
const DELAYS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The next connection. Fails only where no later one can succeed.
///
/// Known attack: whoever may connect opens connections until descriptors run out. The devices that there are serve on
/// meanwhile, and connections are accepted again once some have ended.
pub(crate) fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
    let mut delay = DELAYS.0;
    loop {
        match listener.accept() {
            Ok((connection, _)) => return Ok(connection),
            Err(error) if passes(&error) => {
                tracing::warn!(%error, ?delay, "no connection can be accepted at present");
                wait(delay);
                delay = (delay * 2).min(DELAYS.1);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether an error of accept(2) is of this connection or of this moment, rather than of the listener.
fn passes(error: &io::Error) -> bool {
    let of_the_listener = [
        Errno::BADF,
        Errno::FAULT,
        Errno::INVAL,
        Errno::NOTSOCK,
        Errno::OPNOTSUPP,
    ];
    Errno::from_io_error(error).is_some_and(|errno| !of_the_listener.contains(&errno))
}

/// By the futex that the filter lets pass, rather than by a system call of its own.
fn wait(delay: Duration) {
    park_timeout(delay);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_the_listener_are_final() {
        for errno in [
            Errno::CONNABORTED,
            Errno::INTR,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::PERM,
            Errno::PROTO,
        ] {
            assert!(passes(&errno.into()), "{errno}");
        }
        for errno in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK] {
            assert!(!passes(&errno.into()), "{errno}");
        }
    }
}
