//! Several processes of one program: the guest does not choose which of them is looked at.

use super::kernel::{DENTRIES, FILE, FakeKernel, LAYOUT, MM, MOUNTS, TASK};
use crate::process::{MAX_INSTANCES, Process, ProcessError, find, find_instances};

const INODES: u64 = FILE + 0x8000;
const FILE_SYSTEM: u64 = 0xffff_8880_dead_0000;
const OTHER_FILE_SYSTEM: u64 = 0xffff_8880_beef_0000;
const SBIN: u64 = DENTRIES + 0x3000;
const REAL: u64 = MOUNTS + 0x1000;

/// The `n`th task.
const fn task(n: u64) -> u64 {
    TASK + 0x1000 * n
}

/// The `n`th address space.
const fn space(n: u64) -> u64 {
    MM + 0x100 * n
}

/// Processes 42, 43, …, each in a space of its own, all executing `/usr/sbin/nginx`.
fn instances(count: u32) -> FakeKernel {
    let mut kernel = FakeKernel::new();
    let ring: Vec<_> = (0..count).map(|n| (task(n.into()), 42 + n)).collect();
    kernel.task_ring(&ring);
    kernel.process();
    inode(&mut kernel, FILE, INODES, FILE_SYSTEM);
    for n in 0..u64::from(count) {
        kernel.put_u64(task(n) + LAYOUT.task.mm, space(n));
        kernel.put_u64(space(n) + LAYOUT.mm.exe_file, FILE);
    }
    kernel
}

fn inode(kernel: &mut FakeKernel, file: u64, inode: u64, file_system: u64) {
    kernel.put_u64(file + LAYOUT.path.file_inode, inode);
    kernel.put_u64(inode + LAYOUT.path.inode_superblock, file_system);
}

/// Has the `n`th process execute another `struct file`.
fn executes(kernel: &mut FakeKernel, n: u64, file: u64) {
    kernel.put_u64(space(n) + LAYOUT.mm.exe_file, file);
}

fn found(kernel: &FakeKernel, pid: u32) -> Vec<u32> {
    let found = find_instances(kernel, &LAYOUT, pid).unwrap();
    found.iter().map(|instance| instance.pid).collect()
}

#[test]
fn every_instance_is_found_whichever_is_named() {
    let kernel = instances(3);
    assert_eq!(found(&kernel, 42), [42, 43, 44]);
    assert_eq!(found(&kernel, 44), [44, 42, 43]);
}

#[test]
fn another_program_is_left_out() {
    let mut kernel = instances(3);
    let (file, dentry) = (FILE + 0x1000, DENTRIES + 0x5000);
    kernel.dentry(dentry, SBIN, b"cron");
    kernel.open_file(file, REAL, dentry);
    inode(&mut kernel, file, INODES + 0x100, FILE_SYSTEM);
    executes(&mut kernel, 1, file);
    assert_eq!(found(&kernel, 42), [42, 44]);
    assert_eq!(found(&kernel, 43), [43]);
}

#[test]
fn the_same_inode_by_another_name_is_the_same_program() {
    let mut kernel = instances(2);
    let (file, link) = (FILE + 0x1000, DENTRIES + 0x5000);
    kernel.dentry(link, SBIN, b"hard-link");
    kernel.open_file(file, REAL, link);
    inode(&mut kernel, file, INODES, FILE_SYSTEM);
    executes(&mut kernel, 1, file);
    assert_eq!(found(&kernel, 42), [42, 43]);
}

/// As a package's update leaves them: the old process executes a deleted file, the new one its successor.
#[test]
fn a_replaced_file_is_the_same_program() {
    let mut kernel = instances(2);
    let (file, old) = (FILE + 0x1000, DENTRIES + 0x5000);
    kernel.dentry(old, SBIN, b"nginx");
    kernel.put_u64(old + LAYOUT.path.dentry_unhashed, 0);
    kernel.open_file(file, REAL, old);
    inode(&mut kernel, file, INODES + 0x100, FILE_SYSTEM);
    executes(&mut kernel, 1, file);
    assert_eq!(found(&kernel, 42), [42, 43]);
    assert_eq!(found(&kernel, 43), [43, 42]);
    // In another file system, a container's, the path names another program.
    inode(&mut kernel, file, INODES + 0x100, OTHER_FILE_SYSTEM);
    assert_eq!(found(&kernel, 42), [42]);
}

