//! Kernels of Debian beside the guest image's, for the tests of what is read of a kernel from outside.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::progress::step;
use crate::{artifacts, sh};

const SUITE: &str = "bookworm";
const SOURCES: [&str; 3] = [
    "deb http://deb.debian.org/debian bookworm main",
    "deb http://deb.debian.org/debian-security bookworm-security main",
    "deb http://deb.debian.org/debian bookworm-backports main",
];
/// The kernel for all machines, and a newer one for clouds.
const PACKAGES: &str = "linux-image-amd64,linux-image-cloud-amd64/bookworm-backports";

/// The bzImages.
pub(crate) struct Kernels {
    /// Of the suite's `linux-image-amd64`.
    pub(crate) generic: PathBuf,
    /// Of the backports' `linux-image-cloud-amd64`.
    pub(crate) backports: PathBuf,
}

/// Fetches them, once.
pub(crate) fn ensure() -> Result<Kernels> {
    let folder = artifacts::ensure("kernels", &(SUITE, SOURCES, PACKAGES), |folder| {
        step("Debian's other kernels (once)", || make(folder))
    })?;
    Ok(Kernels {
        generic: folder.join("generic"),
        backports: folder.join("backports"),
    })
}

/// Packages are unpacked, not installed: nothing of them is run.
fn make(folder: &Path) -> Result<()> {
    let root = folder.join("root");
    sh::quiet(
        sh::mmdebstrap()
            .args(["--variant=extract", "--format=directory"])
            .arg(format!("--include={PACKAGES}"))
            .arg(SUITE)
            .arg(&root)
            .args(SOURCES),
    )?;
    for image in fs::read_dir(root.join("boot"))?.flatten() {
        let name = image.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("vmlinuz-") {
            continue;
        }
        let kept = if name.contains("cloud") {
            "backports"
        } else {
            "generic"
        };
        fs::copy(image.path(), folder.join(kept))?;
    }
    for kept in ["generic", "backports"] {
        fs::metadata(folder.join(kept)).with_context(|| format!("no {kept} kernel came"))?;
    }
    Ok(fs::remove_dir_all(&root)?)
}
