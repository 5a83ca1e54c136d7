//! Where the members lie that process readers follow, from the kernel's own BTF.

use super::error::LayoutError;
use crate::KernelProfile;

/// Largest structure that is copied whole, in bytes.
pub(super) const RECORD: usize = 512;
/// Size of a maple tree node in bytes (`struct maple_node`, `include/linux/maple_tree.h`).
pub(super) const MAPLE_NODE: usize = 256;

/// Member offsets in bytes, resolved once per kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessLayout {
    pub(super) task: TaskLayout,
    pub(super) mm: MmLayout,
    pub(super) area: AreaLayout,
    pub(super) maple: MapleLayout,
    pub(super) path: PathLayout,
}

/// `struct task_struct`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskLayout {
    pub(super) tasks: u64,
    pub(super) tgid: u64,
    pub(super) mm: u64,
    pub(super) comm: u64,
    pub(super) start_time: u64,
    pub(super) flags: u64,
    pub(super) signal: u64,
    pub(super) thread_node: u64,
    /// In `struct signal_struct`: the list of the group's threads.
    pub(super) thread_head: u64,
}

/// `struct mm_struct`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MmLayout {
    pub(super) pgd: u64,
    pub(super) tree_root: u64,
    pub(super) exe_file: u64,
    pub(super) vdso: u64,
    pub(super) tlb_flush_pending: u64,
}

/// `struct vm_area_struct`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AreaLayout {
    pub(super) size: usize,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) flags: u64,
    pub(super) page_offset: u64,
    pub(super) file: u64,
    pub(super) operations: u64,
    pub(super) mm: u64,
}

/// `struct maple_range_64` (also of leaves) and `struct maple_arange_64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MapleLayout {
    pub(super) range: NodeLayout,
    pub(super) arange: NodeLayout,
}

/// One kind of maple tree node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeLayout {
    pub(super) pivots: u64,
    pub(super) pivot_count: u64,
    pub(super) slots: u64,
    pub(super) slot_count: u64,
}

/// `struct file`, `inode`, `dentry`, `mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathLayout {
    pub(super) file_mount: u64,
    pub(super) file_dentry: u64,
    pub(super) file_inode: u64,
    pub(super) inode_superblock: u64,
    pub(super) dentry_size: usize,
    pub(super) dentry_unhashed: u64,
    pub(super) dentry_parent: u64,
    pub(super) dentry_name: u64,
    pub(super) dentry_name_length: u64,
    pub(super) mount_size: usize,
    pub(super) mount_vfsmount: u64,
    pub(super) mount_root: u64,
    pub(super) mount_parent: u64,
    pub(super) mount_point: u64,
    pub(super) mount_namespace: u64,
}

