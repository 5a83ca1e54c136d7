//! When a boot counts as hung.
//!
//! Two things are signs of life for good: the guest used its API, or its console says that the kernel
//! is done (it starts its first process, or somebody may log in). Before that, any console output buys
//! another full timeout: a slow boot that goes on is left alone, one that fell silent is not.

use std::time::Duration;

use tokio::time::Instant;

/// What the console says once a kernel has booted: Linux before its first process (`run_init_process` in
/// init/main.c), and getty.
const BOOTED: [&[u8]; 2] = [b"as init process", b"login:"];

/// Watches one boot.
#[derive(Clone, Copy, Debug)]
pub struct Watchdog {
    timeout: Duration,
    last_output: Instant,
    alive: bool,
}

impl Watchdog {
    /// For a boot that begins `now`.
    #[must_use]
    pub const fn new(now: Instant, timeout: Duration) -> Self {
        Self {
            timeout,
            last_output: now,
            alive: false,
        }
    }

    /// The console said something.
    pub fn output(&mut self, now: Instant) {
        self.last_output = self.last_output.max(now);
    }

    /// The guest lives: never again hung.
    pub fn alive(&mut self) {
        self.alive = true;
    }

    /// Whether it showed life.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        self.alive
    }

    /// When the boot counts as hung, unless something happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (!self.alive).then(|| self.last_output + self.timeout)
    }
}

/// Whether console output shows that the kernel has booted.
#[must_use]
pub fn shows_life(output: &[u8]) -> bool {
    BOOTED
        .iter()
        .any(|mark| output.windows(mark.len()).any(|window| window == *mark))
}

/// Longest mark that [`shows_life`] looks for, in bytes.
pub const LONGEST_MARK: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_last_output_and_life_ends_the_watch() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut watchdog = Watchdog::new(start, 10 * second);
        assert_eq!(watchdog.deadline(), Some(start + 10 * second));
        watchdog.output(start + 7 * second);
        assert_eq!(watchdog.deadline(), Some(start + 17 * second));
        watchdog.alive();
        assert_eq!(watchdog.deadline(), None);
    }

    #[test]
    fn kernel_and_getty_show_life() {
        assert!(shows_life(b"[    1.2] Run /sbin/init as init process\r\n"));
        assert!(shows_life(b"debian login: "));
        assert!(!shows_life(b"[    0.0] tsc: Detected"));
        assert_eq!(
            BOOTED.map(<[u8]>::len).into_iter().max(),
            Some(LONGEST_MARK)
        );
    }
}
