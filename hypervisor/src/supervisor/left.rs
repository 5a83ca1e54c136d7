//! A file in the folder of a boot, whose supervisor may have been taken over.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Opens it for reading; `None` where there is none.
///
/// Known attack: a supervisor puts something in its place that cannot be opened, or not at once: a link, a socket, a pipe, a
/// file that somebody has a lease on (fcntl(2)). None of them is a file that a supervisor leaves.
pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NXIO | Errno::LOOP | Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(file.metadata()?.is_file().then_some(file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_a_file_is_opened_and_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), Mode::RUSR).unwrap();
        for name in ["link", "socket", "pipe", "absent"] {
            assert!(open(&path(name)).unwrap().is_none(), "{name}");
        }
        assert!(open(&path("file")).unwrap().is_some());
    }

    #[test]
    fn file_that_somebody_has_a_lease_on_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ending.json");
        let leased = File::create(&path).unwrap();
        lease(&leased);
        assert!(open(&path).unwrap().is_none());
    }

    #[expect(unsafe_code, reason = "no library takes leases")]
    fn lease(file: &File) {
        use std::os::fd::AsRawFd;
        // Who has a lease is told by a signal that somebody wants the file, which would end this process.
        // SAFETY: SIG_IGN is no handler of ours.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
        // SAFETY: F_SETLEASE takes an integer and touches no memory of ours.
        let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
        assert_eq!(taken, 0, "{}", io::Error::last_os_error());
    }
}
