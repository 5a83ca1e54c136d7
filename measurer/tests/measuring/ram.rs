//! Guest RAM made by hand: a sealed memfd.

use std::fs::File;
use std::os::unix::fs::FileExt;

use bartizan_attestation::host::RamRange;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

pub(crate) const MIB: u64 = 1 << 20;
/// Where RAM goes on above the PCI hole.
pub(crate) const HIGH: u64 = 4 << 30;

/// 2 MiB below the PCI hole and 2 MiB above it; byte `i` of page `p` of the file is `31 p + i`.
pub(crate) struct Ram {
    pub(crate) file: File,
    pub(crate) ranges: Vec<RamRange>,
    pub(crate) bytes: Vec<u8>,
}

impl Ram {
    pub(crate) fn new() -> Self {
        let size = 4 * MIB;
        let bytes: Vec<u8> = (0..size)
            .map(|at| (31 * (at >> 12) + at).to_le_bytes()[0])
            .collect();
        let memfd = memfd_create("ram", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        let file = File::from(memfd);
        file.write_all_at(&bytes, 0).unwrap();
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        let ranges = vec![
            RamRange {
                address: 0,
                size: 2 * MIB,
                file_offset: 0,
            },
            RamRange {
                address: HIGH,
                size: 2 * MIB,
                file_offset: 2 * MIB,
            },
        ];
        Self {
            file,
            ranges,
            bytes,
        }
    }
}
