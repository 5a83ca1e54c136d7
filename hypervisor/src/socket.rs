//! Unix sockets; who may connect is asked of the kernel by their servers, too.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use tokio::net::UnixListener;

/// Binds a socket to which anybody may connect.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = bind_privately(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Binds a socket to which one user may connect.
///
/// Known attack: a supervisor that was taken over keeps another guest's socket busy with connections that are refused.
pub(crate) fn bind_for(path: &Path, uid: u32) -> io::Result<UnixListener> {
    let listener = bind_privately(path)?;
    chown(path, Some(uid), None)?;
    Ok(listener)
}

/// Replaces one that a process before us left.
fn bind_privately(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[tokio::test]
    async fn one_user_may_connect_or_anybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let uid = rustix::process::geteuid().as_raw();
        let _first = bind_for(&path, uid).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (uid, 0o600));
        let _second = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o666);
    }
}
