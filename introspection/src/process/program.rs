//! All processes that execute one program, so that a guest cannot show the clean one of them.
//!
//! Two processes execute the same program where their `mm_struct.exe_file` is the same inode, or, since a file that
//! was replaced is another inode, has the same path in the same file system, deleted or not. A *copy* of the program
//! under another path is another program.
//!
//! A process can be taken out of that set: root renames the program's file or mounts over it, and a process that has
//! unmapped its executable names another by `PR_SET_MM_MAP` (`prctl_set_mm_map()`, `kernel/sys.c`), for which a user
//! namespace of its own is enough. So the set guards against a changed process that was overlooked, not against
//! one that root hides.
//!
//! The walk takes time in proportion to the number of processes, also while the guest stands still: a
//! process that was started between two looks must not be missed.

use std::ops::ControlFlow;

use super::ProcessError;
use super::layout::{PathLayout, ProcessLayout};
use super::path::KnownPath;
use super::task::{self, Patience, TaskAddress};
use super::view::{KernelView, read_u64};

/// Most processes that are taken together.
pub const MAX_INSTANCES: usize = 64;

/// A process that executes the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    /// Its thread group id.
    pub pid: u32,
    /// Where its task lies.
    pub task: TaskAddress,
}

/// Finds the processes that execute the program of `pid`: that one first, then the others in the order of the
/// task list. Processes that share one address space (`CLONE_VM`) are one.
///
/// # Errors
/// As [`super::find`] and [`super::Process::read`]; [`ProcessError::TooManyInstances`].
pub fn find_instances(
    view: &impl KernelView,
    layout: &ProcessLayout,
    pid: u32,
) -> Result<Vec<Instance>, ProcessError> {
    let named = task::find(view, &layout.task, pid)?;
    let mut patience = Patience::default();
    let mm = task::address_space(view, &layout.task, named, &mut patience)?
        .ok_or(ProcessError::NoAddressSpace { pid })?;
    let program = match executable(view, layout, mm)? {
        0 => return Err(ProcessError::NoAddressSpace { pid }),
        file => Program::of(view, &layout.path, file)?,
    };

    let mut spaces = vec![mm];
    let mut instances = vec![Instance { pid, task: named }];
    task::each_leader(view, &layout.task, |task| {
        let Some(mm) = task::address_space(view, &layout.task, task, &mut patience)? else {
            return Ok(ControlFlow::Continue(()));
        };
        if spaces.contains(&mm)
            || !program.is_of(view, &layout.path, executable(view, layout, mm)?)?
        {
            return Ok(ControlFlow::Continue(()));
        }
        if instances.len() >= MAX_INSTANCES {
            let limit = MAX_INSTANCES;
            return Err(ProcessError::TooManyInstances { pid, limit });
        }
        spaces.push(mm);
        instances.push(Instance {
            pid: task::thread_group(view, &layout.task, task)?,
            task,
        });
        Ok(ControlFlow::<()>::Continue(()))
    })?;
    Ok(instances)
}

/// `mm_struct.exe_file`; 0 only while exec or exit is under way.
fn executable(
    view: &impl KernelView,
    layout: &ProcessLayout,
    mm: u64,
) -> Result<u64, ProcessError> {
    read_u64(view, "mm_struct", mm.wrapping_add(layout.mm.exe_file))
}

/// What tells one program from another.
struct Program {
    inode: u64,
    superblock: u64,
    path: KnownPath,
}

impl Program {
    fn of(view: &impl KernelView, layout: &PathLayout, file: u64) -> Result<Self, ProcessError> {
        let inode = inode(view, layout, file)?;
        Ok(Self {
            inode,
            superblock: superblock(view, layout, inode)?,
            path: KnownPath::of(view, layout, file)?,
        })
    }

    /// Whether a `struct file` is of this program.
    fn is_of(
        &self,
        view: &impl KernelView,
        layout: &PathLayout,
        file: u64,
    ) -> Result<bool, ProcessError> {
        if file == 0 {
            return Ok(false);
        }
        let inode = inode(view, layout, file)?;
        if inode == self.inode {
            return Ok(true);
        }
        Ok(superblock(view, layout, inode)? == self.superblock
            && self.path.is_of(view, layout, file)?)
    }
}

fn inode(view: &impl KernelView, layout: &PathLayout, file: u64) -> Result<u64, ProcessError> {
    read_u64(view, "file", file.wrapping_add(layout.file_inode))
}

fn superblock(
    view: &impl KernelView,
    layout: &PathLayout,
    inode: u64,
) -> Result<u64, ProcessError> {
    read_u64(view, "inode", inode.wrapping_add(layout.inode_superblock))
}
