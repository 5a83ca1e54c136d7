//! `bartizan-guest renew --watch`: the key is renewed at half of its certificate's life, for as long as the guest runs.

use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_guest::{Enrollment, HostApi, StateError, Validity, renew};

/// Longest sleep: a guest that was paused finds that its clock has gone on.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Before the second try; longer than the host wants between two renewals.
const FIRST_RETRY: Duration = Duration::from_secs(150);
/// Longest time between two tries.
const LAST_RETRY: Duration = Duration::from_secs(3600);

/// Renews for ever; returns only when there is no valid enrolment to renew.
pub(crate) fn renew_in_time(host: &HostApi, folder: &Path) -> StateError {
    let mut failed = None;
    loop {
        let validity = match Enrollment::load(folder) {
            Ok(enrollment) => enrollment.validity(),
            Err(error) => return error,
        };
        let due = due_at(validity, failed);
        let now = unix_now();
        if now < due {
            thread::sleep(Duration::from_secs(due - now).min(LOOK_AGAIN));
            continue;
        }
        match renew(host, folder) {
            Ok(renewed) => {
                failed = None;
                let until = renewed.validity().not_after;
                eprintln!("bartizan-guest: renewed; valid until {until} (Unix time)");
            }
            Err(error) => {
                let again = Failure::after(failed, now);
                let wait = again.wait.as_secs();
                eprintln!("bartizan-guest: not renewed, tried again in {wait} s: {error}");
                failed = Some(again);
            }
        }
    }
}

/// A try that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Failure {
    /// When, in seconds since the Unix epoch.
    at: u64,
    /// How long to wait after it.
    wait: Duration,
}

impl Failure {
    /// The next one: each waits twice as long as the one before.
    fn after(former: Option<Self>, at: u64) -> Self {
        let wait = former.map_or(FIRST_RETRY, |former| (former.wait * 2).min(LAST_RETRY));
        Self { at, wait }
    }
}

/// When the next try is due, in seconds since the Unix epoch.
fn due_at(validity: Validity, failed: Option<Failure>) -> u64 {
    let again = failed.map_or(0, |failure| {
        failure.at.saturating_add(failure.wait.as_secs())
    });
    again.max(validity.half_life())
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Validity = Validity {
        not_before: 1_000_000,
        not_after: 1_000_000 + 86_400,
    };

    #[test]
    fn a_key_is_renewed_at_half_of_its_life() {
        assert_eq!(due_at(DAY, None), 1_000_000 + 43_200);
    }

    #[test]
    fn tries_grow_apart_and_are_many_before_the_end() {
        let mut failed = None;
        let mut tries = Vec::new();
        while due_at(DAY, failed) <= DAY.not_after {
            let at = due_at(DAY, failed);
            tries.push(at - DAY.not_before);
            failed = Some(Failure::after(failed, at));
        }
        assert_eq!(tries[..4], [43_200, 43_350, 43_650, 44_250]);
        let last = tries.windows(2).last().unwrap();
        assert_eq!(last[1] - last[0], 3600);
        assert!(tries.len() > 12, "{tries:?}");
    }

    #[test]
    fn a_success_is_not_followed_by_the_wait_of_a_failure() {
        let failed = Failure::after(None, DAY.half_life());
        let renewed = Validity {
            not_before: DAY.half_life() + 10,
            not_after: DAY.half_life() + 10 + 86_400,
        };
        assert_eq!(due_at(renewed, None), renewed.half_life());
        // Nor does an old failure bring the next renewal forward.
        assert_eq!(due_at(renewed, Some(failed)), renewed.half_life());
    }
}
