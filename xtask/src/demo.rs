//! The main job on real parts, and the stage that it shares with the end-to-end tests: built programs, a
//! guest image, a disk with the guest's programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::progress::step;
use crate::{components, enclave_image, guest_image, sh};

/// Programs that run in the guest: linked statically, since a guest may be any Linux.
const GUEST_PROGRAMS: &[&str] = &["bartizan-guest", "bartizan-sample", "bartizan-test-agent"];
const GUEST_TARGET: &str = "x86_64-unknown-linux-gnu";

/// How the programs are built, the host's and the guests'.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Build {
    /// Quickly: for the demo.
    Debug,
    /// Quickly, and the end-to-end tests: in the features of all tests, so that nothing is built twice.
    Tests,
    /// As they are meant to run: for what is measured or runs long.
    Release,
}

/// Everything that the stack is started from.
pub(crate) struct Stage {
    enclave: PathBuf,
    rogue_enclave: PathBuf,
    bare_enclave: PathBuf,
    image: PathBuf,
    program_disk: PathBuf,
    programs: PathBuf,
    guest_programs: PathBuf,
}

/// Sets up everything and runs the demo.
pub(crate) fn run(json: bool) -> Result<()> {
    components::setup()?;
    components::demand_root("demo")?;
    let stage = stage(Build::Debug)?;
    sh::loud(
        stage
            .command("bartizan-demo")
            .args(json.then_some("--json")),
    )
}

/// Builds what the stack is started from; what is there already costs nothing.
pub(crate) fn stage(build: Build) -> Result<Stage> {
    let (name, programs, flags): (_, _, &[&str]) = match build {
        Build::Debug => (
            "build: host programs",
            "debug",
            &["--bins", "--exclude=xtask", "--exclude=bartizan-fuzz"],
        ),
        Build::Tests => (
            "build: host programs and tests",
            "debug",
            &["--bins", "--test=end_to_end"],
        ),
        Build::Release => (
            "build: host programs (release)",
            "release",
            &[
                "--bins",
                "--exclude=xtask",
                "--exclude=bartizan-fuzz",
                "--release",
            ],
        ),
    };
    step(name, || {
        let mut build = sh::cargo();
        build.args(["build", "--workspace", "--locked"]);
        sh::quiet(build.args(flags)).map(drop)
    })?;
    step("build: the library of tracked QEMUs", || {
        // Of its own: no program links it.
        let mut build = sh::cargo();
        build.args(["build", "--package=bartizan-tracked", "--lib", "--locked"]);
        sh::quiet(build.args((programs == "release").then_some("--release"))).map(drop)
    })?;
    step("build: launcher and guest programs (static)", || {
        static_programs(build, &sh::root())
    })?;
    let image = guest_image::ensure()?;
    let target = sh::root().join("target");
    let built = built(build, &sh::root());
    let program_disk = target.join(format!("artifacts/programs-{programs}.img"));
    let in_guest: Vec<_> = GUEST_PROGRAMS.iter().map(|name| built.join(name)).collect();
    step("disk with the guest's programs", || {
        guest_image::program_disk(&in_guest, &program_disk)
    })?;
    let enclave = target.join(format!("artifacts/enclave-{programs}"));
    enclave_image::make(&built.join("bartizan-enclave"), &image, &enclave)?;
    let in_its_place = |program: &str, name: &str| {
        let folder = target.join(format!("artifacts/{name}-{programs}"));
        enclave_image::make(&built.join(program), &image, &folder)?;
        anyhow::Ok(folder)
    };
    let rogue_enclave = in_its_place("bartizan-rogue-enclave", "rogue-enclave")?;
    let bare_enclave = in_its_place("bartizan-bare-init", "bare-enclave")?;
    Ok(Stage {
        enclave,
        rogue_enclave,
        bare_enclave,
        image,
        program_disk,
        programs: target.join(programs),
        guest_programs: built,
    })
}

/// Builds what is linked statically, of the sources in this folder.
pub(crate) fn static_programs(build: Build, sources: &Path) -> Result<()> {
    let mut cargo = sh::cargo();
    cargo
        .current_dir(sources)
        .env("CARGO_ENCODED_RUSTFLAGS", flags_of_static_programs(sources))
        .env("CARGO_PROFILE_DEV_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .args(["build", "--locked"])
        .args((build == Build::Release).then_some("--release"));
    // By its target, since else other flags would have cargo build the host's programs anew each time. What runs while it builds,
    // macros and build scripts, is the same as the host programs'.
    cargo.args(["--target", GUEST_TARGET]);
    cargo.args(["--package=bartizan-guest", "--package=bartizan-test-agent"]);
    // Nothing that lies on the host's disk is part of its first process.
    cargo.arg("--package=bartizan-launcher");
    // The one program of the enclave's machine. Where it was built is no part of it.
    cargo.arg("--package=bartizan-enclave");
    // What the tests boot in its place.
    cargo.arg("--package=bartizan-test-enclaves");
    sh::quiet(&mut cargo).map(drop)
}

/// Where [`static_programs`] puts them.
pub(crate) fn built(build: Build, sources: &Path) -> PathBuf {
    let profile = match build {
        Build::Debug | Build::Tests => "debug",
        Build::Release => "release",
    };
    sources.join("target").join(GUEST_TARGET).join(profile)
}

/// Static, and without the names of the folders in which sources and dependencies lie.
fn flags_of_static_programs(sources: &Path) -> String {
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME"));
    let home = home.unwrap_or_default();
    let root = sources.display();
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        format!("--remap-path-prefix={root}=/bartizan"),
        format!("--remap-path-prefix={home}=/home"),
    ];
    flags.join("\x1f")
}

impl Stage {
    /// A program of `bartizan-tests`, which is told where everything is.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = sh::command(self.programs.join(program));
        self.environment(&mut command);
        command
    }

    /// The same with another kernel in the enclave's machine.
    pub(crate) fn with_enclave_kernel(self, kernel: &Path) -> Result<Self> {
        let enclave = self.enclave.with_file_name("enclave-of-own-kernel");
        enclave_image::with_kernel(kernel, &self.enclave, &enclave)?;
        Ok(Self { enclave, ..self })
    }

    /// Tells a program of `bartizan-tests` where everything is.
    pub(crate) fn environment<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("BARTIZAN_GUEST_IMAGE", &self.image)
            .env("BARTIZAN_ENCLAVE", &self.enclave)
            .env("BARTIZAN_ROGUE_ENCLAVE", &self.rogue_enclave)
            .env("BARTIZAN_BARE_ENCLAVE", &self.bare_enclave)
            .env("BARTIZAN_TEST_KERNEL", self.image.join("vmlinuz"))
            .env("BARTIZAN_PROGRAM_DISK", &self.program_disk)
            .env("BARTIZAN_PROGRAMS", &self.programs)
            .env("BARTIZAN_GUEST_PROGRAMS", &self.guest_programs)
    }
}
