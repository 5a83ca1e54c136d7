//! Snapshots: the contents of guest RAM as of one moment, and what that cost the guest.
//!
//! Of two ways `live` is taken where writes can be tracked, and `pause-copy` where not, or where tracking fails in the
//! midst. The report says which it was.

mod lease;
mod live;
mod pages;
mod pause_copy;
mod store;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bartizan_attestation::measurement::{DigestKind, MeasurementRequest, Refusal, Snapshot};
use bartizan_guest_memory::GuestRam;

use crate::contents::Contents;
use crate::extents::Extent;
use crate::link::{Link, LinkError};
use crate::snapshot_buffer::SnapshotBuffer;
use crate::tracking::Track;
use live::{Failure, NotLive};
use store::Form;

/// How often a snapshot is tried whose lease ran out, or that met the guest in the midst of a change, and a
/// resolution that a running guest disturbed.
const ATTEMPTS: usize = 3;

/// Guest RAM as of one moment, and how it was had.
pub(crate) struct Taken<R> {
    pub(crate) contents: Contents,
    /// What was resolved while the guest stood still.
    pub(crate) resolved: R,
    pub(crate) how: Snapshot,
    /// Milliseconds since the Unix epoch, by the host's clock.
    pub(crate) at_ms: u64,
}

/// Something that names the guest RAM to be measured.
pub(crate) trait Extents {
    fn extents(&self) -> &[Extent];

    fn bytes(&self) -> u64 {
        self.extents()
            .iter()
            .fold(0, |sum, extent| sum.saturating_add(extent.size))
    }
}

/// Who tracks writes, if they can be tracked, and why the last snapshot could not be live.
pub(crate) struct Tracked<T> {
    track: Option<T>,
    said: Option<NotLive>,
}

impl<T: Track> Tracked<T> {
    pub(crate) const fn new(track: Option<T>) -> Self {
        Self { track, said: None }
    }

    /// Says why a snapshot is by `pause-copy`, unless that was the reason the last time, too.
    fn say(&mut self, why: NotLive) {
        if self.said.as_ref() != Some(&why) {
            tracing::warn!(%why, "a snapshot is taken by pause-copy; the next one is tried live again");
            self.said = Some(why);
        }
    }
}

/// Takes a snapshot of what `resolve` names, for `request`.
///
/// `resolve` runs at least twice: while the guest runs, so that nothing is paused for a request that is
/// refused anyway, memory is ready, and the lease is as long as the second one needs; and while it stands still,
/// which is the resolution that counts. It keeps its budget itself.
///
/// # Errors
/// Outside: the link is broken. Inside: the refusal, with the guest running on.
pub(crate) fn take<R: Extents>(
    link: &mut Link,
    ram: &GuestRam,
    tracked: &mut Tracked<impl Track>,
    request: &MeasurementRequest,
    mut resolve: impl FnMut() -> Result<R, Refusal>,
) -> Result<Result<Taken<R>, Refusal>, LinkError> {
    if let Some(track) = &mut tracked.track {
        let form = match request.kind {
            DigestKind::Flat => Form::Bytes,
            DigestKind::Tree => Form::PageDigests(request.algorithm),
        };
        match live::take(link, ram, track, form, &mut resolve)? {
            Ok(taken) => {
                tracked.said = None;
                return Ok(Ok(taken));
            }
            Err(Failure::Refused(refusal)) => return Ok(Err(refusal)),
            Err(Failure::NotLive(why)) => tracked.say(why),
        }
    }
    pause_copy::take(link, ram, resolve)
}

/// Resolves while the guest runs, which may change what is being read: an inconsistency is looked at again. And how long the last
/// look took.
fn resolve_running<R>(
    mut resolve: impl FnMut() -> Result<R, Refusal>,
) -> (Result<R, Refusal>, Duration) {
    let mut looks = 1;
    loop {
        let since = Instant::now();
        match resolve() {
            Err(Refusal::InconsistentMemory(_)) if looks < ATTEMPTS => looks += 1,
            settled => return (settled, since.elapsed()),
        }
    }
}

fn allocate(bytes: u64) -> Result<SnapshotBuffer, Refusal> {
    usize::try_from(bytes.max(1))
        .ok()
        .and_then(|size| SnapshotBuffer::allocate(size).ok())
        // The host is short of memory, which is no fault of the request.
        .ok_or(Refusal::Busy {
            retry_after_ms: 1000,
        })
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
