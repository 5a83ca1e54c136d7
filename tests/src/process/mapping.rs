//! One line of /proc/PID/maps.

use anyhow::{Context, Result};

/// A mapping (proc_pid_maps(5): address perms offset dev inode pathname).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    start: u64,
    end: u64,
    /// `rwx`, and `p` of one that is private or `s` of one that is shared.
    pub permissions: String,
    /// The inode number of its file; 0 of none.
    pub inode: u64,
    /// The file's path, or what the kernel calls it; nothing of a nameless one.
    pub path: String,
}

impl Mapping {
    /// Reads a line.
    pub fn read(line: &str) -> Result<Self> {
        let mut fields = line.splitn(6, ' ');
        let mut next = || fields.next().with_context(|| format!("no mapping: {line}"));
        let (addresses, permissions, _offset, _device) = (next()?, next()?, next()?, next()?);
        let inode = next()?.parse()?;
        let path = fields.next().unwrap_or_default().trim_start().to_owned();
        let (start, end) = addresses.split_once('-').context("two addresses")?;
        let address = |hexadecimal| u64::from_str_radix(hexadecimal, 16);
        Ok(Self {
            start: address(start)?,
            end: address(end)?,
            permissions: permissions.to_owned(),
            inode,
            path,
        })
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.end - self.start
    }
}
