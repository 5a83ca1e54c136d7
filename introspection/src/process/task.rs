//! The task list: `init_task.tasks`, a ring of all thread group leaders (`kernel/fork.c`).

use super::ProcessError;
use super::layout::TaskLayout;
use super::view::{KernelView, read_bytes, read_u32, read_u64};

/// Most thread groups that are looked at.
const MAX_TASKS: usize = 1 << 20;
/// `PF_EXITING` and `PF_KTHREAD` of `include/linux/sched.h`: the one's `mm` goes away at any time, the
/// other's is borrowed.
const WITHOUT_ADDRESS_SPACE: u32 = 0x4 | 0x20_0000;
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

/// Walks the ring until a leader with that thread group id. Work grows with the number of processes:
/// done while the guest runs.
pub(super) fn find(
    view: &impl KernelView,
    layout: &TaskLayout,
    pid: u32,
) -> Result<TaskAddress, ProcessError> {
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
            return Err(ProcessError::NotFound { pid });
        }
        let task = node.wrapping_sub(layout.tasks);
        if read_u32(view, "task_struct", task.wrapping_add(layout.tgid))? == pid {
            return Ok(TaskAddress(task));
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

/// Reads a task that [`find`] found, in constant time, and proves that it is still the one: it has the
/// thread group id and both neighbours in the ring point at it. (A removed node's `prev` is poisoned,
/// `list_del_rcu`.)
pub(super) fn read(
    view: &impl KernelView,
    layout: &TaskLayout,
    TaskAddress(task): TaskAddress,
    pid: u32,
) -> Result<Task, ProcessError> {
    let at = |member: u64| task.wrapping_add(member);
    let node = at(layout.tasks);
    if read_u32(view, "task_struct", at(layout.tgid))? != pid {
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
    let mm = read_u64(view, "task_struct", at(layout.mm))?;
    let flags = read_u32(view, "task_struct", at(layout.flags))?;
    if mm == 0 || flags & WITHOUT_ADDRESS_SPACE != 0 {
        return Err(ProcessError::NoAddressSpace { pid });
    }
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
