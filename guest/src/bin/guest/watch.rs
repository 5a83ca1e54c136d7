//! `bartizan-guest renew --watch`: the key is renewed at half of its certificate's life, for as long as the guest runs.

use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_guest::{Enrollment, HostApi, StateError, renew};
use rustix::time::{ClockId, clock_gettime};

mod tries;

use tries::{Now, Tries};

/// Longest sleep: a guest that was paused finds that its clocks have gone on.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Renews for ever; returns only when there is no valid enrolment to renew.
pub(crate) fn renew_in_time(host: &HostApi, folder: &Path) -> StateError {
    let mut tries = Tries::default();
    loop {
        let certificate = match Enrollment::load(folder) {
            Ok(enrollment) => enrollment.validity(),
            Err(error) => return error,
        };
        let wait = tries.until_due(certificate, now());
        if !wait.is_zero() {
            thread::sleep(wait.min(LOOK_AGAIN));
            continue;
        }
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

fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    // INVARIANT: a clock that counts from the boot on is never negative.
    let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    Now {
        wall_s: wall.map_or(0, |since| since.as_secs()),
        since_boot,
    }
}
