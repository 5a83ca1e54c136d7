//! Snapshots by `pause-copy`: the guest is stopped, the pages are copied, the guest runs on.

use bartizan_attestation::measurement::{Refusal, Snapshot, SnapshotMode};
use bartizan_guest_memory::GuestRam;

use super::lease::lease;
use super::{ATTEMPTS, Extents, Taken, allocate, now_ms, resolve_running};
use crate::contents::Contents;
use crate::extents::Extent;
use crate::link::{Link, LinkError};

/// Takes one, as [`super::take`] says.
pub(super) fn take<R: Extents>(
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
        match resolved {
            // Stopped in the midst of a change.
            Err(inconsistent @ Refusal::InconsistentMemory(_)) => refusal = inconsistent,
            settled => {
                return Ok(settled.map(|resolved| Taken {
                    contents: Contents::copied(bytes, resolved.bytes()),
                    resolved,
                    how: Snapshot {
                        mode: SnapshotMode::PauseCopy,
                        pause_us: resumed.pause_us,
                        dirtied_pages: 0,
                    },
                    at_ms,
                }));
            }
        }
    }
    Ok(Err(refusal))
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
