use super::kernel::{DENTRIES, FILE, FakeKernel, LAYOUT, MOUNTS};
use crate::process::ProcessError;
use crate::process::path::path_of;

const NGINX: u64 = DENTRIES + 0x4000;
const ROOTFS: u64 = MOUNTS;
const REAL: u64 = MOUNTS + 0x1000;

fn kernel() -> FakeKernel {
    let mut kernel = FakeKernel::new();
    kernel.file();
    kernel
}

fn path(kernel: &FakeKernel) -> Result<String, ProcessError> {
    path_of(kernel, &LAYOUT.path, FILE)
}

#[test]
fn a_deleted_file_says_so() {
    let mut kernel = kernel();
    kernel.put_u64(NGINX + LAYOUT.path.dentry_unhashed, 0);
    assert_eq!(path(&kernel).unwrap(), "/usr/sbin/nginx (deleted)");
}

#[test]
fn a_file_of_an_unmounted_file_system_is_unreachable() {
    let mut kernel = kernel();
    kernel.put_u64(REAL + LAYOUT.path.mount_parent, REAL);
    kernel.put_u64(REAL + LAYOUT.path.mount_namespace, 0);
    assert_eq!(path(&kernel).unwrap(), "(unreachable)/usr/sbin/nginx");
}

#[test]
fn a_file_of_the_kernels_own_mount_is_unreachable() {
    // As memfd_create("nginx"): a nameless parent, a mount in MNT_NS_INTERNAL.
    let mut kernel = kernel();
    let (mount, root, memfd) = (MOUNTS + 0x5000, DENTRIES + 0x5000, DENTRIES + 0x6000);
    kernel.mount(mount, mount, root, 0);
    kernel.put_u64(
        mount + LAYOUT.path.mount_namespace,
        (-22_i64).cast_unsigned(),
    );
    kernel.dentry(root, root, b"/");
    kernel.dentry(memfd, memfd, b"memfd:usr/sbin/nginx");
    kernel.open_file(FILE, mount, memfd);
    assert_eq!(path(&kernel).unwrap(), "(unreachable)/memfd:usr/sbin/nginx");
}

#[test]
fn loops_of_directories_and_mounts_end() {
    let mut directories = kernel();
    directories.put_u64(DENTRIES + 0x2000 + LAYOUT.path.dentry_parent, NGINX);
    assert!(matches!(
        path(&directories),
        Err(ProcessError::TooMany { .. })
    ));

    let mut mounts = kernel();
    mounts.mount(ROOTFS, REAL, DENTRIES, DENTRIES + 0x1000);
    assert!(matches!(path(&mounts), Err(ProcessError::TooMany { .. })));
}

#[test]
fn a_name_of_gigabytes_is_not_read() {
    let mut kernel = kernel();
    kernel.put(
        NGINX + LAYOUT.path.dentry_name_length,
        u32::MAX.to_le_bytes(),
    );
    assert!(matches!(
        path(&kernel),
        Err(ProcessError::TooMany {
            what: "bytes in a path",
            ..
        })
    ));
}
