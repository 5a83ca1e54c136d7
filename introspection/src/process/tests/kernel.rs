//! A kernel's memory, made by hand.

use std::collections::BTreeMap;

use bartizan_guest_memory::walk::{Levels, Root};
use bartizan_guest_memory::{Gpa, Gva};

use crate::process::layout::{
    AreaLayout, MapleLayout, MmLayout, NodeLayout, PathLayout, ProcessLayout, TaskLayout,
};
use crate::process::view::KernelView;

const BASE: u64 = 0xffff_8880_0000_0000;
pub(super) const INIT_TASK: u64 = BASE;
pub(super) const TASK: u64 = BASE + 0x10_0000;
pub(super) const MM: u64 = BASE + 0x20_0000;
pub(super) const ROOT_NODE: u64 = BASE + 0x30_0000;
pub(super) const LEAF_NODE: u64 = BASE + 0x30_0100;
pub(super) const AREAS: u64 = BASE + 0x40_0000;
pub(super) const FILE: u64 = BASE + 0x50_0000;
pub(super) const DENTRIES: u64 = BASE + 0x60_0000;
pub(super) const MOUNTS: u64 = BASE + 0x70_0000;
pub(super) const SPECIAL_OPERATIONS: u64 = BASE + 0x80_0000;
pub(super) const NAMESPACE: u64 = BASE + 0x90_0000;

/// A layout in the manner of Linux 6.1, in round numbers.
pub(super) const LAYOUT: ProcessLayout = ProcessLayout {
    task: TaskLayout {
        tasks: 0x100,
        tgid: 0x20,
        mm: 0x30,
        comm: 0x40,
        start_time: 0x50,
        flags: 0x2c,
        signal: 0x60,
        thread_node: 0x70,
        thread_head: 0x10,
    },
    mm: MmLayout {
        pgd: 0x48,
        tree_root: 0x10,
        exe_file: 0x60,
        vdso: 0x70,
        tlb_flush_pending: 0x78,
    },
    area: AreaLayout {
        size: 0x60,
        start: 0,
        end: 8,
        flags: 0x20,
        page_offset: 0x28,
        file: 0x30,
        operations: 0x38,
        mm: 0x10,
    },
    maple: MapleLayout {
        range: NodeLayout {
            pivots: 8,
            pivot_count: 15,
            slots: 128,
            slot_count: 16,
        },
        arange: NodeLayout {
            pivots: 8,
            pivot_count: 9,
            slots: 80,
            slot_count: 10,
        },
    },
    path: PathLayout {
        file_mount: 0x10,
        file_dentry: 0x18,
        file_inode: 0x20,
        inode_superblock: 0x28,
        dentry_size: 0x40,
        dentry_unhashed: 0x10,
        dentry_parent: 0x18,
        dentry_name: 0x28,
        dentry_name_length: 0x24,
        mount_size: 0x60,
        mount_vfsmount: 0x20,
        mount_root: 0x20,
        mount_parent: 0x10,
        mount_point: 0x18,
        mount_namespace: 0x58,
    },
};

/// Bytes by page; absent pages are not mapped.
#[derive(Clone)]
pub(super) struct FakeKernel {
    pages: BTreeMap<u64, [u8; 4096]>,
}

impl FakeKernel {
    pub(super) const fn new() -> Self {
        Self {
            pages: BTreeMap::new(),
        }
    }

    pub(super) fn put<const N: usize>(&mut self, at: u64, bytes: [u8; N]) {
        self.put_bytes(at, &bytes);
    }

    pub(super) fn put_u64(&mut self, at: u64, value: u64) {
        self.put_bytes(at, &value.to_le_bytes());
    }

    pub(super) fn put_bytes(&mut self, at: u64, bytes: &[u8]) {
        for (address, byte) in (at..).zip(bytes) {
            let page = self.pages.entry(address & !0xfff).or_insert([0; 4096]);
            page[(address & 0xfff) as usize] = *byte;
        }
    }

