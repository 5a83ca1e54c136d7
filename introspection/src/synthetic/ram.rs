//! RAM in which the kernel runs, moved by KASLR.

use bartizan_guest_memory::walk::Levels;
use bartizan_guest_memory::{Gpa, NotRam, PhysicalMemory, RamSpan};

use super::{BANNER, RODATA, TEXT};
use crate::vmlinux::START_KERNEL_MAP;

/// Distances from `_text`.
pub(crate) mod landmark {
    pub(crate) const PHYS_BASE: u64 = 0x14_0000;
    pub(crate) const SYSTEM_STATE: u64 = 0x14_0100;
    pub(crate) const TOP_TABLE: u64 = 0x15_0000;
}

/// Two pieces of RAM with a hole between: 16 MiB at 0 and 16 MiB at 4 GiB.
pub(crate) struct RunningKernel {
    low: Vec<u8>,
    high: Vec<u8>,
}

const SIZE: usize = 16 << 20;
pub(crate) const HIGH: u64 = 4 << 30;

impl RunningKernel {
    /// Empty RAM.
    pub(crate) fn nowhere() -> Self {
        Self {
            low: vec![0; SIZE],
            high: vec![0; SIZE],
        }
    }

    /// The kernel at `text`, its addresses moved by `slide`.
    pub(crate) fn at(text: u64, slide: u64, levels: Levels) -> Self {
        let mut ram = Self::nowhere();
        ram.add(text, slide, levels);
        ram
    }

    /// One more kernel.
    pub(crate) fn add(&mut self, text: u64, slide: u64, levels: Levels) {
        self.write(text + (RODATA - TEXT), BANNER.as_bytes());
        let virtual_text = TEXT + slide;
        self.word(
            text + landmark::PHYS_BASE,
            text.wrapping_sub(virtual_text - START_KERNEL_MAP),
        );
        self.word(text + landmark::SYSTEM_STATE, 3);
        let mut table = text + landmark::TOP_TABLE;
        // The top one or two levels are reached by their last entry, the third by its last but one.
        for index in [511, 511, 510]
            .iter()
            .skip(usize::from(levels == Levels::Four))
        {
            self.word(table + index * 8, table + 0x1003);
            table += 0x1000;
        }
        let first = (virtual_text >> 21) & 0x1ff;
        for page in 0..4 {
            self.word(table + (first + page) * 8, (text + (page << 21)) | 0x83);
        }
    }

    pub(crate) fn word(&mut self, at: u64, word: u64) {
        self.write(at, &word.to_le_bytes());
    }

    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        let (piece, start) = match at.checked_sub(HIGH) {
            Some(inside) => (&mut self.high, inside),
            None => (&mut self.low, at),
        };
        let start = usize::try_from(start).unwrap();
        piece[start..start + bytes.len()].copy_from_slice(bytes);
    }
}

impl PhysicalMemory for RunningKernel {
    fn read(&self, at: Gpa, buf: &mut [u8]) -> Result<(), NotRam> {
        let (piece, start) = match at.0.checked_sub(HIGH) {
            Some(inside) => (&self.high, inside),
            None => (&self.low, at.0),
        };
        let start = usize::try_from(start).unwrap();
        let end = start.saturating_add(buf.len());
        buf.copy_from_slice(piece.get(start..end).ok_or(NotRam { at })?);
        Ok(())
    }

    fn spans(&self) -> Vec<RamSpan> {
        let size = SIZE as u64;
        [0, HIGH]
            .map(|start| RamSpan {
                start: Gpa(start),
                size,
            })
            .to_vec()
    }
}
