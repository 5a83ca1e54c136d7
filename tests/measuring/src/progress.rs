//! That something goes on, on standard error.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How often.
const BEAT: Duration = Duration::from_secs(10);

/// Runs `round` so many times after some that warm up, which are told by `false`.
pub fn rounds(
    case: &str,
    warm_up: usize,
    rounds: usize,
    mut round: impl FnMut(bool) -> Result<()>,
) -> Result<()> {
    let begun = Instant::now();
    let mut said = begun;
    eprintln!("\u{25b8} {case}: {rounds} rounds");
    for number in 0..warm_up + rounds {
        round(number >= warm_up).with_context(|| format!("{case}, round {number}"))?;
        if said.elapsed() > BEAT {
            said = Instant::now();
            let so_far = begun.elapsed().as_secs();
            eprintln!(
                "  \u{2026} {case}: {} of {} rounds after {so_far} s",
                number + 1,
                warm_up + rounds
            );
        }
    }
    eprintln!("\u{2713} {case} ({:.1} s)", begun.elapsed().as_secs_f64());
    Ok(())
}