#[test]
fn a_process_in_a_folder_too_deep_does_not_keep_others_from_being_found() {
    let mut kernel = instances(2);
    let (file, looped) = (FILE + 0x1000, DENTRIES + 0x5000);
    kernel.dentry(looped, DENTRIES + 0x6000, b"nginx");
    kernel.dentry(DENTRIES + 0x6000, looped, b"endless");
    kernel.open_file(file, REAL, looped);
    inode(&mut kernel, file, INODES + 0x100, FILE_SYSTEM);
    executes(&mut kernel, 1, file);
    assert_eq!(found(&kernel, 42), [42]);
}

#[test]
fn processes_in_one_address_space_are_one() {
    let mut kernel = instances(3);
    kernel.put_u64(task(1) + LAYOUT.task.mm, space(0));
    assert_eq!(found(&kernel, 42), [42, 44]);
}

/// `pthread_exit()` of the main thread: a zombie leads threads that run on.
#[test]
fn a_dead_leader_hides_nobody() {
    let mut kernel = instances(2);
    let (thread, signal) = (task(9), TASK + 0xf_0000);
    let (node, head) = (
        thread + LAYOUT.task.thread_node,
        signal + LAYOUT.task.thread_head,
    );
    kernel.put(task(1) + LAYOUT.task.flags, 0x4_u32.to_le_bytes());
    kernel.put_u64(task(1) + LAYOUT.task.mm, 0);
    kernel.put_u64(task(1) + LAYOUT.task.signal, signal);
    kernel.put_u64(head, node);
    kernel.put_u64(node, head);
    kernel.put(thread + LAYOUT.task.flags, 0_u32.to_le_bytes());
    kernel.put_u64(thread + LAYOUT.task.mm, space(1));
    assert_eq!(found(&kernel, 42), [42, 43]);

    // It is read by the thread's address space, too.
    kernel.put_u64(thread + LAYOUT.task.mm, space(0));
    let dead = find(&kernel, &LAYOUT, 43).unwrap();
    let process = Process::read(&kernel, &LAYOUT, dead, 43).unwrap();
    assert_eq!(process.executable, "/usr/sbin/nginx");

    // Threads in a loop end.
    kernel.put(thread + LAYOUT.task.flags, 0x4_u32.to_le_bytes());
    kernel.put_u64(node, node);
    let looped = find_instances(&kernel, &LAYOUT, 42);
    assert!(matches!(looped, Err(ProcessError::TooMany { .. })));
}

/// Processes that ended and that nobody waited for: each leads itself alone.
#[test]
fn zombies_without_end_keep_nobody_from_being_found() {
    const ZOMBIES: u64 = TASK + 0x1000_0000;
    let mut kernel = instances(2);
    let mut ring = vec![(task(0), 42), (task(1), 43)];
    for n in 0..0x1_0001_u32 {
        let zombie = ZOMBIES + 0x200 * u64::from(n);
        let (node, signal) = (zombie + LAYOUT.task.thread_node, zombie + 0x180);
        let head = signal + LAYOUT.task.thread_head;
        kernel.put(zombie + LAYOUT.task.flags, 0x4_u32.to_le_bytes());
        kernel.put_u64(zombie + LAYOUT.task.signal, signal);
        kernel.put_u64(head, node);
        kernel.put_u64(node, head);
        ring.push((zombie, 1000 + n));
    }
    kernel.task_ring(&ring);
    assert_eq!(found(&kernel, 42), [42, 43]);
}

#[test]
fn a_crowd_is_refused_by_name() {
    let limit = u32::try_from(MAX_INSTANCES).unwrap();
    assert_eq!(found(&instances(limit), 42).len(), MAX_INSTANCES);
    assert_eq!(
        find_instances(&instances(limit + 1), &LAYOUT, 42),
        Err(ProcessError::TooManyInstances {
            pid: 42,
            limit: MAX_INSTANCES
        })
    );
}
