//! The folder of a guest, and in it that of its boots, which is their supervisors' own.

use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use bartizan_attestation::host::OperatorRefusal;
use rustix::io::Errno;

/// The console's logs, which outlive a boot.
const LOGS: [&str; 2] = ["console.log", "console.log.1"];

/// Prepares both for a new boot: a folder through which devices may reach the API's socket, and none of what an older boot left but
/// the console's logs.
pub(super) async fn prepare(guest: &Path, boot: &Path) -> Result<(), OperatorRefusal> {
    let (guest, boot) = (guest.to_owned(), boot.to_owned());
    let name = guest.display().to_string();
    // However many files there are: a supervisor that was taken over makes as many as its limit of memory allows.
    let prepared = tokio::task::spawn_blocking(move || {
        make(&guest)?;
        clear(&boot)
    });
    let prepared = prepared.await.unwrap_or_else(|gone| Err(gone.into()));
    prepared.map_err(|error| OperatorRefusal::Start(format!("{name}: {error}")))
}

fn make(guest: &Path) -> io::Result<()> {
    let made = fs::DirBuilder::new()
        .mode(0o711)
        .recursive(true)
        .create(guest);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(guest, fs::Permissions::from_mode(0o711))
}

/// Whatever a boot's supervisor put into its folder, or made of it, must not keep the next one from starting.
fn clear(boot: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(boot) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let usable = is_usable(boot)?;
    for entry in entries {
        let entry = entry?;
        if !(usable && is_log(&entry)?) {
            fs::remove_file(entry.path())?;
        }
    }
    if usable { Ok(()) } else { fs::remove_dir(boot) }
}

/// Whether a new supervisor may do all in it, and with what it makes there: no list gives new files other rights (acl(5)).
fn is_usable(boot: &Path) -> io::Result<bool> {
    let rights = fs::symlink_metadata(boot)?.permissions().mode() & 0o777;
    let mut size_only: [u8; 0] = [];
    let list = match rustix::fs::lgetxattr(boot, "system.posix_acl_default", &mut size_only) {
        Ok(_) => true,
        Err(Errno::NODATA | Errno::NOTSUP) => false,
        Err(error) => return Err(error.into()),
    };
    Ok(rights == 0o711 && !list)
}

/// Whether it is a log that the next supervisor can write to.
fn is_log(entry: &DirEntry) -> io::Result<bool> {
    if !LOGS.iter().any(|log| entry.file_name() == *log) {
        return Ok(false);
    }
    let metadata = entry.metadata()?;
    Ok(metadata.is_file() && metadata.permissions().mode() & 0o777 == 0o600)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn left_in(boot: &Path) -> Vec<String> {
        let entries = fs::read_dir(boot).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn log(boot: &Path, name: &str, mode: u32) {
        fs::write(boot.join(name), "booting").unwrap();
        fs::set_permissions(boot.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn nothing_but_usable_logs_outlives_a_boot() {
        let folder = tempfile::tempdir().unwrap();
        let (guest, boot) = (
            folder.path().join("guest"),
            folder.path().join("guest/boot"),
        );
        prepare(&guest, &boot).await.unwrap();
        let rights = fs::metadata(&guest).unwrap().permissions().mode() & 0o777;
        assert_eq!(rights, 0o711);
        fs::DirBuilder::new().mode(0o711).create(&boot).unwrap();
        log(&boot, "console.log", 0o600);
        log(&boot, "console.log.1", 0o600);
        log(&boot, "console.log.2", 0o600);
        fs::write(boot.join("ending.json"), "{}").unwrap();
        let _socket = UnixListener::bind(boot.join("ctl.sock")).unwrap();
        prepare(&guest, &boot).await.unwrap();
        assert_eq!(left_in(&boot), ["console.log", "console.log.1"]);
        // Which the next supervisor could not open.
        log(&boot, "console.log", 0o000);
        prepare(&guest, &boot).await.unwrap();
        assert_eq!(left_in(&boot), ["console.log.1"]);
        fs::set_permissions(&boot, fs::Permissions::from_mode(0o300)).unwrap();
        prepare(&guest, &boot).await.unwrap();
        assert!(!boot.exists());
    }

    #[tokio::test]
    async fn folder_that_gives_new_files_other_rights_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let boot = folder.path().join("boot");
        fs::DirBuilder::new().mode(0o711).create(&boot).unwrap();
        // Version 2; no right for the owner, the group, others, in the kernel's form (linux/posix_acl_xattr.h).
        let entry = |tag: u16| {
            let fields = [&tag.to_le_bytes()[..], &[0, 0], &[255; 4]];
            fields.concat()
        };
        let entries = [vec![2, 0, 0, 0], entry(1), entry(4), entry(32)].concat();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&boot, "system.posix_acl_default", &entries, flags).unwrap();
        prepare(folder.path(), &boot).await.unwrap();
        assert!(!boot.exists());
    }
}
