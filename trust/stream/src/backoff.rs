//! How long to wait before the next connection.

use std::time::Duration;

/// Waits that double from `least` to `most`, each shortened by chance down to half, so that a fleet whose verifier comes back does
/// not come back as one.
#[derive(Clone, Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `least`, ends with `most`.
    #[must_use]
    pub fn new(least: Duration, most: Duration) -> Self {
        let most = most.max(least);
        Self {
            least,
            most,
            next: least,
        }
    }

    /// A connection could not be had, or did not last: how long to wait. `chance`: a random number, all of whose values are as
    /// likely.
    pub fn wait(&mut self, chance: u32) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.most);
        let half = whole / 2;
        half + half.mul_f64(f64::from(chance) / f64::from(u32::MAX))
    }

    /// A connection came so far that its next failure is another one: waits begin anew.
    pub fn reset(&mut self) {
        self.next = self.least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_begin_anew() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(500));
        let longest: Vec<_> = (0..4).map(|_| backoff.wait(u32::MAX)).collect();
        assert_eq!(longest, [ms(100), ms(200), ms(400), ms(500)]);
        backoff.reset();
        assert_eq!([backoff.wait(0), backoff.wait(0)], [ms(50), ms(100)]);
    }
}
