//! The enclave's second kernel: Debian's source package, Linux's smallest configuration and a fragment of what the enclave needs beside
//! it, built as an ELF file that is started by PVH. Two builds of the same inputs have one digest.

mod fragment;

use std::fs;
use std::hash::Hash;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::progress::step;
use crate::{artifacts, components, sh, test};
use fragment::Fragment;

const FRAGMENT: &str = include_str!("../enclave-kernel/fragment.config");
/// The package of the sources, and what it brings.
const PACKAGE: &str = "linux-source-6.1";
const ARCHIVE: &str = "/usr/src/linux-source-6.1.tar.xz";
/// The packages whose versions decide the kernel's bytes.
const TOOLS: &[&str] = &[
    PACKAGE,
    "gcc-12",
    "binutils",
    "flex",
    "bison",
    "bc",
    "m4",
    "make",
    "libelf-dev",
];
/// What a kernel says of its own build: the same whoever builds it, where and when.
const BUILT_BY: &[(&str, &str)] = &[
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
    ("KBUILD_BUILD_USER", "bartizan"),
    ("KBUILD_BUILD_HOST", "bartizan"),
    ("KBUILD_BUILD_VERSION", "1"),
];
/// Minutes on two cores.
const STEP: &str = "the enclave's kernel: build (once, about seven minutes)";
/// What is booted with it to see that it serves: the enclave's machine is killed, and all others in turn.
const CHECKED_BY: &str = "network::each_that_is_killed_is_back";

/// Builds it, says its digest and how a host gets it; where `check` says so, has a whole stack boot with it.
pub(crate) fn run(check: bool) -> Result<()> {
    let kernel = ensure()?;
    eprintln!(
        "kernel: {}, {} bytes, SHA-384 {}",
        kernel.display(),
        fs::metadata(&kernel)?.len(),
        digest(&kernel)?
    );
    eprintln!(
        "In the description of a host's bundle this kernel takes the place of Debian's; image, command line and configuration stay as they are:"
    );
    eprintln!(
        "  - {{ name: enclave/kernel, phase: enclave, path: {} }}",
        kernel.display()
    );
    if check {
        test::on_enclave_kernel(&kernel, CHECKED_BY)?;
    }
    Ok(())
}

/// The kernel, if it was built of what there is now.
pub(crate) fn built() -> Option<PathBuf> {
    let folder = artifacts::made(NAME, &recipe().ok()?)?;
    Some(folder.join("kernel"))
}

/// The kernel, built where it was not yet.
pub(crate) fn ensure() -> Result<PathBuf> {
    components::setup_enclave_kernel()?;
    let folder = artifacts::ensure(NAME, &recipe()?, |folder| make(folder, "sources"))?;
    Ok(folder.join("kernel"))
}

/// Builds it in this folder, whatever was built before, among sources in a subfolder of this name.
pub(crate) fn make(folder: &Path, sources: &str) -> Result<()> {
    let sources = folder.join(sources);
    step("the enclave's kernel: sources", || unpack(&sources))?;
    step("the enclave's kernel: configuration", || {
        configure(&sources)
    })?;
    step(STEP, || {
        let processors = std::thread::available_parallelism()?;
        sh::quiet(
            make_in(&sources)
                .arg(format!("-j{processors}"))
                .arg("vmlinux"),
        )
    })?;
    // Symbols are for debuggers: nothing of them is loaded.
    sh::quiet(
        sh::command("objcopy")
            .args(["--strip-all", "--remove-section=.comment"])
            .arg(sources.join("vmlinux"))
            .arg(folder.join("kernel")),
    )?;
    fs::copy(sources.join(".config"), folder.join("config"))?;
    fs::remove_dir_all(&sources)?;
    Ok(())
}

/// SHA-384 of a file, in hexadecimal digits.
pub(crate) fn digest(file: &Path) -> Result<String> {
    let said = sh::output(sh::command("sha384sum").arg(file))?;
    let digest = said.split_whitespace().next();
    Ok(digest.context("sha384sum says nothing")?.to_owned())
}

const NAME: &str = "enclave-kernel";

/// All that decides its bytes.
fn recipe() -> Result<impl Hash> {
    let versions = sh::output(
        sh::command("dpkg-query")
            .args(["--show", "--showformat=${Package} ${Version}\n"])
            .args(TOOLS),
    )?;
    Ok((FRAGMENT, include_str!("enclave_kernel.rs"), versions))
}

fn unpack(sources: &Path) -> Result<()> {
    fs::create_dir_all(sources)?;
    sh::quiet(
        sh::command("tar")
            .args(["--extract", "--strip-components=1", "--file", ARCHIVE])
            .arg("--directory")
            .arg(sources),
    )?;
    Ok(())
}

/// The smallest configuration, then what the fragment wishes, then what these have by default.
fn configure(sources: &Path) -> Result<()> {
    let fragment = Fragment::parse(FRAGMENT)?;
    sh::quiet(make_in(sources).arg("tinyconfig"))?;
    let config = sources.join(".config");
    let smallest = fs::read_to_string(&config)?;
    fs::write(&config, fragment.over(&smallest))?;
    sh::quiet(make_in(sources).arg("olddefconfig"))?;
    fragment.check(&fs::read_to_string(&config)?)?;
    Ok(())
}

fn make_in(sources: &Path) -> std::process::Command {
    let mut make = sh::command("make");
    // Whoever builds it may have flags, a compiler or a version's suffix in the environment.
    let path = std::env::var_os("PATH").unwrap_or_default();
    make.env_clear()
        .env("PATH", path)
        .current_dir(sources)
        .args(["--silent", "ARCH=x86_64"])
        .envs(BUILT_BY.iter().copied())
        .env("LC_ALL", "C");
    make
}
