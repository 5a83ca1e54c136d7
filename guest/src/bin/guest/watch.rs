//! `bartizan-guest renew --watch`: the key is renewed at half of its certificate's life, for as long as the guest runs.

use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_guest::{Enrollment, HostApi, StateError, Validity, renew};
use rustix::time::{ClockId, clock_gettime};

mod tries;

use tries::{Now, Tries};

/// Longest sleep: a guest that was paused finds that its clocks have gone on.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What to do next.
#[derive(Debug)]
enum Next {
    /// Renew a key with this certificate.
    Renew(Validity),
    /// Look again after so long.
    Wait(Duration),
    /// Wait for somebody to set the clock right.
    WaitForClock,
    /// There is nothing to renew.
    GiveUp(StateError),
}

/// Renews for ever; returns only when there is no valid enrolment to renew.
pub(crate) fn renew_in_time(host: &HostApi, folder: &Path) -> StateError {
    let mut tries = Tries::default();
    loop {
        let enrolled = Enrollment::load(folder).map(|enrollment| enrollment.validity());
        let certificate = match next(enrolled, &tries, now()) {
            Next::Renew(certificate) => certificate,
            Next::Wait(wait) => {
                thread::sleep(wait);
                continue;
            }
            Next::WaitForClock => {
                eprintln!("bartizan-guest: {}", StateError::NotYetValid);
                thread::sleep(LOOK_AGAIN);
                continue;
            }
            Next::GiveUp(error) => return error,
        };
        let result = renew(host, folder);
        // A try may take a minute: the next one is so long after its end.
        let ended_at = now().since_boot;
        match result {
            Ok(renewed) => {
                tries.renewed(certificate, ended_at);
                let until = renewed.validity().not_after;
                eprintln!("bartizan-guest: renewed; valid until {until} (Unix time)");
            }
            Err(error) => {
                let wait = tries.failed(certificate, ended_at).as_secs();
                eprintln!("bartizan-guest: not renewed, tried again in {wait} s: {error}");
            }
        }
    }
}

fn next(enrolled: Result<Validity, StateError>, tries: &Tries, now: Now) -> Next {
    match enrolled {
        Ok(certificate) => match tries.until_due(certificate, now) {
            Duration::ZERO => Next::Renew(certificate),
            wait => Next::Wait(wait.min(LOOK_AGAIN)),
        },
        Err(StateError::NotYetValid) => Next::WaitForClock,
        Err(error) => Next::GiveUp(error),
    }
}

fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    // INVARIANT: a clock that counts from the boot on is never negative.
    let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    Now {
        wall_s: wall.map_or(0, |since| since.as_secs()),
        since_boot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now {
        wall_s: 1_000_000,
        since_boot: Duration::from_secs(600),
    };

    #[test]
    fn a_clock_that_is_behind_does_not_end_the_watch() {
        let tries = Tries::default();
        let next = |enrolled| next(enrolled, &tries, NOW);
        assert!(matches!(
            next(Err(StateError::NotYetValid)),
            Next::WaitForClock
        ));
        for ends in [StateError::Expired, StateError::OtherKey] {
            assert!(matches!(next(Err(ends)), Next::GiveUp(_)));
        }
    }

    #[test]
    fn a_key_is_renewed_when_it_is_due_and_looked_at_every_minute_before() {
        let until = |not_after| Validity {
            not_before: NOW.wall_s - 100,
            not_after,
        };
        let tries = Tries::default();
        let next = |not_after| next(Ok(until(not_after)), &tries, NOW);
        assert!(matches!(next(NOW.wall_s + 100), Next::Renew(_)));
        let Next::Wait(wait) = next(NOW.wall_s + 120) else {
            panic!("it is not due");
        };
        assert_eq!(wait, Duration::from_secs(10));
        let Next::Wait(wait) = next(NOW.wall_s + 86_400) else {
            panic!("it is not due");
        };
        assert_eq!(wait, LOOK_AGAIN);
    }
}
