//! Whom this program plays where the launcher starts it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::exit;
use std::time::Duration;

use bartizan_boot::{VaultAnswer, VaultStep};
use bartizan_local::{inherited_link, notify_ready, read_frame, write_frame};
use rustix::process::{Signal, getpid, kill_process};

/// What it is started with.
pub(crate) const PROGRAM: [&str; 3] = ["stand_in::plays_its_role", "--exact", "--nocapture"];

/// Names the role.
pub(crate) const ROLE: &str = "STAND_IN";
/// The role of a vault.
pub(crate) const VAULT: &str = "vault";
/// The role of a hypervisor that is never ready.
pub(crate) const HYPERVISOR: &str = "hypervisor";
/// The role of what is ready once it has read its settings.
pub(crate) const DAEMON: &str = "daemon";
/// Names the file into which a vault writes what it is told.
pub(crate) const TOLD: &str = "STAND_IN_TOLD";
/// Names the step at which a vault is killed, as [`name`] does, if it is.
pub(crate) const KILLED_AT: &str = "STAND_IN_KILLED_AT";
/// Names the folder in which a vault swaps each file as soon as it hears of it, if it does: it was hashed, and is not started before the
/// vault has agreed.
pub(crate) const SWAPS_IN: &str = "STAND_IN_SWAPS_IN";

/// What a daemon's settings must be.
pub(crate) const SETTINGS: &str = "as released";
/// What files are swapped for.
pub(crate) const SWAPPED: &str = "#!/bin/sh\nexit 0\n";

/// The name of a manifest.
pub(crate) const RELEASE: &str = "a release";

/// The exit code of a program that is not to be started again.
const NOT_AGAIN: i32 = 78;

/// Not a test where nobody has given it a role.
#[test]
fn plays_its_role() {
    match std::env::var(ROLE).as_deref() {
        Ok(VAULT) => vault(),
        Ok(DAEMON) => daemon(),
        // A stage, or a hypervisor, says nothing, and ends.
        _ => {}
    }
}

/// Its last argument is the path of its settings. It ends for good.
fn daemon() -> ! {
    let settings = std::env::args().next_back().unwrap();
    assert_eq!(fs::read_to_string(settings).unwrap(), SETTINGS);
    notify_ready().unwrap();
    exit(NOT_AGAIN)
}

/// Agrees to everything, and ends for good once the boot is done or stopped, or nothing is said any more.
fn vault() -> ! {
    let told = std::env::var(TOLD).unwrap();
    let killed_at = std::env::var(KILLED_AT).ok();
    let swaps_in = std::env::var(SWAPS_IN).ok();
    let mut told = append(Path::new(&told));
    let mut link = inherited_link().unwrap();
    link.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    notify_ready().unwrap();
    let mut extended = 0;
    while let Ok(step) = read_frame::<VaultStep>(&mut link, VaultStep::MAX_FRAME) {
        write_frame(&mut told, &step, VaultStep::MAX_FRAME).unwrap();
        if killed_at.is_some() && name(&step) == killed_at.as_deref() {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        if let (Some(folder), VaultStep::Measure { name, .. }) = (&swaps_in, &step) {
            swap(Path::new(folder), name);
        }
        extended += 1;
        write_frame(
            &mut link,
            &VaultAnswer::Done { extended },
            VaultStep::MAX_FRAME,
        )
        .unwrap();
        if matches!(step, VaultStep::Fail(_) | VaultStep::Booted) {
            break;
        }
    }
    exit(NOT_AGAIN)
}

/// One of the folder's files; of others there is nothing to swap.
fn swap(folder: &Path, name: &str) {
    let (file, other) = (folder.join(name), folder.join("swapped"));
    if file.is_file() {
        fs::write(&other, SWAPPED).unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o755)).unwrap();
        fs::rename(other, file).unwrap();
    }
}

/// Of a release or a component.
pub(crate) fn name(step: &VaultStep) -> Option<&str> {
    match step {
        VaultStep::Release(_) => Some(RELEASE),
        VaultStep::Measure { name, .. } => Some(name),
        _ => None,
    }
}

fn append(path: &Path) -> File {
    let mut options = File::options();
    options.create(true).append(true).open(path).unwrap()
}
