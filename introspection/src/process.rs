//! Processes of the guest, read from RAM alone: task, executable, mappings, page-table root.
//!
//! The RAM is hostile: every list, tree and string is followed for a bounded number of steps, every
//! structure is checked against its neighbours, and whatever does not fit is a [`ProcessError`]. What a
//! *kernel* that lies consistently says cannot be told from the truth here; reports name this basis.
//!
//! The kernel's lists and the page tables change one after the other: a mapping that is being taken away
//! (munmap(2), mprotect(2)) is gone from the lists while its pages still execute. So a process is refused while its
//! address space waits for processors to drop old translations (`mm_struct.tlb_flush_pending`), and whoever
//! measures code holds the page tables against [`Process::first_not_executable`].
//!
//! Finding processes costs time in proportion to their number ([`find`], [`find_instances`]); reading one
//! does not ([`Process::read`]).

mod area;
mod error;
mod layout;
mod maple;
mod path;
mod program;
mod task;
mod view;

use std::collections::BTreeMap;
use std::ops::Range;

use bartizan_guest_memory::Gva;
use bartizan_guest_memory::walk::Root;

use area::Area;
pub use error::{LayoutError, ProcessError};
pub use layout::ProcessLayout;
pub use program::{Instance, MAX_INSTANCES, find_instances};
pub use task::TaskAddress;
pub use view::KernelView;
use view::{read_u32, read_u64};

/// Most mappings of one process that are read (`vm.max_map_count` is 65,530 by default).
pub const MAX_AREAS: usize = 1 << 16;
/// Most executable mappings of one process that are read.
pub const MAX_EXECUTABLE: usize = 1024;

/// `VM_EXEC` of `include/linux/mm.h`.
const VM_EXEC: u64 = 4;

/// A process, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// When it was started, nanoseconds of the guest's monotonic clock.
    pub start_time_ns: u64,
    /// `task_struct.comm`, lossy UTF-8.
    pub comm: String,
    /// Path of its executable (see [`Mapping::path`]).
    pub executable: String,
    /// Its executable mappings, in ascending order.
    pub mappings: Vec<Mapping>,
    /// Its page tables.
    pub root: Root,
    /// Every mapping's addresses, in ascending order.
    areas: Vec<Range<u64>>,
}

/// An executable mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// User-virtual addresses, whole pages.
    pub range: Range<u64>,
    /// Path of the mapped file from the root of its mount namespace, lossy UTF-8; ends in ` (deleted)`
    /// or begins with `(unreachable)` where that path no longer leads to it. `None`: no file.
    pub path: Option<String>,
    /// Offset in the file in bytes.
    pub file_offset: u64,
    /// `VM_READ` 1, `VM_WRITE` 2, `VM_EXEC` 4, `VM_SHARED` 8, and the kernel's further bits.
    pub flags: u64,
    /// Whether it is the kernel's own `[vdso]`.
    pub special: bool,
}

/// Finds a process by its thread group id, walking the task list.
///
/// # Errors
/// [`ProcessError::NotFound`] after a whole walk; the others where the list cannot be followed.
pub fn find(
    view: &impl KernelView,
    layout: &ProcessLayout,
    pid: u32,
) -> Result<TaskAddress, ProcessError> {
    task::find(view, &layout.task, pid)
}

