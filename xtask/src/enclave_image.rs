//! The enclave's image: what its kernel unpacks, and that kernel. Two builds from the same sources have one digest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cpio::Cpio;
use crate::progress::step;
use crate::sh;

/// The drivers that the program loads, and the folders of the kernel's package that have them.
const MODULES: &[(&str, &str)] = &[
    ("virtio", "virtio_ring"),
    ("virtio", "virtio"),
    ("virtio", "virtio_pci_legacy_dev"),
    ("virtio", "virtio_pci_modern_dev"),
    ("virtio", "virtio_pci"),
    ("char", "virtio_console"),
];

/// Where the kernel's package is among the guest image's.
const KERNEL_PACKAGE: &str = "linux-image-6";

/// Makes `kernel` and `image` in a folder, of the program and the kernel of the guest image. What is there already is replaced.
///
/// The image is the same for a kernel that has its drivers built in, which leaves these unloaded.
pub(crate) fn make(program: &Path, guest_image: &Path, folder: &Path) -> Result<()> {
    step("the enclave's image", || {
        fs::create_dir_all(folder)?;
        let unpacked = folder.join("kernel.unpacked");
        if !unpacked.exists() {
            let package = package(&guest_image.join("debs"))?;
            let partial = folder.join("kernel.partial");
            sh::quiet(
                sh::command("dpkg-deb")
                    .arg("--extract")
                    .arg(package)
                    .arg(&partial),
            )?;
            fs::rename(&partial, &unpacked)?;
        }
        let image = image(program, &drivers(&unpacked)?)?;
        fs::write(folder.join("image"), image)?;
        fs::copy(guest_image.join("vmlinuz"), folder.join("kernel"))?;
        Ok(())
    })
}

/// Makes the same of what there is in another folder, with another kernel.
pub(crate) fn with_kernel(kernel: &Path, other: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::copy(other.join("image"), folder.join("image"))?;
    fs::copy(kernel, folder.join("kernel"))?;
    Ok(())
}

fn package(debs: &Path) -> Result<PathBuf> {
    let packages = fs::read_dir(debs)?.filter_map(Result::ok);
    let named = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        name.to_str()
            .is_some_and(|name| name.starts_with(KERNEL_PACKAGE))
    };
    let mut kernels = packages.filter(named).map(|entry| entry.path());
    kernels
        .next()
        .context("the guest image has no kernel package")
}

/// The folder of drivers in an unpacked package of a kernel.
fn drivers(unpacked: &Path) -> Result<PathBuf> {
    let modules = unpacked.join("lib/modules");
    let mut versions = fs::read_dir(&modules)?.filter_map(Result::ok);
    let version = versions.next().context("the package has no modules")?;
    Ok(version.path().join("kernel/drivers"))
}

fn image(program: &Path, drivers: &Path) -> Result<Vec<u8>> {
    let mut cpio = Cpio::default();
    for name in ["dev", "modules", "proc", "sys"] {
        cpio.folder(name)?;
    }
    // For what is said before anything is mounted.
    cpio.device("dev/console", (5, 1))?;
    for (folder, name) in MODULES {
        let path = drivers.join(folder).join(name).with_extension("ko");
        let driver = fs::read(&path).with_context(|| format!("no driver {}", path.display()))?;
        cpio.file(&format!("modules/{name}.ko"), &driver)?;
    }
    cpio.program("init", &fs::read(program)?)?;
    cpio.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_builds_are_one_image() {
        let folder = tempfile();
        let drivers = folder.join("drivers");
        for (kind, name) in MODULES {
            fs::create_dir_all(drivers.join(kind)).unwrap();
            fs::write(drivers.join(kind).join(format!("{name}.ko")), name).unwrap();
        }
        let program = folder.join("bartizan-enclave");
        fs::write(&program, "program").unwrap();
        let first = image(&program, &drivers).unwrap();
        // Whenever its parts were written.
        fs::write(&program, "program").unwrap();
        assert!(image(&program, &drivers).unwrap() == first);
        fs::write(&program, "another").unwrap();
        assert!(image(&program, &drivers).unwrap() != first);
        fs::remove_dir_all(folder).unwrap();
    }

    fn tempfile() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("enclave-image-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }
}
