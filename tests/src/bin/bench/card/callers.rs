//! Several callers at once, each doing the same again and again.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How many loops keep the cores busy: one a core.
pub(super) fn loops() -> Result<usize> {
    Ok(thread::available_parallelism()?.get())
}

/// How many callers of another process do: two a core, since each waits half of the time.
pub(super) fn callers() -> Result<usize> {
    Ok(2 * loops()?)
}

/// The time that one piece of work takes on average when all callers do `each` of them at once.
pub(super) fn together<C: Send>(
    callers: &mut [C],
    each: u32,
    work: impl Fn(&mut C) -> Result<()> + Sync,
) -> Result<Duration> {
    let begin = Barrier::new(callers.len() + 1);
    let number = u32::try_from(callers.len())?;
    thread::scope(|scope| {
        let threads: Vec<_> = callers
            .iter_mut()
            .map(|caller| {
                scope.spawn(|| {
                    begin.wait();
                    (0..each).try_for_each(|_| work(caller))
                })
            })
            .collect();
        begin.wait();
        let begun = Instant::now();
        for thread in threads {
            let ended = thread.join();
            ended.map_err(|_| anyhow!("a caller panicked"))??;
        }
        Ok(begun.elapsed() / (each * number))
    })
}