impl Process {
    /// Reads a process that was found.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`] where it has gone since, [`ProcessError::NoAddressSpace`] for a kernel
    /// thread or one that exits; the others where a structure cannot be followed.
    pub fn read(
        view: &impl KernelView,
        layout: &ProcessLayout,
        task: TaskAddress,
        pid: u32,
    ) -> Result<Self, ProcessError> {
        let task = task::read(view, &layout.task, task, pid)?;
        let mm = |member: u64| read_u64(view, "mm_struct", task.mm.wrapping_add(member));
        let pgd = mm(layout.mm.pgd)?;
        let root = view.user_root(Gva(pgd)).ok_or(ProcessError::Unreadable {
            structure: "pgd_t",
            address: pgd,
        })?;
        let exe_file = mm(layout.mm.exe_file)?;
        if exe_file == 0 {
            // Only while exec or exit is under way.
            return Err(ProcessError::NoAddressSpace { pid });
        }
        let flushes = task.mm.wrapping_add(layout.mm.tlb_flush_pending);
        if read_u32(view, "mm_struct", flushes)? != 0 {
            return Err(ProcessError::Inconsistent {
                structure: "mm_struct",
                address: task.mm,
                finding: "processors may still use translations that its page tables no longer hold",
            });
        }
        let special = Special {
            operations: view
                .symbol("special_mapping_vmops")
                .ok_or(ProcessError::Symbol("special_mapping_vmops"))?
                .0,
            vdso: mm(layout.mm.vdso)?,
        };

        let mut areas = Vec::new();
        let mut executable = Vec::new();
        maple::walk(view, &layout.maple, mm(layout.mm.tree_root)?, |entry| {
            let area = Area::read(view, &layout.area, entry, task.mm)?;
            push_bounded(&mut areas, area.start..area.end, "mappings", MAX_AREAS)?;
            if area.flags & VM_EXEC != 0 {
                push_bounded(&mut executable, area, "executable mappings", MAX_EXECUTABLE)?;
            }
            Ok(())
        })?;

        let mut paths = Paths {
            view,
            layout,
            known: BTreeMap::new(),
        };
        Ok(Self {
            pid,
            start_time_ns: task.start_time_ns,
            comm: task.comm,
            executable: paths.of(exe_file)?,
            mappings: executable
                .into_iter()
                .map(|area| mapping(&area, &special, &mut paths))
                .collect::<Result<_, _>>()?,
            root,
            areas,
        })
    }

    /// The first address of `range` that no mapping covers, resident or not.
    #[must_use]
    pub fn first_unmapped(&self, range: Range<u64>) -> Option<Gva> {
        first_gap(&self.areas, Clone::clone, range)
    }

    /// The first address of `range` that no executable mapping covers.
    #[must_use]
    pub fn first_not_executable(&self, range: Range<u64>) -> Option<Gva> {
        first_gap(&self.mappings, |mapping| mapping.range.clone(), range)
    }
}

/// The first address of `range` that none of `covers` holds, which are in ascending order.
fn first_gap<T>(
    covers: &[T],
    addresses: impl Fn(&T) -> Range<u64>,
    range: Range<u64>,
) -> Option<Gva> {
    let from = covers.partition_point(|cover| addresses(cover).end <= range.start);
    let mut covered = range.start;
    for cover in covers.iter().skip(from).map(addresses) {
        if covered >= range.end || cover.start > covered {
            break;
        }
        covered = cover.end;
    }
    (covered < range.end).then_some(Gva(covered))
}

/// How the kernel's own mapping is recognised. Operations alone would not do: uprobes' out-of-line area
/// has the same.
struct Special {
    operations: u64,
    vdso: u64,
}

impl Special {
    const fn is(&self, area: &Area) -> bool {
        area.file == 0 && area.operations == self.operations && area.start == self.vdso
    }
}

fn mapping<V: KernelView>(
    area: &Area,
    special: &Special,
    paths: &mut Paths<'_, V>,
) -> Result<Mapping, ProcessError> {
    Ok(Mapping {
        range: area.start..area.end,
        path: if area.file == 0 {
            None
        } else {
            Some(paths.of(area.file)?)
        },
        // vm_pgoff means nothing in a file's absence.
        file_offset: if area.file == 0 { 0 } else { area.file_offset },
        flags: area.flags,
        special: special.is(area),
    })
}

/// Paths by the address of their `struct file`, each walked once.
struct Paths<'a, V> {
    view: &'a V,
    layout: &'a ProcessLayout,
    known: BTreeMap<u64, String>,
}

impl<V: KernelView> Paths<'_, V> {
    fn of(&mut self, file: u64) -> Result<String, ProcessError> {
        if let Some(path) = self.known.get(&file) {
            return Ok(path.clone());
        }
        let path = path::path_of(self.view, &self.layout.path, file)?;
        self.known.insert(file, path.clone());
        Ok(path)
    }
}

fn push_bounded<T>(
    list: &mut Vec<T>,
    item: T,
    what: &'static str,
    limit: usize,
) -> Result<(), ProcessError> {
    if list.len() >= limit {
        return Err(ProcessError::TooMany { what, limit });
    }
    list.push(item);
    Ok(())
}

#[cfg(test)]
mod tests;
