//! All phases of a measured boot, against reading and hashing the same files and starting the same programs for nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::digest::{self, SHA384};
use bartizan_measuring::{Better, Outcome, Part, Samples, rounds, timed};
use bartizan_tests::launcher::{Booted, Launcher};
use bartizan_tests::layout::{Layout, text};
use bartizan_tests::stack::{Releases, Stack};
use serde_json::Value;

use super::SUITE;

pub(super) const NAME: &str = "boot_phases";
const WARM_UP: usize = 1;
const ROUNDS: usize = 9;
/// What a boot starts, each once.
const STARTED: [&str; 7] = [
    "bartizan-launcher",
    "bartizan-vault",
    "bartizan-card",
    "bartizan-stage1",
    "bartizan-devices",
    "bartizan-stage2",
    "bartizan-hypervisor",
];

pub(super) fn run() -> Result<Outcome> {
    let stack = Stack::start()?;
    let (layout, releases, configs) = stack.unbooted_host("b")?;
    releases.sign(&layout, &configs, [1, 1])?;
    let launcher = boot(&layout, &releases)?;
    stack.enroll(&layout, &configs.card, "b", &[])?;
    launcher.end()?;
    let files = measured(&stack, &releases)?;
    let (mut whole, mut read, mut started) =
        (Samples::default(), Samples::default(), Samples::default());
    let mut bytes = 0;
    rounds(NAME, WARM_UP, ROUNDS, |counts| {
        let mut launcher = None;
        let value = timed(|| {
            launcher = Some(boot(&layout, &releases)?);
            Ok(())
        })?;
        launcher.context("a boot has a launcher")?.end()?;
        let reading = timed(|| {
            bytes = files.iter().map(|file| hash(file)).sum::<Result<_>>()?;
            Ok(())
        })?;
        let starting = timed(|| STARTED.iter().try_for_each(|name| start(&layout, name)))?;
        if counts {
            whole.add(value);
            read.add(reading);
            started.add(starting);
        }
        Ok(())
    })?;
    let part = |name: String, samples: &Samples, counted| Part {
        name,
        milliseconds: samples.median() * 1e3,
        counted,
    };
    let reference_value = (read.median() + started.median()) * 1e3;
    let value = whole.median() * 1e3;
    Ok(Outcome {
        suite: SUITE,
        case: NAME,
        value,
        unit: "ms",
        reference: "reading and hashing (SHA-384) the same files, and starting the same programs, one after another",
        reference_value,
        ratio: value / reference_value,
        better: Better::Lower,
        goal: 1.5,
        rounds: ROUNDS,
        spread: whole.spread(),
        parts: vec![
            part(
                format!(
                    "{} files, {} MiB, read and hashed",
                    files.len(),
                    bytes >> 20
                ),
                &read,
                true,
            ),
            part(
                format!("{} programs started, which end at once", STARTED.len()),
                &started,
                true,
            ),
            part(
                "from the launcher's start until all phases have ended".into(),
                &whole,
                false,
            ),
        ],
    })
}

/// Boots a host to the end of all its phases.
fn boot(layout: &Layout, releases: &Releases) -> Result<Launcher> {
    match Launcher::start(layout, &releases.base(), &releases.public_key())? {
        (launcher, Booted::Done) => Ok(launcher),
        (launcher, Booted::Stopped(why)) => {
            bail!("the boot was stopped: {why}\n{}", launcher.last_words(&why))
        }
    }
}

/// The files that a boot reads: those of the manifests, and what travels within the bundle.
fn measured(stack: &Stack, releases: &Releases) -> Result<Vec<PathBuf>> {
    let mut files = BTreeSet::from([releases.base(), releases.bundle()]);
    for release in [releases.base(), releases.bundle()] {
        let shown = stack
            .operator
            .must(&["release", "show", &text(&release)?])?;
        paths(&shown, &mut files);
    }
    ensure!(files.len() > STARTED.len(), "{files:?}");
    Ok(files.into_iter().collect())
}

/// Every path that is told of a component.
fn paths(shown: &Value, into: &mut BTreeSet<PathBuf>) {
    match shown {
        Value::Object(fields) => {
            if let Some(path) = fields.get("path").and_then(Value::as_str) {
                into.insert(path.into());
            }
            fields.values().for_each(|value| paths(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| paths(value, into)),
        _ => {}
    }
}

/// Reads and hashes a file; how many bytes it has.
fn hash(path: &Path) -> Result<u64> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let mut digest = digest::Context::new(&SHA384);
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            std::hint::black_box(digest.finish());
            return Ok(size);
        }
        digest.update(&buffer[..read]);
        size += read as u64;
    }
}

/// Starts a program that has nothing to do, and waits for its end.
fn start(layout: &Layout, name: &str) -> Result<()> {
    Command::new(layout.program(name))
        .arg("--help")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("{name} does not start"))?;
    Ok(())
}
