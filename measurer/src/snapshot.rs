//! Snapshots by `pause-copy`: the guest is stopped, the pages are copied, the guest runs on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bartizan_attestation::measurement::Refusal;
use bartizan_guest_memory::GuestRam;

use crate::extents::Extent;
use crate::link::{Link, LinkError};
use crate::snapshot_buffer::SnapshotBuffer;

/// How often a snapshot is tried whose lease ran out, or that met the guest in the midst of a change, and a
/// resolution that a running guest disturbed.
const ATTEMPTS: usize = 3;

/// Bytes of guest RAM as of one moment, and how they were had.
pub(crate) struct Taken<R> {
    pub(crate) bytes: SnapshotBuffer,
    /// What was resolved while the guest stood still.
    pub(crate) resolved: R,
    pub(crate) pause_us: u64,
    /// Milliseconds since the Unix epoch, by the host's clock.
    pub(crate) at_ms: u64,
}

/// Something that names the guest RAM to be copied.
pub(crate) trait Extents {
    fn extents(&self) -> &[Extent];

    fn bytes(&self) -> u64 {
        self.extents()
            .iter()
            .fold(0, |sum, extent| sum.saturating_add(extent.size))
    }
}

/// Takes a snapshot of what `resolve` names.
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
    mut resolve: impl FnMut() -> Result<R, Refusal>,
) -> Result<Result<Taken<R>, Refusal>, LinkError> {
    let mut refusal = Refusal::PauseFailed;
    for _ in 0..ATTEMPTS {
        let (resolved, took) = resolve_running(&mut resolve);
        let expected = match resolved {
            Ok(resolved) => resolved.bytes(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut bytes = match allocate(expected) {
            Ok(buffer) => buffer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !link.pause(lease(expected, took))? {
            return Ok(Err(Refusal::PauseFailed));
        }
        let at_ms = now_ms();
        let resolved = resolve().and_then(|resolved| {
            // A process's mappings may have grown since.
            if resolved.bytes() != expected {
                bytes = allocate(resolved.bytes())?;
            }
            copy(ram, resolved.extents(), bytes.bytes_mut())?;
            Ok(resolved)
        });
        let resumed = link.resume()?;
        if !resumed.in_time {
            tracing::warn!(
                pause_us = resumed.pause_us,
                "the lease ran out; the snapshot is void"
            );
            continue;
        }
        let pause_us = resumed.pause_us;
        match resolved {
            // Stopped in the midst of a change.
            Err(inconsistent @ Refusal::InconsistentMemory(_)) => refusal = inconsistent,
            settled => {
                return Ok(settled.map(|resolved| Taken {
                    bytes,
                    resolved,
                    pause_us,
                    at_ms,
                }));
            }
        }
    }
    Ok(Err(refusal))
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

/// For how long the guest is to stand still: a fixed part, 4 ms a MiB to copy, a tenth of what memory gives, and ten times what it took
/// to resolve the same just before: tasks, mappings and page tables, however many there are.
fn lease(bytes: u64, resolving: Duration) -> Duration {
    const FIXED: Duration = Duration::from_millis(250);
    const MEBIBYTE: Duration = Duration::from_millis(4);
    const LONGEST: Duration = Duration::from_millis(5000);
    let mebibytes = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
    FIXED
        .saturating_add(MEBIBYTE.saturating_mul(mebibytes))
        .saturating_add(resolving.saturating_mul(10))
        .min(LONGEST)
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

fn copy(ram: &GuestRam, extents: &[Extent], into: &mut [u8]) -> Result<(), Refusal> {
    let mut rest = into;
    for extent in extents {
        // INVARIANT: the buffer has as many bytes as the extents together.
        let size = usize::try_from(extent.size)
            .unwrap_or(usize::MAX)
            .min(rest.len());
        let (now, later) = rest.split_at_mut(size);
        ram.copy_pages(extent.at, now)
            .map_err(|not_ram| Refusal::NotRam {
                address: not_ram.at.0,
            })?;
        rest = later;
    }
    Ok(())
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
