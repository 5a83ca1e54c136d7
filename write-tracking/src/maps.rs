//! `/proc/PID/maps` (proc_pid_maps(5); fs/proc/task_mmu.c, `show_map_vma`): where a process has the RAM file.
//!
//! The text is the kernel's, of a process that may be hostile: it chooses how many mappings it has and what files are called. Of a
//! name the kernel escapes the end of a line (`seq_path`), so that no name makes a line; names are not looked at here. Which file
//! it is, its device and inode number say.
//!
//! What is refused is whatever would have writes go unseen: the file mapped twice, which the tracked one's page tables would not
//! tell; a private mapping, whose writes are not the guest's RAM.

use std::io::{self, Read};
use std::os::fd::AsFd;

use rustix::fs::{fstat, major, minor};

use crate::mapped::{Mapped, Mappings, OverlapError};
use crate::range::PAGE_SIZE;

/// Most bytes that are read.
const MAX_BYTES: usize = 16 << 20;

/// Most mappings that are looked at: as many as a process may have by default (vm.max_map_count, 65530), and a few.
const MAX_LINES: usize = 1 << 16;

/// Which file it is, whatever leads to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FileId {
    /// The major number of its device.
    pub major: u32,
    /// The minor number of its device.
    pub minor: u32,
    /// Its inode number.
    pub inode: u64,
}

impl FileId {
    /// The file that `file` is open on.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let status = fstat(file)?;
        Ok(Self {
            major: major(status.st_dev),
            minor: minor(status.st_dev),
            inode: status.st_ino,
        })
    }
}

/// Why a process cannot be tracked as it maps the RAM file.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// It cannot be read.
    #[error("the mappings cannot be read: {0}")]
    Read(#[from] io::Error),
    /// More than is looked at.
    #[error(
        "the process has more than {MAX_LINES} mappings, or more than {MAX_BYTES} bytes of them"
    )]
    TooMany,
    /// A line is not as the kernel writes it.
    #[error("line {0} of the mappings is not as Linux writes them")]
    Malformed(usize),
    /// The process does not map the file.
    #[error("the process does not map the RAM file")]
    NotMapped,
    /// A mapping whose writes do not get into the file.
    #[error("the RAM file is mapped privately at {0:#x}; map it shared (QEMU: share=on)")]
    Private(u64),
    /// A mapping that cannot be written to now; it may be later.
    #[error("the mapping of the RAM file at {0:#x} is not writable")]
    NotWritable(u64),
    /// Mappings contradict one another.
    #[error(transparent)]
    Overlap(#[from] OverlapError),
}

impl Mappings {
    /// Reads `/proc/PID/maps` from `maps`, and finds the mappings of `file`.
    ///
    /// # Errors
    ///
    /// [`MapsError`]: where any mapping of the file is not to be tracked, or there is none.
    pub fn read(maps: impl Read, file: FileId) -> Result<Self, MapsError> {
        let mut text = Vec::new();
        maps.take(MAX_BYTES as u64 + 1).read_to_end(&mut text)?;
        Self::parse(&text, file)
    }

    /// The same of its whole text.
    pub fn parse(text: &[u8], file: FileId) -> Result<Self, MapsError> {
        if text.len() > MAX_BYTES {
            return Err(MapsError::TooMany);
        }
        let mut found = Vec::new();
        let mut free_from = 0;
        for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if index >= MAX_LINES {
                return Err(MapsError::TooMany);
            }
            let malformed = || MapsError::Malformed(index + 1);
            let line = line
                .strip_suffix(b"\n")
                .and_then(Line::parse)
                // Also where it was read in pieces, while it changed (Documentation/filesystems/proc.rst).
                .filter(|line| line.start >= free_from)
                .ok_or_else(malformed)?;
            free_from = line.end;
            if line.file == file {
                found.push(line.mapped()?.ok_or_else(malformed)?);
            }
        }
        if found.is_empty() {
            return Err(MapsError::NotMapped);
        }
        Ok(Self::new(found)?)
    }
}

struct Line {
    start: u64,
    end: u64,
    writable: bool,
    shared: bool,
    offset: u64,
    file: FileId,
}

impl Line {
    /// `start-end perms offset major:minor inode`, a space, and a name, which may be empty and have spaces before it.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let (start, end) = halves(fields.next()?, b'-')?;
        let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
        let [
            b'r' | b'-',
            write @ (b'w' | b'-'),
            b'x' | b'-',
            share @ (b's' | b'p'),
        ] = fields.next()?
        else {
            return None;
        };
        let offset = hexadecimal(fields.next()?)?;
        let (major, minor) = halves(fields.next()?, b':')?;
        let file = FileId {
            major: u32::try_from(hexadecimal(major)?).ok()?,
            minor: u32::try_from(hexadecimal(minor)?).ok()?,
            inode: decimal(fields.next()?)?,
        };
        let _name = fields.next()?;
        let whole = start % PAGE_SIZE == 0 && end % PAGE_SIZE == 0;
        (whole && start < end).then_some(Self {
            start,
            end,
            writable: *write == b'w',
            shared: *share == b's',
            offset,
            file,
        })
    }

    /// A mapping of the RAM file; `None` where it is not of whole pages of it.
    fn mapped(&self) -> Result<Option<Mapped>, MapsError> {
        if !self.shared {
            return Err(MapsError::Private(self.start));
        }
        if !self.writable {
            return Err(MapsError::NotWritable(self.start));
        }
        Ok(Mapped::new(self.start, self.end - self.start, self.offset))
    }
}

fn halves(field: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let mut halves = field.splitn(2, |byte| *byte == at);
    Some((halves.next()?, halves.next()?))
}

/// Of the digits that the kernel writes: no sign, no capitals.
fn hexadecimal(field: &[u8]) -> Option<u64> {
    let right = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    number(field, right, 16)
}

fn decimal(field: &[u8]) -> Option<u64> {
    number(field, u8::is_ascii_digit, 10)
}

fn number(field: &[u8], right: impl Fn(&u8) -> bool, radix: u32) -> Option<u64> {
    if field.is_empty() || !field.iter().all(right) {
        return None;
    }
    u64::from_str_radix(str::from_utf8(field).ok()?, radix).ok()
}

#[cfg(test)]
mod tests;
