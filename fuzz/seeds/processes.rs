//! A kernel's objects: `init_task`, and a process of three mappings. Offsets are those of the small kernel's types.

use bartizan_fuzz::small_kernel::TEXT;

use crate::Seed;

/// Where objects lie. Memory repeats every 64 KiB, so that this and [`TEXT`] share their bytes.
const BASE: u64 = 0xffff_8880_0000_0000;
const INIT_TASK: u64 = TEXT + 0x40;
const TASK: u64 = BASE + 0x80;
const MM: u64 = BASE + 0xc0;
const FILE: u64 = BASE + 0xe0;
const ROOT: u64 = BASE + 0x100;
const LEAF: u64 = BASE + 0x200;
const AREAS: u64 = BASE + 0x300;
const MOUNTS: [u64; 2] = [BASE + 0x3c0, BASE + 0x3e0];
const DENTRIES: [u64; 5] = [
    BASE + 0x400,
    BASE + 0x440,
    BASE + 0x480,
    BASE + 0x4c0,
    BASE + 0x500,
];
/// A second process of the same program.
const SECOND_TASK: u64 = BASE + 0x540;
const SECOND_MM: u64 = BASE + 0x580;
const END: usize = 0x5a0;
const SPECIAL: u64 = TEXT + 0x900;
const VDSO: u64 = 0x7fff_0000_0000;

pub(crate) fn seeds() -> Vec<Seed> {
    let process = kernel(&[(TASK, MM, 42)]);
    let instances = kernel(&[(TASK, MM, 42), (SECOND_TASK, SECOND_MM, 43)]);
    vec![
        ("kernel_objects", "process", process.0),
        ("kernel_objects", "instances", instances.0),
    ]
}

/// A kernel with processes of one program: task, address space and pid of each.
fn kernel(processes: &[(u64, u64, u32)]) -> Kernel {
    let mut kernel = Kernel(vec![0; END]);
    kernel.tasks(processes);
    kernel.mappings();
    kernel.file();
    kernel
}

struct Kernel(Vec<u8>);

impl Kernel {
    fn put(&mut self, at: u64, bytes: &[u8]) {
        let start = usize::try_from(at & 0xffff).unwrap();
        self.0[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn words(&mut self, at: u64, words: &[u64]) {
        for (at, word) in (at..).step_by(8).zip(words) {
            self.put(at, &word.to_le_bytes());
        }
    }

    fn tasks(&mut self, processes: &[(u64, u64, u32)]) {
        let tasks: Vec<_> = [INIT_TASK]
            .into_iter()
            .chain(processes.iter().map(|(task, ..)| *task))
            .collect();
        for (index, task) in tasks.iter().enumerate() {
            let next = tasks[(index + 1) % tasks.len()];
            let before = tasks[(index + tasks.len() - 1) % tasks.len()];
            self.words(task + 16, &[next + 16, before + 16, 7_000]);
        }
        for (task, mm, pid) in processes {
            self.put(task + 4, &pid.to_le_bytes());
            self.words(task + 8, &[*mm]);
            self.put(task + 40, b"ledger\0");
            self.words(*mm, &[ROOT | 3 << 3 | 2, BASE, FILE, VDSO]);
        }
    }

    /// Text and data of one file, and the vdso, in a tree of one inner node and one leaf.
    fn mappings(&mut self) {
        self.words(ROOT + 8, &[u64::MAX]);
        self.words(ROOT + 80, &[LEAF | 1 << 3 | 4]);
        let areas = [
            [0x40_0000, 0x40_2000, MM, 5, 3, FILE, 0],
            [0x40_2000, 0x40_3000, MM, 3, 0, 0, 0],
            [VDSO, VDSO + 0x2000, MM, 5, 0, 0, SPECIAL],
        ];
        let (mut slot, mut free_from) = (0, 0);
        for (area, at) in areas.iter().zip((AREAS..).step_by(64)) {
            self.words(at, area);
            let gap = (area[0] > free_from).then_some((area[0] - 1, 0));
            for (last, pointer) in gap.into_iter().chain([(area[1] - 1, at)]) {
                self.words(LEAF + 8 + 8 * slot, &[last]);
                self.words(LEAF + 128 + 8 * slot, &[pointer]);
                slot += 1;
            }
            free_from = area[1];
        }
    }

    /// `/usr/sbin/ledger`, in a file system mounted over the root of the first one.
    fn file(&mut self) {
        let [first, second] = MOUNTS;
        let [first_root, root, usr, sbin, ledger] = DENTRIES;
        // Parent, place in the parent, root, namespace.
        self.words(first, &[first, 0, first_root, BASE]);
        self.words(second, &[first, first_root, root, BASE]);
        for (dentry, parent, name) in [
            (first_root, first_root, "/"),
            (root, root, "/"),
            (usr, root, "usr"),
            (sbin, usr, "sbin"),
            (ledger, sbin, "ledger"),
        ] {
            let hashed = if parent == dentry { 0 } else { dentry };
            self.words(
                dentry,
                &[0, hashed, parent, (name.len() as u64) << 32, dentry + 48],
            );
            self.put(dentry + 48, name.as_bytes());
        }
        // Mount, entry, inode; and the inode's file system, behind.
        self.words(FILE, &[second + 16, ledger, FILE + 24, BASE]);
    }
}