    /// Every byte that is there, for damage.
    pub(super) fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        self.pages.iter().flat_map(|(page, bytes)| {
            bytes
                .iter()
                .zip(*page..)
                .filter(|(byte, _)| **byte != 0)
                .map(|(_, at)| at)
        })
    }

    pub(super) fn flip(&mut self, at: u64, bit: u8) {
        if let Some(page) = self.pages.get_mut(&(at & !0xfff)) {
            page[(at & 0xfff) as usize] ^= 1 << (bit & 7);
        }
    }

    /// The ring of `init_task` and these tasks.
    pub(super) fn task_ring(&mut self, tasks: &[(u64, u32)]) {
        let mut ring = vec![(INIT_TASK, 0)];
        ring.extend_from_slice(tasks);
        for (index, (task, pid)) in ring.iter().enumerate() {
            let next = ring[(index + 1) % ring.len()].0;
            self.put(task + LAYOUT.task.tgid, pid.to_le_bytes());
            self.put_u64(task + LAYOUT.task.tasks, next + LAYOUT.task.tasks);
            self.put_u64(next + LAYOUT.task.tasks + 8, task + LAYOUT.task.tasks);
        }
    }

    /// Task and address space: text and data of a file, and a vdso.
    pub(super) fn process(&mut self) {
        self.put_u64(TASK + LAYOUT.task.mm, MM);
        self.put_bytes(TASK + LAYOUT.task.comm, b"nginx\0");
        self.put_u64(TASK + LAYOUT.task.start_time, 7_000);
        self.put_u64(MM + LAYOUT.mm.pgd, BASE + 0xa0_0000);
        self.put_u64(MM + LAYOUT.mm.tree_root, ROOT_NODE | 3 << 3 | 2);
        self.put_u64(MM + LAYOUT.mm.exe_file, FILE);
        self.put_u64(MM + LAYOUT.mm.vdso, 0x7fff_0000_0000);
        self.file();

        // One inner node with one leaf.
        self.put_u64(ROOT_NODE + 8, u64::MAX);
        self.put_u64(ROOT_NODE + 80, LEAF_NODE | 1 << 3 | 4);
        let areas = [
            (0x40_0000, 0x40_2000, 5, 3, FILE, 0),
            (0x40_2000, 0x40_3000, 3, 0, 0, 0),
            (
                0x7fff_0000_0000,
                0x7fff_0000_2000,
                5,
                0x7_fff0,
                0,
                SPECIAL_OPERATIONS,
            ),
        ];
        self.leaf(LEAF_NODE, &areas);
    }

    /// A leaf with these areas and the gaps between them.
    pub(super) fn leaf(&mut self, node: u64, areas: &[(u64, u64, u64, u64, u64, u64)]) {
        let (mut slot, mut next) = (0, 0);
        let mut put = |kernel: &mut Self, last: u64, pointer: u64| {
            kernel.put_u64(node + 8 + 8 * slot, last);
            kernel.put_u64(node + 128 + 8 * slot, pointer);
            slot += 1;
        };
        for (index, (start, end, flags, page_offset, file, operations)) in areas.iter().enumerate()
        {
            if *start > next {
                put(self, start - 1, 0);
            }
            let area = AREAS + 0x100 * index as u64;
            put(self, end - 1, area);
            next = *end;
            let layout = &LAYOUT.area;
            for (offset, value) in [
                (layout.start, *start),
                (layout.end, *end),
                (layout.flags, *flags),
                (layout.page_offset, *page_offset),
                (layout.file, *file),
                (layout.operations, *operations),
                (layout.mm, MM),
            ] {
                self.put_u64(area + offset, value);
            }
        }
    }

    /// `/usr/sbin/nginx`, in a file system mounted over the root of the namespace's first one.
    pub(super) fn file(&mut self) {
        let (rootfs, real) = (MOUNTS, MOUNTS + 0x1000);
        let [rootfs_root, root, usr, sbin, nginx] = [0, 1, 2, 3, 4].map(|n| DENTRIES + 0x1000 * n);
        self.mount(rootfs, rootfs, rootfs_root, 0);
        self.mount(real, rootfs, root, rootfs_root);
        self.dentry(rootfs_root, rootfs_root, b"/");
        self.dentry(root, root, b"/");
        self.dentry(usr, root, b"usr");
        self.dentry(sbin, usr, b"sbin");
        self.dentry(nginx, sbin, b"nginx");
        self.open_file(FILE, real, nginx);
    }

    pub(super) fn open_file(&mut self, file: u64, mount: u64, dentry: u64) {
        self.put_u64(
            file + LAYOUT.path.file_mount,
            mount + LAYOUT.path.mount_vfsmount,
        );
        self.put_u64(file + LAYOUT.path.file_dentry, dentry);
    }

    pub(super) fn mount(&mut self, mount: u64, parent: u64, root: u64, mountpoint: u64) {
        self.put_u64(mount + LAYOUT.path.mount_parent, parent);
        self.put_u64(mount + LAYOUT.path.mount_root, root);
        self.put_u64(mount + LAYOUT.path.mount_point, mountpoint);
        self.put_u64(mount + LAYOUT.path.mount_namespace, NAMESPACE);
    }

    pub(super) fn dentry(&mut self, dentry: u64, parent: u64, name: &[u8]) {
        self.put_u64(dentry + LAYOUT.path.dentry_parent, parent);
        self.put_u64(
            dentry + LAYOUT.path.dentry_unhashed,
            if parent == dentry { 0 } else { dentry },
        );
        self.put_u64(dentry + LAYOUT.path.dentry_name, dentry + 0x100);
        self.put(
            dentry + LAYOUT.path.dentry_name_length,
            u32::try_from(name.len()).unwrap().to_le_bytes(),
        );
        self.put_bytes(dentry + 0x100, name);
    }
}

impl KernelView for FakeKernel {
    fn read(&self, at: Gva, into: &mut [u8]) -> Option<()> {
        for (index, byte) in into.iter_mut().enumerate() {
            let address = at.0.checked_add(index as u64)?;
            *byte = self.pages.get(&(address & !0xfff))?[(address & 0xfff) as usize];
        }
        Some(())
    }

    fn symbol(&self, name: &str) -> Option<Gva> {
        match name {
            "init_task" => Some(Gva(INIT_TASK)),
            "special_mapping_vmops" => Some(Gva(SPECIAL_OPERATIONS)),
            _ => None,
        }
    }

    fn user_root(&self, pgd: Gva) -> Option<Root> {
        Some(Root {
            table: Gpa(pgd.0.wrapping_sub(BASE)),
            levels: Levels::Four,
        })
    }
}
