//! The main job on real parts, and the stage that it shares with the end-to-end tests: built programs, a
//! guest image, a disk with the guest's programs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::progress::step;
use crate::{components, guest_image, sh};

/// Programs that run in the guest: linked statically, since a guest may be any Linux.
const GUEST_PROGRAMS: &[&str] = &["bartizan-guest", "bartizan-sample", "bartizan-test-agent"];
const GUEST_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Everything that the stack is started from.
pub(crate) struct Stage {
    image: PathBuf,
    program_disk: PathBuf,
    programs: PathBuf,
    guest_programs: PathBuf,
}

/// Sets up everything and runs the demo.
pub(crate) fn run(json: bool) -> Result<()> {
    components::setup()?;
    if !components::is_root()? {
        bail!(
            "the demo starts each process as its own user, which takes root; run:\n  sudo --preserve-env=PATH,HOME cargo xtask demo"
        );
    }
    let stage = stage()?;
    let mut demo = stage
        .environment(&mut sh::command(stage.programs.join("bartizan-demo")))
        .args(json.then_some("--json"))
        .spawn()?;
    let status = demo.wait()?;
    if !status.success() {
        bail!("the demo ended with {status}");
    }
    Ok(())
}

/// Builds what the stack is started from; what is there already costs nothing.
pub(crate) fn stage() -> Result<Stage> {
    step("build: host programs", || {
        sh::quiet(sh::cargo().args([
            "build",
            "--workspace",
            "--bins",
            "--exclude=xtask",
            "--locked",
        ]))
        .map(drop)
    })?;
    step("build: guest programs (static)", || {
        let mut build = sh::cargo();
        build
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
            .args(["build", "--release", "--locked"]);
        // Its own target folder: other flags would have cargo build the host's programs anew each time.
        build.args(["--target", GUEST_TARGET, "--target-dir", "target/guest"]);
        build.args(["--package=bartizan-guest", "--package=bartizan-test-agent"]);
        sh::quiet(&mut build).map(drop)
    })?;
    let image = guest_image::ensure()?;
    let target = sh::root().join("target");
    let built = target.join("guest").join(GUEST_TARGET).join("release");
    let program_disk = target.join("artifacts/programs.img");
    let programs: Vec<_> = GUEST_PROGRAMS.iter().map(|name| built.join(name)).collect();
    step("disk with the guest's programs", || {
        guest_image::program_disk(&programs, &program_disk)
    })?;
    Ok(Stage {
        image,
        program_disk,
        programs: target.join("debug"),
        guest_programs: built,
    })
}

impl Stage {
    /// Tells a program of `bartizan-tests` where everything is.
    pub(crate) fn environment<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("BARTIZAN_GUEST_IMAGE", &self.image)
            .env("BARTIZAN_TEST_KERNEL", self.image.join("vmlinuz"))
            .env("BARTIZAN_PROGRAM_DISK", &self.program_disk)
            .env("BARTIZAN_PROGRAMS", &self.programs)
            .env("BARTIZAN_GUEST_PROGRAMS", &self.guest_programs)
    }
}
