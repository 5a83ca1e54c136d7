//! Archives in the format that a kernel unpacks as its first file system: cpio's "newc" (Documentation/driver-api/early-userspace/
//! buffer-format.rst). What one is made of is all that decides its bytes: no times, no owners, no inode numbers of the machine's.

use anyhow::{Context, Result, ensure};

/// An archive that is being made.
#[derive(Default)]
pub(crate) struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_444;
const PROGRAM: u32 = 0o100_555;
const CHARACTER_DEVICE: u32 = 0o020_600;

impl Cpio {
    /// Adds a folder.
    pub(crate) fn folder(&mut self, name: &str) -> Result<()> {
        self.entry(name, FOLDER, (0, 0), &[])
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, name: &str, contents: &[u8]) -> Result<()> {
        self.entry(name, FILE, (0, 0), contents)
    }

    /// Adds a program.
    pub(crate) fn program(&mut self, name: &str, contents: &[u8]) -> Result<()> {
        self.entry(name, PROGRAM, (0, 0), contents)
    }

    /// Adds a character device.
    pub(crate) fn device(&mut self, name: &str, number: (u32, u32)) -> Result<()> {
        self.entry(name, CHARACTER_DEVICE, number, &[])
    }

    /// The archive. Its length is a multiple of four, so that another one may follow it.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.entries = 0;
        self.head("TRAILER!!!", 0, (0, 0), 0)?;
        Ok(self.bytes)
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) -> Result<()> {
        ensure!(!name.starts_with('/'), "{name} begins with a slash");
        self.entries += 1;
        self.head(name, mode, device, data.len())?;
        self.bytes.extend_from_slice(data);
        self.pad();
        Ok(())
    }

    fn head(&mut self, name: &str, mode: u32, device: (u32, u32), size: usize) -> Result<()> {
        let size = u32::try_from(size).with_context(|| format!("{name} is too large"))?;
        let length = u32::try_from(name.len() + 1)?;
        let (inode, links) = (self.entries, u32::from(mode != 0));
        self.bytes.extend_from_slice(b"070701");
        // Inode, mode, owner, group, links, time, size, device of the file, device that it is, length of the name, checksum.
        for field in [
            inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, length, 0,
        ] {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut cpio = Cpio::default();
        cpio.folder("dev").unwrap();
        cpio.device("dev/console", (5, 1)).unwrap();
        cpio.program("init", b"program").unwrap();
        cpio.finish().unwrap()
    }

    #[test]
    fn the_same_contents_are_the_same_bytes() {
        assert_eq!(archive(), archive());
        assert_eq!(archive().len() % 4, 0);
    }

    /// As cpio(1) writes it, owners and times left out.
    #[test]
    fn an_entry_is_as_the_kernel_reads_it() {
        let mut cpio = Cpio::default();
        cpio.file("a", b"xyz").unwrap();
        let expected = concat!(
            "070701", "00000001", "00008124", "00000000", "00000000", "00000001", "00000000",
            "00000003", "00000000", "00000000", "00000000", "00000000", "00000002", "00000000",
            "a\0xyz\0",
        );
        assert_eq!(cpio.bytes, expected.as_bytes());
    }

    #[test]
    fn what_the_kernel_would_not_put_beneath_its_root_is_refused() {
        Cpio::default().file("/init", b"").unwrap_err();
    }
}
