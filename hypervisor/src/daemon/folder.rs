//! The folder of a guest, and in it that of its boots, which is their supervisors' own.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use bartizan_attestation::host::OperatorRefusal;
use bartizan_attestation::identity::GuestIdentity;

use super::config::BOOT;

/// How the folders of former boots begin; the last one is kept, with its console's log.
const FORMER: &str = "former-";

/// Prepares the guest's folder for a new boot: devices may reach the API's socket through it, and nothing is where the boot's will be.
pub(super) async fn prepare(guest: &Path, boot: &GuestIdentity) -> Result<(), OperatorRefusal> {
    let (guest, former) = (guest.to_owned(), format!("{FORMER}{}", boot.boot));
    let name = guest.display().to_string();
    // However many files there are: a supervisor that was taken over makes as many as its limit of memory allows.
    let prepared = tokio::task::spawn_blocking(move || {
        make(&guest)?;
        put_aside(&guest, &former)
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

/// Known attack: a supervisor makes of its boot's folder, which is its own, or of the files there, what no other can use, nor the
/// daemon remove: by mode, sticky bit, list of rights, lease. The folder that it is in is the daemon's: so it is renamed, whatever
/// it is, and the next supervisor makes another.
fn put_aside(guest: &Path, former: &str) -> io::Result<()> {
    match fs::rename(guest.join(BOOT), guest.join(former)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for entry in fs::read_dir(guest)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_older = name.to_str().is_some_and(|name| name.starts_with(FORMER)) && name != former;
        if is_older && let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(folder = %entry.path().display(), %error, "a former boot's folder is left; remove it");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::identity::CardId;

    use super::*;

    const fn number(boot: u64) -> GuestIdentity {
        GuestIdentity {
            card: CardId([1; 32]),
            vm: [2; 16],
            boot,
        }
    }

    #[tokio::test]
    async fn only_the_last_boots_folder_is_kept_and_out_of_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let guest = folder.path().join("guest");
        for boot in 1..5 {
            prepare(&guest, &number(boot)).await.unwrap();
            assert!(!guest.join(BOOT).exists());
            fs::create_dir(guest.join(BOOT)).unwrap();
            fs::write(guest.join(BOOT).join("console.log"), boot.to_string()).unwrap();
        }
        let rights = fs::metadata(&guest).unwrap().permissions().mode() & 0o777;
        assert_eq!(rights, 0o711);
        let log = fs::read_to_string(guest.join("former-4/console.log")).unwrap();
        assert_eq!(log, "3");
        assert!(!guest.join("former-3").exists());
    }

    #[tokio::test]
    async fn folder_that_cannot_be_removed_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let guest = folder.path().join("guest");
        prepare(&guest, &number(1)).await.unwrap();
        // No folder at all: as little to be removed as a stranger's sticky one.
        fs::write(guest.join(BOOT), "").unwrap();
        for boot in 2..4 {
            prepare(&guest, &number(boot)).await.unwrap();
            assert!(!guest.join(BOOT).exists());
        }
        assert!(guest.join("former-2").exists());
    }
}
