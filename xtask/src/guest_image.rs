//! A real Debian guest: root file system with systemd and nginx from Debian's packages, its kernel and
//! initrd, and the very `.deb` files that were installed, from which profiles are computed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::progress::step;
use crate::{artifacts, sh};

const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd-sysv,nginx-light,linux-image-cloud-amd64,initramfs-tools,kmod,zstd,iproute2,iputils-ping,\
    curl,dnsmasq-base,iperf3,ldnsutils,nftables,nmap,openssh-client,openssh-server";
const CUSTOMIZE: &str = include_str!("../guest-image/customize.sh");
const DISK_SIZE: &str = "2G";

/// Where the parts of the guest lie: `disk.img`, `vmlinuz`, `initrd.img`, `debs/`.
pub(crate) fn ensure() -> Result<PathBuf> {
    let recipe = (SUITE, PACKAGES, CUSTOMIZE, DISK_SIZE);
    artifacts::ensure("guest", &recipe, |folder| {
        step(
            "guest image: Debian with nginx (once, about a minute)",
            || make(folder),
        )
    })
}

fn make(folder: &Path) -> Result<()> {
    let root = folder.join("root");
    let hook = folder.join("customize.sh");
    fs::write(&hook, CUSTOMIZE)?;
    let debs = folder.join("debs");
    fs::create_dir_all(&debs)?;
    sh::quiet(
        sh::mmdebstrap()
            .args(["--variant=minbase", "--format=directory"])
            // Keeps the packages of the essential set too, until the hook has copied them out.
            .arg("--skip=essential/unlink")
            .arg(format!("--include={PACKAGES}"))
            .args(
                ["/usr/share/man", "/usr/share/doc", "/usr/share/locale"]
                    .map(|path| format!("--dpkgopt=path-exclude={path}/*")),
            )
            .arg(format!("--customize-hook=sh {} \"$1\"", hook.display()))
            .arg(format!(
                "--customize-hook=cp \"$1\"/var/cache/apt/archives/*.deb {}",
                debs.display()
            ))
            .arg(SUITE)
            .arg(&root),
    )?;
    for (link, name) in [("vmlinuz", "vmlinuz"), ("initrd.img", "initrd.img")] {
        fs::copy(root.join(link), folder.join(name))
            .with_context(|| format!("the guest has no /{link}"))?;
    }
    sh::quiet(
        sh::command("mke2fs")
            .args(["-q", "-t", "ext4", "-d"])
            .arg(&root)
            .arg(folder.join("disk.img"))
            .arg(DISK_SIZE),
    )?;
    fs::remove_dir_all(&root)?;
    Ok(())
}

/// A small read-only disk with the guest's programs in `bin/`.
pub(crate) fn program_disk(programs: &[PathBuf], target: &Path) -> Result<()> {
    let staging = target.with_extension("staging");
    if staging.exists() {
        fs::remove_dir_all(&staging)?;
    }
    let bin = staging.join("bin");
    fs::create_dir_all(&bin)?;
    for program in programs {
        let name = program.file_name().context("a program has a name")?;
        fs::copy(program, bin.join(name))
            .with_context(|| format!("could not copy {}", program.display()))?;
    }
    let partial = target.with_extension("partial");
    fs::remove_file(&partial).ok();
    sh::quiet(
        sh::command("mke2fs")
            .args(["-q", "-t", "ext4", "-d"])
            .arg(&staging)
            .arg(&partial)
            .arg("64M"),
    )?;
    fs::rename(&partial, target)?;
    fs::remove_dir_all(&staging)?;
    Ok(())
}
