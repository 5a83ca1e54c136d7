//! Readers over a kernel that is made by hand, sound and hostile. The real one is read in
//! the measurer's tests, which boot it.

mod hostile;
mod kernel;
mod maple;
mod paths;
mod program;

use super::{Process, ProcessError, find};
use kernel::{FakeKernel, LAYOUT, MM, TASK};

const PID: u32 = 42;

/// `init_task` and one process of two mappings.
fn sound() -> FakeKernel {
    let mut kernel = FakeKernel::new();
    kernel.task_ring(&[(TASK, PID)]);
    kernel.process();
    kernel
}

#[test]
fn a_sound_process_is_read() {
    let kernel = sound();
    let task = find(&kernel, &LAYOUT, PID).unwrap();
    let process = Process::read(&kernel, &LAYOUT, task, PID).unwrap();
    assert_eq!(process.pid, PID);
    assert_eq!(process.comm, "nginx");
    assert_eq!(process.start_time_ns, 7_000);
    assert_eq!(process.executable, "/usr/sbin/nginx");
    let [text, vdso] = process.mappings.as_slice() else {
        panic!("{:?}", process.mappings)
    };
    assert_eq!(
        (text.range.clone(), text.file_offset),
        (0x40_0000..0x40_2000, 0x3000)
    );
    assert_eq!(text.path.as_deref(), Some("/usr/sbin/nginx"));
    assert!(!text.special);
    assert_eq!((vdso.path.as_deref(), vdso.special), (None, true));
}

#[test]
fn an_unknown_pid_is_not_found() {
    assert_eq!(
        find(&sound(), &LAYOUT, 43),
        Err(ProcessError::NotFound { pid: 43 })
    );
}

#[test]
fn a_kernel_thread_has_no_address_space() {
    let mut kernel = sound();
    let task = find(&kernel, &LAYOUT, PID).unwrap();
    kernel.put(TASK + LAYOUT.task.flags, 0x20_0000_u32.to_le_bytes());
    let read = Process::read(&kernel, &LAYOUT, task, PID);
    assert_eq!(read, Err(ProcessError::NoAddressSpace { pid: PID }));
}

#[test]
fn a_task_that_went_away_since_is_noticed() {
    let mut kernel = sound();
    let task = find(&kernel, &LAYOUT, PID).unwrap();
    // What list_del_rcu() leaves behind: `next` still leads back, the ring no longer comes by.
    kernel.task_ring(&[]);
    kernel.put_u64(TASK + LAYOUT.task.tasks + 8, 0xdead_0000_0000_0122);
    let read = Process::read(&kernel, &LAYOUT, task, PID);
    assert!(matches!(
        read,
        Err(ProcessError::Unreadable { .. } | ProcessError::Inconsistent { .. })
    ));
}

#[test]
fn coverage_follows_the_mappings_exactly() {
    let kernel = sound();
    let task = find(&kernel, &LAYOUT, PID).unwrap();
    let process = Process::read(&kernel, &LAYOUT, task, PID).unwrap();
    let first = |range| process.first_unmapped(range).map(|at| at.0);
    assert_eq!(first(0x40_0000..0x40_2000), None);
    // The data mapping follows the text without a gap.
    assert_eq!(first(0x40_1000..0x40_3000), None);
    assert_eq!(first(0x40_1000..0x40_4000), Some(0x40_3000));
    assert_eq!(first(0x3f_f000..0x40_1000), Some(0x3f_f000));
    assert_eq!(first(u64::MAX - 0xfff..u64::MAX), Some(u64::MAX - 0xfff));
}

#[test]
fn only_executable_mappings_count_as_code() {
    let kernel = sound();
    let task = find(&kernel, &LAYOUT, PID).unwrap();
    let process = Process::read(&kernel, &LAYOUT, task, PID).unwrap();
    let first = |range| process.first_not_executable(range).map(|at| at.0);
    assert_eq!(first(0x40_0000..0x40_2000), None);
    // Data follows, which is mapped and not executable.
    assert_eq!(process.first_unmapped(0x40_1000..0x40_3000), None);
    assert_eq!(first(0x40_1000..0x40_3000), Some(0x40_2000));
    assert_eq!(first(0x50_0000..0x50_1000), Some(0x50_0000));
}

#[test]
fn a_process_whose_old_translations_may_be_in_use_is_refused() {
    let mut kernel = sound();
    let task = find(&kernel, &LAYOUT, PID).unwrap();
    kernel.put(MM + LAYOUT.mm.tlb_flush_pending, 1_u32.to_le_bytes());
    let read = Process::read(&kernel, &LAYOUT, task, PID);
    let Err(ProcessError::Inconsistent { structure, .. }) = read else {
        panic!("{read:?}")
    };
    assert_eq!(structure, "mm_struct");
}

#[test]
fn another_special_mapping_is_not_the_vdso() {
    let mut kernel = sound();
    // As uprobes' out-of-line area: the same operations at another place.
    kernel.put_u64(MM + LAYOUT.mm.vdso, 0x7000_0000_0000);
    let task = find(&kernel, &LAYOUT, PID).unwrap();
    let process = Process::read(&kernel, &LAYOUT, task, PID).unwrap();
    assert!(process.mappings.iter().all(|mapping| !mapping.special));
}
