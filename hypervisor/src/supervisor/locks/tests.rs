use super::*;
use crate::qemu::process::Confined;

#[tokio::test]
async fn only_one_boot_has_the_locks_and_they_end_with_it() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(holder(folder.path()).unwrap(), Holder::Nobody);
    let locks = Locks::take(folder.path()).await.unwrap();
    assert_eq!(holder(folder.path()).unwrap(), Holder::Supervisor);
    assert!(matches!(
        Locks::take(folder.path()).await,
        Err(LockError::Held(Holder::Supervisor))
    ));
    drop(locks);
    assert_eq!(holder(folder.path()).unwrap(), Holder::Nobody);
    Locks::take(folder.path()).await.unwrap();
}

/// A supervisor that was killed takes its lock along, and the disks are not free before its QEMU is gone.
#[tokio::test]
async fn a_boot_lasts_as_long_as_its_qemu() {
    let folder = tempfile::tempdir().unwrap();
    let locks = Locks::take(folder.path()).await.unwrap();
    let mut qemu = Confined::new("/bin/sleep".as_ref())
        .args(["60"])
        .keep(locks.for_qemu())
        .spawn()
        .unwrap();
    drop(locks);
    assert_eq!(holder(folder.path()).unwrap(), Holder::Qemu);
    assert!(matches!(
        Locks::take(folder.path()).await,
        Err(LockError::Held(Holder::Qemu))
    ));
    qemu.kill();
    qemu.exited().await.unwrap();
    assert_eq!(holder(folder.path()).unwrap(), Holder::Nobody);
}

/// Known attack: a dead boot counts as running for ever.
#[tokio::test]
async fn what_is_no_file_is_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join(SUPERVISOR);
    let _socket = std::os::unix::net::UnixListener::bind(&lock).unwrap();
    assert_eq!(holder(folder.path()).unwrap(), Holder::Nobody);
    std::fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &lock).unwrap();
    assert_eq!(holder(folder.path()).unwrap(), Holder::Nobody);
    std::fs::remove_file(&lock).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &lock, Mode::RUSR).unwrap();
    assert_eq!(holder(folder.path()).unwrap(), Holder::Nobody);
}

#[tokio::test]
async fn somebody_who_looks_does_not_keep_a_supervisor_from_its_locks() {
    let folder = tempfile::tempdir().unwrap();
    drop(Locks::take(folder.path()).await.unwrap());
    let glance = File::open(folder.path().join(QEMU)).unwrap();
    glance.try_lock_shared().unwrap();
    let taken = Locks::take(folder.path());
    let looked = async {
        sleep(3 * RETRY).await;
        drop(glance);
    };
    tokio::join!(taken, looked).0.unwrap();
}
