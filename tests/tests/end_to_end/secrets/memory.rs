//! The memory of a process, as root can read it: all that a core dump would have, and what mappings a dump leaves out.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use bartizan_tests::process::Process;

use super::forms::Needles;

/// What came of a search.
pub(super) struct Searched {
    /// The keys that were found, by their number.
    pub(super) found: BTreeSet<usize>,
    /// How much was read.
    pub(super) bytes: u64,
}

/// A mapping that can be read.
pub(super) struct Mapping {
    address: u64,
    length: u64,
    /// Whether it can be written, too.
    pub(super) writable: bool,
}

/// Searches everything that a process can read of itself.
pub(super) fn search(process: Process, needles: &Needles) -> Result<Searched> {
    let memory = open(process)?;
    let mut searched = Searched {
        found: BTreeSet::new(),
        bytes: 0,
    };
    for mapping in mappings(process)? {
        let mut window = Window::of(&memory, &mapping);
        searched.found.extend(needles.search(&mut window)?);
        searched.bytes += window.read;
    }
    Ok(searched)
}

/// What a mapping holds.
pub(super) fn contents(memory: &File, mapping: &Mapping) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Window::of(memory, mapping).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn open(process: Process) -> Result<File> {
    let path = format!("/proc/{}/mem", process.pid());
    File::open(&path).with_context(|| format!("{path} cannot be opened; the tests want root"))
}

/// All that can be read, but what the kernel alone writes.
pub(super) fn mappings(process: Process) -> Result<Vec<Mapping>> {
    let listed = fs::read_to_string(format!("/proc/{}/maps", process.pid()))?;
    let mut mappings = Vec::new();
    for line in listed.lines() {
        // proc_pid_maps(5): address perms offset dev inode pathname
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let name = fields.nth(3).unwrap_or("");
        let of_kernel = ["[vvar]", "[vvar_vclock]", "[vsyscall]"].contains(&name);
        if of_kernel || !rights.starts_with('r') {
            continue;
        }
        let (first, end) = range.split_once('-').context("a range")?;
        let [first, end] = [first, end].map(|number| u64::from_str_radix(number, 16));
        let (address, end) = (first?, end?);
        mappings.push(Mapping {
            address,
            length: end - address,
            writable: rights.contains('w'),
        });
    }
    Ok(mappings)
}

/// Reads a mapping from its beginning on.
struct Window<'m> {
    memory: &'m File,
    at: u64,
    left: u64,
    read: u64,
}

impl<'m> Window<'m> {
    const fn of(memory: &'m File, mapping: &Mapping) -> Self {
        Self {
            memory,
            at: mapping.address,
            left: mapping.length,
            read: 0,
        }
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        match self.memory.read_at(&mut buffer[..most], self.at) {
            // Beyond a file's end, or unmapped since; what was read in all is looked at later.
            Err(_) | Ok(0) => {
                self.left = 0;
                Ok(0)
            }
            Ok(read) => {
                self.at += read as u64;
                self.left -= read as u64;
                self.read += read as u64;
                Ok(read)
            }
        }
    }
}
