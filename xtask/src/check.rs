//! What must hold of the source.

use anyhow::Result;

use crate::progress::step;
use crate::{components, layers, sh};

/// Runs those that compile nothing.
pub(crate) fn at_a_glance() -> Result<()> {
    step("format", || {
        sh::quiet(sh::cargo().args(["fmt", "--all", "--check"])).map(drop)
    })?;
    step("layers", layers::run)
}

/// Runs every check.
pub(crate) fn run() -> Result<()> {
    at_a_glance()?;
    step("clippy", || {
        let fuzz = "--features=bartizan-fuzz/targets";
        clippy(&["--workspace", "--all-targets", fuzz])?;
        // Not among all targets, since no plain `cargo test` runs it.
        clippy(&["--workspace", "--test=end_to_end"])
    })?;
    step("documentation", || {
        let arguments = [
            "doc",
            "--workspace",
            "--no-deps",
            "--locked",
            "--document-private-items",
        ];
        sh::quiet(
            sh::cargo()
                .env("RUSTDOCFLAGS", "-D warnings")
                .args(arguments),
        )
        .map(drop)
    })?;
    // What is tested is built in the features of the tests too.
    step("the host's programs in their own features", || {
        let bins = [
            "check",
            "--workspace",
            "--exclude=xtask",
            "--exclude=bartizan-fuzz",
            "--bins",
            "--locked",
        ];
        sh::quiet(sh::cargo().args(bins)).map(drop)
    })?;
    let deny = components::ensure_cargo_deny()?;
    step("licences, bans, sources", || {
        // Advisories are fetched from the network and change by the day: `cargo deny check advisories` is for
        // the release, a build must not fail for what was published an hour ago.
        sh::quiet(sh::command(deny).args(["check", "licenses", "bans", "sources"])).map(drop)
    })
}

fn clippy(whose: &[&str]) -> Result<()> {
    let mut clippy = sh::cargo();
    clippy.arg("clippy").args(whose);
    sh::quiet(clippy.args(["--locked", "--", "-D", "warnings"])).map(drop)
}
