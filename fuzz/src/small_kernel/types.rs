//! The kernel's types: of each structure that readers follow the members that they look at.

use super::btf::BtfBuilder;

/// The `.BTF` section; offsets of members are in bytes.
#[must_use]
pub fn types() -> Vec<u8> {
    let mut btf = BtfBuilder::default();
    let int = btf.int("unsigned int", 4);
    let long = btf.int("unsigned long", 8);
    let pointer = btf.pointer(0);
    let name = btf.array(int, 4);
    let pivots = btf.array(long, 15);
    let wide_pivots = btf.array(long, 9);
    let slots = btf.array(pointer, 16);
    let wide_slots = btf.array(pointer, 10);
    let pair = |btf: &mut BtfBuilder, names: [&str; 2]| {
        let members = [(names[0], pointer, 0, 0), (names[1], pointer, 64, 0)];
        btf.structure("", 16, &members)
    };
    let list = pair(&mut btf, ["next", "prev"]);
    let path = pair(&mut btf, ["mnt", "dentry"]);
    let hash = pair(&mut btf, ["next", "pprev"]);
    let tree = btf.structure("", 8, &[("ma_root", pointer, 0, 0)]);
    let context = btf.structure("", 8, &[("vdso", pointer, 0, 0)]);
    let string = btf.structure("", 16, &[("len", int, 32, 0), ("name", pointer, 64, 0)]);
    let vfsmount = btf.structure("vfsmount", 8, &[("mnt_root", pointer, 0, 0)]);
    for (structure, members) in [
        (
            "task_struct",
            [
                ("flags", int, 0),
                ("tgid", int, 4),
                ("mm", pointer, 8),
                ("tasks", list, 16),
                ("start_time", long, 32),
                ("comm", name, 40),
                // Within the structure's 64 bytes, over what no reader of this kernel needs apart.
                ("signal", pointer, 56),
                ("thread_node", list, 16),
            ]
            .as_slice(),
        ),
        (
            "mm_struct",
            &[
                ("mm_mt", tree, 0),
                ("pgd", pointer, 8),
                ("exe_file", pointer, 16),
                ("context", context, 24),
                ("tlb_flush_pending", int, 32),
            ],
        ),
        (
            "vm_area_struct",
            &[
                ("vm_start", long, 0),
                ("vm_end", long, 8),
                ("vm_mm", pointer, 16),
                ("vm_flags", long, 24),
                ("vm_pgoff", long, 32),
                ("vm_file", pointer, 40),
                ("vm_ops", pointer, 48),
            ],
        ),
        (
            "maple_range_64",
            &[("pivot", pivots, 8), ("slot", slots, 128)],
        ),
        (
            "maple_arange_64",
            &[
                ("pivot", wide_pivots, 8),
                ("slot", wide_slots, 80),
                ("gap", wide_slots, 160),
            ],
        ),
        ("signal_struct", &[("thread_head", list, 0)]),
        ("file", &[("f_path", path, 0), ("f_inode", pointer, 16)]),
        ("inode", &[("i_sb", pointer, 0)]),
        (
            "dentry",
            &[
                ("d_hash", hash, 0),
                ("d_parent", pointer, 16),
                ("d_name", string, 24),
            ],
        ),
        (
            "mount",
            &[
                ("mnt_parent", pointer, 0),
                ("mnt_mountpoint", pointer, 8),
                ("mnt", vfsmount, 16),
                ("mnt_ns", pointer, 24),
            ],
        ),
    ] {
        let members: Vec<_> = members
            .iter()
            .map(|&(name, of, offset)| (name, of, 8 * offset, 0))
            .collect();
        btf.structure(structure, 64, &members);
    }
    let states = [("SYSTEM_BOOTING", 0), ("SYSTEM_RUNNING", 3)];
    btf.enumeration("system_states", &states);
    btf.section()
}
