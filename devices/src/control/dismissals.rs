//! Devices that were dismissed and have not ended yet.
//!
//! Known attack: a QEMU has its device's thread wait for ever in a file that it shares, so that the thread, and the RAM of a
//! guest that is long gone, are never given back. Nobody can end one thread of a process: this one ends as a whole then,
//! which all guests survive (their supervisors attach again), rather than fill up.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::link::Link;

/// How long a device may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Those that are to end.
#[derive(Default)]
pub(super) struct Dismissals {
    ending: Mutex<Ending>,
    added: Condvar,
}

/// A device does not end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the device of CID {0} hangs: it has not ended {PATIENCE:?} after its dismissal")]
pub(super) struct Stuck(u32);

impl Dismissals {
    /// Has a device end, if it has not yet.
    pub(super) fn dismiss(&self, cid: u32, device: &Weak<Link>) {
        if let Some(link) = device.upgrade() {
            link.dismiss();
            self.lock().add(cid, &link, Instant::now());
            self.added.notify_one();
        }
    }

    /// Waits until a device should have ended and has not.
    pub(super) fn watch(&self) -> Stuck {
        let mut ending = self.lock();
        loop {
            let waited = match ending.look(Instant::now()) {
                Err(stuck) => return stuck,
                Ok(None) => self.added.wait(ending),
                Ok(Some(time)) => match self.added.wait_timeout(ending, time) {
                    Ok((ending, _)) => Ok(ending),
                    Err(poisoned) => Ok(poisoned.into_inner().0),
                },
            };
            ending = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ending> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is to end until when.
#[derive(Default)]
struct Ending(Vec<(u32, Weak<Link>, Instant)>);

impl Ending {
    fn add(&mut self, cid: u32, device: &Arc<Link>, now: Instant) {
        self.0.push((cid, Arc::downgrade(device), now + PATIENCE));
    }

    /// Forgets what has ended; how long the next one still has, if there is any.
    fn look(&mut self, now: Instant) -> Result<Option<Duration>, Stuck> {
        // Its link is what a device's thread lets go of last.
        self.0.retain(|(_, device, _)| device.strong_count() > 0);
        // In the order of their dismissal.
        let Some((cid, _, until)) = self.0.first() else {
            return Ok(None);
        };
        match until.saturating_duration_since(now) {
            Duration::ZERO => Err(Stuck(*cid)),
            time => Ok(Some(time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn device() -> Arc<Link> {
        let (link, _) = UnixStream::pair().unwrap();
        Arc::new(Link::new(link))
    }

    #[test]
    fn a_device_that_has_ended_is_forgotten_and_one_that_has_not_is_stuck() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let (ends, hangs) = (device(), device());
        let mut ending = Ending::default();
        assert_eq!(ending.look(start), Ok(None));
        ending.add(3, &ends, start);
        ending.add(4, &hangs, after(2));
        assert_eq!(ending.look(after(1)), Ok(Some(Duration::from_secs(9))));
        drop(ends);
        assert_eq!(ending.look(after(10)), Ok(Some(Duration::from_secs(2))));
        assert_eq!(ending.look(after(12)), Err(Stuck(4)));
        drop(hangs);
        assert_eq!(ending.look(after(12)), Ok(None));
    }

    #[test]
    fn nothing_is_kept_of_a_device_that_had_ended_before() {
        let dismissals = Dismissals::default();
        dismissals.dismiss(3, &Weak::new());
        let serves = device();
        dismissals.dismiss(4, &Arc::downgrade(&serves));
        assert!(serves.is_dismissed());
        let kept: Vec<u32> = dismissals.lock().0.iter().map(|(cid, ..)| *cid).collect();
        assert_eq!(kept, [4]);
    }
}
