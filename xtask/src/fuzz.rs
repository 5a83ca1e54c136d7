//! Fuzzing with libFuzzer, on the stable compiler: the fuzz targets are ordinary programs linked with
//! libFuzzer's driver, and LLVM's coverage pass is asked for by flag.

use std::path::Path;
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use crate::progress::step;
use crate::sh;

/// What `cargo fuzz` would pass, less the address sanitizer, which stable does not have; the targets are
/// safe Rust, so panics, overflows and time and memory limits are what there is to find.
const FLAGS: &str = "--cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares -C debug-assertions -C codegen-units=1";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Runs all targets (or those whose name contains `filter`), two at a time, each for `seconds`.
pub(crate) fn run(seconds: u64, filter: Option<&str>) -> Result<()> {
    let fuzz = sh::root().join("fuzz");
    step("build: fuzz targets", || {
        sh::quiet(sh::cargo().env("RUSTFLAGS", FLAGS).args([
            "build",
            "--release",
            "--locked",
            "--package=bartizan-fuzz",
            "--features=targets",
            "--bins",
            "--target-dir=fuzz/target",
            "--target",
            TARGET,
        ]))
        .map(drop)
    })?;
    let targets = targets(&fuzz, filter)?;
    let programs = fuzz.join("target").join(TARGET).join("release");
    let workers = thread::available_parallelism().map_or(1, usize::from);
    for batch in targets.chunks(workers) {
        step(&format!("fuzz: {}", batch.join(", ")), || {
            thread::scope(|scope| {
                let runs: Vec<_> = batch
                    .iter()
                    .map(|name| scope.spawn(|| run_target(&fuzz, &programs, name, seconds)))
                    .collect();
                runs.into_iter().try_for_each(|run| match run.join() {
                    Ok(result) => result,
                    Err(_) => bail!("a fuzz runner panicked"),
                })
            })
        })?;
    }
    Ok(())
}

fn targets(fuzz: &Path, filter: Option<&str>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(fuzz.join("targets"))? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .context("a target has a name")?;
        if filter.is_none_or(|filter| name.contains(filter)) {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() {
        bail!(
            "no fuzz target's name contains `{}`",
            filter.unwrap_or_default()
        );
    }
    names.sort();
    Ok(names)
}

/// New inputs go to `fuzz/target`; the committed corpus is only read.
fn run_target(fuzz: &Path, programs: &Path, name: &str, seconds: u64) -> Result<()> {
    let found = fuzz.join("target/corpus").join(name);
    fs::create_dir_all(&found)?;
    let mut command = sh::command(programs.join(name));
    command.arg(&found);
    let seeds = fuzz.join("corpus").join(name);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command
        .arg(format!("-max_total_time={seconds}"))
        .args([
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-max_len=65536",
            "-print_final_stats=1",
        ])
        .arg(format!(
            "-artifact_prefix={}/",
            fuzz.join("target").display()
        ));
    let lines =
        sh::quiet(&mut command).with_context(|| format!("fuzz target {name} found something"))?;
    let runs = lines
        .iter()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    eprintln!("  {name}: {} runs", runs.unwrap_or("?").trim());
    Ok(())
}
