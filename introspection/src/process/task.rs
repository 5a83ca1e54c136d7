//! The task list: `init_task.tasks`, a ring of all thread group leaders (`kernel/fork.c`).

use std::ops::ControlFlow;

use super::ProcessError;
use super::layout::TaskLayout;
use super::view::{KernelView, read_bytes, read_u32, read_u64};

/// Most thread groups that are looked at.
const MAX_TASKS: usize = 1 << 20;
/// Most threads that are looked at in search of one that is still alive.
const MAX_THREADS: usize = 1 << 16;
/// `PF_EXITING` of `include/linux/sched.h`: the thread's `mm` goes away at any time.
const EXITING: u32 = 0x4;
/// `PF_KTHREAD`: the thread's `mm`, if any, is borrowed.
const KERNEL_THREAD: u32 = 0x20_0000;
/// `TASK_COMM_LEN` of `include/linux/sched.h`.
const COMM: usize = 16;

/// The kernel-virtual address of a process's `task_struct`, found by [`find`](super::find).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskAddress(pub(super) u64);

/// What a `task_struct` says.
pub(super) struct Task {
    pub(super) mm: u64,
    pub(super) start_time_ns: u64,
    pub(super) comm: String,
}

/// Walks the ring until a leader with that thread group id. Work grows with the number of processes.
pub(super) fn find(
    view: &impl KernelView,
    layout: &TaskLayout,
    pid: u32,
) -> Result<TaskAddress, ProcessError> {
    let found = each_leader(view, layout, |task| {
        Ok(if thread_group(view, layout, task)? == pid {
            ControlFlow::Break(task)
        } else {
            ControlFlow::Continue(())
        })
    })?;
    found.ok_or(ProcessError::NotFound { pid })
}

/// Shows `visit` every thread group's leader, `init_task` aside, until it breaks.
pub(super) fn each_leader<B>(
    view: &impl KernelView,
    layout: &TaskLayout,
    mut visit: impl FnMut(TaskAddress) -> Result<ControlFlow<B>, ProcessError>,
) -> Result<Option<B>, ProcessError> {
    let init = view
        .symbol("init_task")
        .ok_or(ProcessError::Symbol("init_task"))?
        .0;
    let head = init.wrapping_add(layout.tasks);
    let mut node = next(view, head)?;
    // Brent's algorithm: `mark` is moved at every power of two; meeting it again is a loop past `head`.
    let (mut mark, mut power) = (node, 1_usize);
    for step in 1..=MAX_TASKS {
        if node == head {
            return Ok(None);
        }
        if let ControlFlow::Break(found) = visit(TaskAddress(node.wrapping_sub(layout.tasks)))? {
            return Ok(Some(found));
        }
        node = next(view, node)?;
        if node == mark {
            let finding = "the task list loops past its head";
            return Err(inconsistent(node, finding));
        }
        if step == power {
            (mark, power) = (node, power.saturating_mul(2));
        }
    }
    Err(ProcessError::TooMany {
        what: "processes",
        limit: MAX_TASKS,
    })
}

/// The thread group id of a leader: the process's pid.
pub(super) fn thread_group(
    view: &impl KernelView,
    layout: &TaskLayout,
    TaskAddress(task): TaskAddress,
) -> Result<u32, ProcessError> {
    read_u32(view, "task_struct", task.wrapping_add(layout.tgid))
}

/// How many threads a reader may still look at in search of living ones.
pub(super) struct Patience(usize);

impl Default for Patience {
    fn default() -> Self {
        Self(MAX_THREADS)
    }
}

/// The address space (`mm_struct`) of a thread group: its leader's or, where the leader has exited before
/// its other threads, that of the first which lives. `None` for kernel threads and for groups that end.
pub(super) fn address_space(
    view: &impl KernelView,
    layout: &TaskLayout,
    TaskAddress(leader): TaskAddress,
    Patience(left): &mut Patience,
) -> Result<Option<u64>, ProcessError> {
    let flags = read_u32(view, "task_struct", leader.wrapping_add(layout.flags))?;
    if flags & KERNEL_THREAD != 0 {
        return Ok(None);
    }
    if let Some(mm) = living(view, layout, leader)? {
        return Ok(Some(mm));
    }
    let signal = read_u64(view, "task_struct", leader.wrapping_add(layout.signal))?;
    let head = signal.wrapping_add(layout.thread_head);
    let mut node = read_u64(view, "signal_struct", head)?;
    // A zombie's leader stands in the list itself, alone: whoever leaves many behind uses up no patience.
    if node == leader.wrapping_add(layout.thread_node) {
        node = next(view, node)?;
    }
    while node != head {
        *left = left.checked_sub(1).ok_or(ProcessError::TooMany {
            what: "threads of groups whose leader has exited",
            limit: MAX_THREADS,
        })?;
        if let Some(mm) = living(view, layout, node.wrapping_sub(layout.thread_node))? {
            return Ok(Some(mm));
        }
        node = next(view, node)?;
    }
    Ok(None)
}

/// The address space of one thread, unless it has none (any more).
fn living(
    view: &impl KernelView,
    layout: &TaskLayout,
    task: u64,
) -> Result<Option<u64>, ProcessError> {
    let flags = read_u32(view, "task_struct", task.wrapping_add(layout.flags))?;
    let mm = read_u64(view, "task_struct", task.wrapping_add(layout.mm))?;
    Ok((mm != 0 && flags & (EXITING | KERNEL_THREAD) == 0).then_some(mm))
}

/// Reads a task that [`find`] found, in constant time, and proves that it is still the one: it has the
/// thread group id and both neighbours in the ring point at it. (A removed node's `prev` is poisoned,
/// `list_del_rcu`.)
pub(super) fn read(
    view: &impl KernelView,
    layout: &TaskLayout,
    address: TaskAddress,
    pid: u32,
) -> Result<Task, ProcessError> {
    let TaskAddress(task) = address;
    let at = |member: u64| task.wrapping_add(member);
    let node = at(layout.tasks);
    if thread_group(view, layout, address)? != pid {
        return Err(ProcessError::NotFound { pid });
    }
    let after = next(view, node)?;
    let before = read_u64(view, "task_struct", node.wrapping_add(8))?;
    if next(view, before)? != node || read_u64(view, "task_struct", after.wrapping_add(8))? != node
    {
        return Err(inconsistent(
            task,
            "its neighbours in the task list do not point at it",
        ));
    }
    let mm = address_space(view, layout, address, &mut Patience::default())?
        .ok_or(ProcessError::NoAddressSpace { pid })?;
    let mut comm = [0; COMM];
    read_bytes(view, "task_struct", at(layout.comm), &mut comm)?;
    let text = comm.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Task {
        mm,
        start_time_ns: read_u64(view, "task_struct", at(layout.start_time))?,
        comm: String::from_utf8_lossy(text).into_owned(),
    })
}

/// `list_head.next`.
fn next(view: &impl KernelView, node: u64) -> Result<u64, ProcessError> {
    read_u64(view, "task_struct", node)
}

const fn inconsistent(address: u64, finding: &'static str) -> ProcessError {
    ProcessError::Inconsistent {
        structure: "task_struct",
        address,
        finding,
    }
}
