//! Binding the control socket.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The control socket cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody serves there.
    #[error("{0} is served by another process; stop that one first")]
    Busy(PathBuf),
    /// Something else is there.
    #[error("{0} exists and is no socket; remove it or choose another path")]
    NotASocket(PathBuf),
    /// A system call failed.
    #[error("{0}: {1}")]
    System(PathBuf, io::Error),
}

/// Binds a Unix socket that everybody may connect to: who may use it is decided by its directory's
/// permissions and then by the peer's user id. A dead socket of a former process is replaced.
pub fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let system = |error| SocketError::System(path.into(), error);
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.into()));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(SocketError::Busy(path.into())),
        Ok(_) => fs::remove_file(path).map_err(system)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system(error)),
    }
    let listener = UnixListener::bind(path).map_err(system)?;
    fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(system)?;
    Ok(listener)
}
