//! When to try to renew.
//!
//! ```text
//!   half of the life is over ──► tried ──renewed──► for the new certificate likewise, not within an hour
//!     (the wall clock)            ▲  │
//!                                 └──┴─failed: again later, each time twice as late (the time since boot)
//! ```
//!
//! Only the half of a certificate's life is told by the wall clock, which may be set at any time. Time between two tries is
//! counted from the boot on, sleep included (`CLOCK_BOOTTIME`, clock_gettime(2)), which nobody can set: no clock
//! keeps a try that has failed from being made again, or makes two follow one another at once.

use std::time::Duration;

use bartizan_guest::Validity;

/// Before the second try; longer than the host wants between two renewals.
const FIRST_RETRY: Duration = Duration::from_secs(150);
/// Longest time between two tries of one renewal, and shortest time between two renewals.
const LAST_RETRY: Duration = Duration::from_secs(3600);

/// The clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Seconds since the Unix epoch, as far as this guest knows.
    pub(super) wall_s: u64,
    /// Time since the guest booted, in which it may have slept.
    pub(super) since_boot: Duration,
}

/// What was tried.
#[derive(Default)]
pub(super) struct Tries {
    last: Option<Try>,
}

#[derive(Clone, Copy)]
struct Try {
    /// Whose place a new certificate should take.
    of: Validity,
    /// When it ended, since boot.
    ended_at: Duration,
    /// How long there is no other after it.
    wait: Duration,
}

impl Tries {
    /// How long it is until the certificate that the guest has is to be renewed; zero if that is now.
    pub(super) fn until_due(&self, certificate: Validity, now: Now) -> Duration {
        let half_life = Duration::from_secs(certificate.half_life().saturating_sub(now.wall_s));
        match self.last {
            None => half_life,
            // It was due before, whatever the wall clock says of it now.
            Some(last) if last.of == certificate => last.left(now),
            Some(last) => last.left(now).max(half_life),
        }
    }

    /// Takes note that a certificate has another in its place.
    pub(super) fn renewed(&mut self, certificate: Validity, ended_at: Duration) {
        self.note(certificate, ended_at, LAST_RETRY);
    }

    /// Takes note that a certificate could not be renewed; answers how long to wait for the next try.
    pub(super) fn failed(&mut self, certificate: Validity, ended_at: Duration) -> Duration {
        let before = self.last.filter(|last| last.of == certificate);
        let wait = before.map_or(FIRST_RETRY, |last| (last.wait * 2).min(LAST_RETRY));
        self.note(certificate, ended_at, wait);
        wait
    }

    fn note(&mut self, of: Validity, ended_at: Duration, wait: Duration) {
        self.last = Some(Try { of, ended_at, wait });
    }
}

impl Try {
    fn left(self, now: Now) -> Duration {
        let gone = now.since_boot.saturating_sub(self.ended_at);
        self.wait.saturating_sub(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_S: u64 = 43_200;
    const BEGUN: u64 = 1_000_000;

    /// Of a day, from a second on.
    const fn day(not_before: u64) -> Validity {
        Validity {
            not_before,
            not_after: not_before + 2 * HALF_S,
        }
    }

    /// A guest that was booted as its certificate began, and whose wall clock is wrong by so many seconds.
    fn at(since_boot_s: u64, wrong_s: i64) -> Now {
        Now {
            wall_s: (BEGUN + since_boot_s).saturating_add_signed(wrong_s),
            since_boot: Duration::from_secs(since_boot_s),
        }
    }

    fn seconds(since_boot_s: u64) -> Duration {
        Duration::from_secs(since_boot_s)
    }

    #[test]
    fn a_key_is_renewed_at_half_of_its_life_by_the_wall_clock() {
        let tries = Tries::default();
        let due = |now| tries.until_due(day(BEGUN), now);
        assert_eq!(due(at(0, 0)), seconds(HALF_S));
        assert_eq!(due(at(HALF_S, 0)), Duration::ZERO);
        assert_eq!(due(at(HALF_S, -10)), seconds(10));
        assert_eq!(due(at(10, 86_400)), Duration::ZERO);
    }

    #[test]
    fn tries_grow_apart_and_are_many_before_the_end() {
        let mut tries = Tries::default();
        let (mut now_s, mut made) = (HALF_S, Vec::new());
        while now_s <= 2 * HALF_S {
            made.push(now_s);
            let wait = tries.failed(day(BEGUN), seconds(now_s));
            assert_eq!(tries.until_due(day(BEGUN), at(now_s, 0)), wait);
            now_s += wait.as_secs();
        }
        assert_eq!(made[..4], [43_200, 43_350, 43_650, 44_250]);
        let last = made.windows(2).last().unwrap();
        assert_eq!(last[1] - last[0], 3600);
        assert!(made.len() > 12, "{made:?}");
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_failed_try_from_being_made_again() {
        let mut tries = Tries::default();
        tries.failed(day(BEGUN), seconds(HALF_S));
        for wrong in [0, -3600, -86_400, i64::MIN] {
            let due = |since_boot_s| tries.until_due(day(BEGUN), at(since_boot_s, wrong));
            assert_eq!(due(HALF_S + 149), seconds(1), "{wrong}");
            assert_eq!(due(HALF_S + 150), Duration::ZERO, "{wrong}");
        }
    }

    #[test]
    fn a_clock_that_is_set_ahead_brings_no_try_forward() {
        let mut tries = Tries::default();
        tries.failed(day(BEGUN), seconds(HALF_S));
        let ahead = at(HALF_S + 1, 30_000);
        assert_eq!(tries.until_due(day(BEGUN), ahead), seconds(149));
        // Nor does one that makes every new certificate look half gone have renewals follow one another.
        tries.renewed(day(BEGUN), seconds(HALF_S + 150));
        let ahead = at(HALF_S + 160, 50_000);
        assert_eq!(
            tries.until_due(day(BEGUN + HALF_S + 140), ahead),
            seconds(3590)
        );
    }

    #[test]
    fn a_success_is_not_followed_by_the_wait_of_a_failure() {
        let renewed = day(BEGUN + HALF_S);
        let mut tries = Tries::default();
        for since_boot_s in [HALF_S, HALF_S + 150, HALF_S + 450] {
            tries.failed(day(BEGUN), seconds(since_boot_s));
        }
        // Renewed by somebody else: the old failures do not bring the next renewal forward.
        let now = at(HALF_S + 460, 0);
        assert_eq!(tries.until_due(renewed, now), seconds(HALF_S - 460));
        assert_eq!(tries.failed(renewed, seconds(2 * HALF_S)), FIRST_RETRY);
        tries.renewed(renewed, seconds(2 * HALF_S + 150));
        let third = day(BEGUN + 2 * HALF_S + 150);
        let due = tries.until_due(third, at(2 * HALF_S + 150, 0));
        assert_eq!(due, seconds(HALF_S));
        assert_eq!(tries.failed(third, seconds(3 * HALF_S)), FIRST_RETRY);
    }
}
