//! Whether whoever builds the enclave's image gets the one that was released: it is built twice, from sources and into folders of different
//! names, and has to be the same byte for byte, its program included.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::demo::{Build, built, static_programs};
use crate::enclave_kernel::{self, digest};
use crate::progress::step;
use crate::{components, enclave_image, guest_image, sh};

/// Within the target folder: sources that lie elsewhere, under a name of another length.
const ELSEWHERE: &str = "target/reproduce/sources-in-quite-another-place";
/// What an image's folder has.
const PARTS: [&str; 2] = ["image", "kernel"];

/// Builds it twice in this way, and compares; where `kernel` says so, the enclave's own kernel once more than it was.
pub(crate) fn run(build: Build, kernel: bool) -> Result<()> {
    components::setup()?;
    if kernel {
        run_kernel()?;
    }
    let guest_image = guest_image::ensure()?;
    let here = sh::root();
    let there = here.join(ELSEWHERE);
    step("the sources, once more", || copy_sources(&here, &there))?;
    let images = here.join("target/reproduce/images");
    let make = |sources: &Path, name: &str| -> Result<PathBuf> {
        step(&format!("build: static programs ({name})"), || {
            static_programs(build, sources)
        })?;
        let program = built(build, sources).join("bartizan-enclave");
        let folder = images.join(name);
        enclave_image::make(&program, &guest_image, &folder)?;
        Ok(folder)
    };
    let (first, second) = (make(&here, "here")?, make(&there, "elsewhere")?);
    for part in PARTS {
        one_digest(part, &first.join(part), &second.join(part))?;
    }
    Ok(())
}

fn run_kernel() -> Result<()> {
    let first = enclave_kernel::ensure()?;
    let again = sh::root().join("target/reproduce/kernel");
    if again.exists() {
        fs::remove_dir_all(&again)?;
    }
    enclave_kernel::make(&again, "sources-in-quite-another-place")?;
    one_digest("the enclave's kernel", &first, &again.join("kernel"))
}

fn one_digest(what: &str, first: &Path, second: &Path) -> Result<()> {
    let (one, other) = (digest(first)?, digest(second)?);
    ensure!(
        one == other,
        "{} is {one}, {} is {other}",
        first.display(),
        second.display()
    );
    eprintln!("{what}: {one}, twice");
    Ok(())
}

/// What git has of them, as it is in the folder now; what is there already is replaced only where it differs, so that a second run builds
/// little.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    let listed = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = sh::output(sh::command("git").args(listed))?;
    for name in listed.lines() {
        let (source, copy) = (from.join(name), to.join(name));
        let Ok(contents) = fs::read(&source) else {
            // It was removed, and git was not told yet.
            continue;
        };
        if fs::read(&copy).is_ok_and(|there| there == contents) {
            continue;
        }
        let folder = copy.parent().context("a file is in a folder")?;
        fs::create_dir_all(folder)?;
        fs::write(&copy, contents)?;
    }
    Ok(())
}
