//! The image as the kernel gets it: the measured one, and behind it the measured configuration as an archive of one file, since the
//! image is the same for every fleet and the configuration is not. It is sealed, so that nobody changes it between two starts.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, memfd_create};

/// Where the enclave looks for its configuration.
const NAME: &str = "config.yaml";

/// Makes it.
pub fn sealed(image: &[u8], configuration: &[u8]) -> io::Result<File> {
    let padding = image.len().next_multiple_of(4) - image.len();
    let padding = [0; 3].get(..padding).unwrap_or_default().to_vec();
    sealed_copy(&[image, &padding, &archive(configuration)?])
}

/// These bytes in a memory file, which QEMU may open by its descriptor's path whatever else Landlock keeps from it.
pub fn sealed_copy(parts: &[&[u8]]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("bartizan-enclave", flags)?);
    for part in parts {
        file.write_all(part)?;
    }
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    // QEMU's user opens it through /proc/self/fd, which asks the inode's mode.
    fchmod(&file, Mode::from_raw_mode(0o444))?;
    Ok(file)
}

/// An archive in the kernel's format (buffer-format.rst, "newc") of the configuration alone.
fn archive(configuration: &[u8]) -> io::Result<Vec<u8>> {
    let size = u32::try_from(configuration.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = Vec::new();
    entry(&mut bytes, NAME, 0o100_444, size);
    bytes.extend_from_slice(configuration);
    pad(&mut bytes);
    entry(&mut bytes, "TRAILER!!!", 0, 0);
    Ok(bytes)
}

fn entry(bytes: &mut Vec<u8>, name: &str, mode: u32, size: u32) {
    // INVARIANT: names are the two above.
    let length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
    bytes.extend_from_slice(b"070701");
    for field in [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, length, 0] {
        bytes.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    pad(bytes);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_configuration_follows_the_image_and_neither_changes() {
        let file = sealed(b"12345", b"fleet_ca: x\n").unwrap();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mut all = Vec::new();
        File::open(&path).unwrap().read_to_end(&mut all).unwrap();
        assert!(all.starts_with(b"12345\0\0\x00070701"));
        assert_eq!(all.len() % 4, 0);
        let text = String::from_utf8(all).unwrap();
        assert!(text.contains("config.yaml\0\0\0fleet_ca: x\n"));
        let again = sealed(b"12345", b"fleet_ca: x\n").unwrap();
        (&again).write_all(b"x").unwrap_err();
    }
}
