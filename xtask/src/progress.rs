//! What a person sees while long steps run: on standard error, so that `--json` stays clean.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How often a silent step says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How much of a failed command's output is shown.
const TAIL_LINES: usize = 60;

/// Runs one named step and says how long it took.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("\u{25b8} {name}");
    let start = Instant::now();
    let result = work().with_context(|| format!("step `{name}` failed"));
    let mark = if result.is_ok() {
        '\u{2713}'
    } else {
        '\u{2717}'
    };
    eprintln!("{mark} {name} ({:.1} s)", start.elapsed().as_secs_f64());
    result
}

/// Waits for a child whose output is piped; shows its latest line now and then, and all of its end on failure.
pub(crate) fn watch(mut child: Child) -> Result<(ExitStatus, Vec<String>)> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let readers = [
        child
            .stdout
            .take()
            .map(|out| collect(out, Arc::clone(&lines))),
        child
            .stderr
            .take()
            .map(|err| collect(err, Arc::clone(&lines))),
    ];
    let start = Instant::now();
    let ticker = thread::spawn({
        let lines = Arc::downgrade(&lines);
        move || {
            loop {
                thread::park_timeout(HEARTBEAT);
                let Some(lines) = lines.upgrade() else { return };
                let last = locked(&lines).last().cloned().unwrap_or_default();
                let last: String = last.chars().take(100).collect();
                eprintln!("  \u{2026} {:.0} s  {last}", start.elapsed().as_secs_f64());
            }
        }
    });
    let status = child.wait()?;
    for reader in readers.into_iter().flatten() {
        reader.join().ok();
    }
    let lines = std::mem::take(&mut *locked(&lines));
    drop(ticker);
    if !status.success() {
        for line in lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)) {
            eprintln!("  | {line}");
        }
    }
    Ok((status, lines))
}

fn collect(
    output: impl Read + Send + 'static,
    lines: Arc<Mutex<Vec<String>>>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            locked(&lines).push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
