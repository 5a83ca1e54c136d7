//! A link that a process was started with: its standard input, which nobody else has.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// The Unix socket that is this process's standard input; an error where it is anything else.
pub fn inherited_link() -> io::Result<UnixStream> {
    let link = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    link.peer_addr()?;
    Ok(link)
}