impl ProcessLayout {
    /// Resolves every member.
    ///
    /// # Errors
    /// [`LayoutError`] names the first that is missing: such a kernel is not understood.
    pub fn from_profile(profile: &KernelProfile) -> Result<Self, LayoutError> {
        let at = |structure, path: &[&str]| offset(profile, structure, path);
        Ok(Self {
            task: TaskLayout {
                tasks: at("task_struct", &["tasks"])?,
                tgid: at("task_struct", &["tgid"])?,
                mm: at("task_struct", &["mm"])?,
                comm: at("task_struct", &["comm"])?,
                start_time: at("task_struct", &["start_time"])?,
                flags: at("task_struct", &["flags"])?,
                signal: at("task_struct", &["signal"])?,
                thread_node: at("task_struct", &["thread_node"])?,
                thread_head: at("signal_struct", &["thread_head"])?,
            },
            mm: MmLayout {
                pgd: at("mm_struct", &["pgd"])?,
                tree_root: at("mm_struct", &["mm_mt", "ma_root"])?,
                exe_file: at("mm_struct", &["exe_file"])?,
                vdso: at("mm_struct", &["context", "vdso"])?,
                tlb_flush_pending: at("mm_struct", &["tlb_flush_pending"])?,
            },
            area: AreaLayout {
                size: size(profile, "vm_area_struct")?,
                start: at("vm_area_struct", &["vm_start"])?,
                end: at("vm_area_struct", &["vm_end"])?,
                flags: at("vm_area_struct", &["vm_flags"])?,
                page_offset: at("vm_area_struct", &["vm_pgoff"])?,
                file: at("vm_area_struct", &["vm_file"])?,
                operations: at("vm_area_struct", &["vm_ops"])?,
                mm: at("vm_area_struct", &["vm_mm"])?,
            },
            maple: MapleLayout {
                range: range_node(profile)?,
                arange: arange_node(profile)?,
            },
            path: PathLayout {
                file_mount: at("file", &["f_path", "mnt"])?,
                file_dentry: at("file", &["f_path", "dentry"])?,
                file_inode: at("file", &["f_inode"])?,
                inode_superblock: at("inode", &["i_sb"])?,
                dentry_size: size(profile, "dentry")?,
                dentry_unhashed: at("dentry", &["d_hash", "pprev"])?,
                dentry_parent: at("dentry", &["d_parent"])?,
                dentry_name: at("dentry", &["d_name", "name"])?,
                dentry_name_length: at("dentry", &["d_name", "len"])?,
                mount_size: size(profile, "mount")?,
                mount_vfsmount: at("mount", &["mnt"])?,
                mount_root: at("mount", &["mnt", "mnt_root"])?,
                mount_parent: at("mount", &["mnt_parent"])?,
                mount_point: at("mount", &["mnt_mountpoint"])?,
                mount_namespace: at("mount", &["mnt_ns"])?,
            },
        })
    }
}

fn offset(
    profile: &KernelProfile,
    structure: &'static str,
    path: &[&str],
) -> Result<u64, LayoutError> {
    profile
        .offset(structure, path)
        .ok_or_else(|| LayoutError::Member {
            structure,
            member: path.join("."),
        })
}

/// Size of a structure that is copied whole.
fn size(profile: &KernelProfile, structure: &'static str) -> Result<usize, LayoutError> {
    profile
        .size_of(structure)
        .and_then(|size| usize::try_from(size).ok())
        .filter(|size| *size <= RECORD)
        .ok_or_else(|| LayoutError::Member {
            structure,
            member: "(size)".into(),
        })
}

fn range_node(profile: &KernelProfile) -> Result<NodeLayout, LayoutError> {
    let pivots = offset(profile, "maple_range_64", &["pivot"])?;
    let slots = offset(profile, "maple_range_64", &["slot"])?;
    node("maple_range_64", pivots, slots, MAPLE_NODE as u64)
}

fn arange_node(profile: &KernelProfile) -> Result<NodeLayout, LayoutError> {
    let pivots = offset(profile, "maple_arange_64", &["pivot"])?;
    let slots = offset(profile, "maple_arange_64", &["slot"])?;
    let gaps = offset(profile, "maple_arange_64", &["gap"])?;
    node("maple_arange_64", pivots, slots, gaps)
}

/// The arrays follow one another, so that their lengths follow from where the next one begins.
fn node(
    structure: &'static str,
    pivots: u64,
    slots: u64,
    slots_end: u64,
) -> Result<NodeLayout, LayoutError> {
    let words = |from: u64, to: u64| to.checked_sub(from).map(|bytes| bytes / 8);
    match (words(pivots, slots), words(slots, slots_end)) {
        (Some(pivot_count), Some(slot_count))
            if slot_count == pivot_count + 1 && slots_end <= MAPLE_NODE as u64 =>
        {
            Ok(NodeLayout {
                pivots,
                pivot_count,
                slots,
                slot_count,
            })
        }
        _ => Err(LayoutError::Member {
            structure,
            member: "slot".into(),
        }),
    }
}
