//! Snapshots by `live`: the guest runs while its pages are read, and stands still only while those are copied once more that it wrote too
//! late.
//!
//! ```text
//! resolve ─► track writes ─► take all pages ─► take what was written, until that is little ─► Pause
//!         ─► resolve again; copy what was written since, and what has come to what is measured ─► Resume ─► hash the rest
//! ```
//!
//! A page that is read while it is written may be *torn*: have some of its bytes from before, some from after. So may all pages
//! together. Neither matters: the write came after writes were tracked, so that a later round tells the page, or the last look
//! does, while the guest stands still; and then it is taken anew (`bartizan-write-tracking`, module `tracker`, has the argument). What is
//! reported is what was resolved and what all pages held while the guest stood still.
//!
//! How long that is depends on what was written since the last round, not on how much is measured:
//!
//! - Rounds go on until one tells less than [`FEW`] pages, and there are [`ROUNDS`] of them at most, none of which begins after
//!   [`ROUNDS_TIME`].
//! - A guest that writes faster than its pages are taken is not waited for. Where its pages are copied (`flat`), the rest is copied while
//!   it stands still, at worst everything, as by `pause-copy`. Where they are hashed (`tree`), there is memory for so many pages to be
//!   hashed later and no more ([`Form::most_late`]); beyond that this snapshot is by `pause-copy`.
//! - What has come to what is measured between the two resolutions was not tracked: it is copied while the guest stands still. More than
//!   [`SPARE`] pages of it are a change of the process in the midst of being measured: all is done again.
//!
//! Where tracking fails, nothing stays protected, and this snapshot is by `pause-copy`.

use std::time::{Duration, Instant};

use bartizan_attestation::measurement::{PAGE_SIZE, Refusal, Snapshot, SnapshotMode};
use bartizan_guest_memory::{Gpa, GuestRam, NotRam};
use bartizan_write_tracking::TrackError;

use super::lease::lease;
use super::pages::Pages;
use super::store::{Form, Store, StoreError};
use super::{ATTEMPTS, Extents, Taken, now_ms, resolve_running};
use crate::contents::{Contents, Runs, page_size};
use crate::extents::Extent;
use crate::link::{Link, LinkError};
use crate::tracking::{Rounds, Track};

/// A round that tells less is the last one: so many pages are copied in about a millisecond, which the pause takes in any case.
const FEW: u64 = 512;
/// Most rounds.
const ROUNDS: usize = 8;
/// No round begins after this.
const ROUNDS_TIME: Duration = Duration::from_secs(10);
/// Most pages that may come to what is measured while it is.
const SPARE: u64 = 512;
/// Most pieces of RAM that are tracked: each is looked at while the guest stands still.
const MAX_PIECES: usize = 16_384;

/// Why there is no live snapshot.
pub(super) enum Failure {
    /// There is none of another kind, either.
    Refused(Refusal),
    /// There may be one of another kind.
    NotLive(NotLive),
}

/// What a live snapshot is not possible for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum NotLive {
    /// Writes cannot be tracked, or no more.
    #[error(transparent)]
    Track(#[from] TrackError),
    /// Every piece costs time while the guest stands still.
    #[error("what is measured is in more than {MAX_PIECES} pieces of RAM")]
    Scattered,
    /// The guest writes faster than its pages are hashed.
    #[error("the guest writes faster than its pages are hashed: more than {0} pages were left")]
    Outrun(u64),
    /// What is measured becomes more while it is.
    #[error("more than {SPARE} pages came to what is measured while it was")]
    Changed,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotRam(NotRam { at }) => Self::Refused(Refusal::NotRam { address: at.0 }),
            StoreError::Full(most) => Self::NotLive(NotLive::Outrun(most)),
        }
    }
}

impl From<TrackError> for Failure {
    fn from(error: TrackError) -> Self {
        Self::NotLive(error.into())
    }
}

/// Takes one, as [`super::take`] says.
pub(super) fn take<R: Extents>(
    link: &mut Link,
    ram: &GuestRam,
    track: &mut impl Track,
    form: Form,
    mut resolve: impl FnMut() -> Result<R, Refusal>,
) -> Result<Result<Taken<R>, Failure>, LinkError> {
    let mut failure = Failure::Refused(Refusal::PauseFailed);
    for _ in 0..ATTEMPTS {
        let (resolved, took) = resolve_running(&mut resolve);
        let followed = resolved
            .map_err(Failure::Refused)
            .and_then(|resolved| Followed::begin(ram, track, form, resolved));
        let mut followed = match followed {
            Ok(followed) => followed,
            Err(failure) => return Ok(Err(failure)),
        };
        if !link.pause(lease(followed.most_late() * PAGE_SIZE, took))? {
            return Ok(Err(Failure::Refused(Refusal::PauseFailed)));
        }
        let at_ms = now_ms();
        let cut = resolve()
            .map_err(Failure::Refused)
            .and_then(|resolved| followed.cut(resolved));
        let resumed = link.resume()?;
        // Not while the guest stands still: it takes longer than what it has to stand still for.
        let (pages, store) = followed.release();
        if !resumed.in_time {
            tracing::warn!(
                pause_us = resumed.pause_us,
                "the lease ran out; the snapshot is void"
            );
            continue;
        }
        match cut {
            // Stopped in the midst of a change.
            Err(
                changed @ (Failure::Refused(Refusal::InconsistentMemory(_))
                | Failure::NotLive(NotLive::Changed)),
            ) => failure = changed,
            Err(failure) => return Ok(Err(failure)),
            Ok(cut) => {
                return Ok(Ok(Taken {
                    how: Snapshot {
                        mode: SnapshotMode::Live,
                        pause_us: resumed.pause_us,
                        dirtied_pages: cut.late,
                    },
                    contents: cut.contents(&pages, store),
                    resolved: cut.resolved,
                    at_ms,
                }));
            }
        }
    }
    Ok(Err(failure))
}

/// What was resolved, all pages of which were taken, and are tracked.
struct Followed<'a, R, A> {
    ram: &'a GuestRam,
    resolved: R,
    pages: Pages,
    store: Store,
    form: Form,
    late: Late,
    armed: A,
}

/// What was resolved while the guest stood still.
struct Cut<R> {
    resolved: R,
    /// What came to it since it was resolved before.
    more: Pages,
    /// How many pages were taken then.
    late: u64,
}

impl<'a, R: Extents, A: Rounds> Followed<'a, R, A> {
    fn begin<'t, T: Track<Armed<'t> = A> + 't>(
        ram: &'a GuestRam,
        track: &'t mut T,
        form: Form,
        resolved: R,
    ) -> Result<Self, Failure> {
        if resolved.extents().len() > MAX_PIECES {
            return Err(Failure::NotLive(NotLive::Scattered));
        }
        let pages = Pages::new(resolved.extents(), 0);
        let slots = pages.end().saturating_add(SPARE);
        let store = Store::allocate(form, slots).map_err(Failure::Refused)?;
        let tracked: Vec<Extent> = pages.all().map(|(extent, _)| extent).collect();
        let mut followed = Self {
            ram,
            resolved,
            late: Late::new(slots),
            pages,
            store,
            form,
            armed: track.arm(&tracked)?,
        };
        for (extent, slot) in followed.pages.all() {
            let taken = followed.store.take(ram, extent, slot);
            taken.map_err(StoreError::from)?;
        }
        followed.rounds()?;
        Ok(followed)
    }

    fn most_late(&self) -> u64 {
        self.form.most_late(self.pages.end().saturating_add(SPARE))
    }

    /// Takes what is written meanwhile, until that is little.
    fn rounds(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let mut told = 0;
        for _ in 0..ROUNDS {
            told = self.round()?;
            if told < FEW || began.elapsed() > ROUNDS_TIME {
                break;
            }
        }
        // What is left after the next one is no less: the guest need not stand still for that.
        match self.most_late() {
            most if told > most => Err(Failure::NotLive(NotLive::Outrun(most))),
            _ => Ok(()),
        }
    }

    /// How many pages it took.
    fn round(&mut self) -> Result<u64, Failure> {
        let Self {
            ram,
            pages,
            store,
            armed,
            ..
        } = self;
        let mut told = 0;
        let mut taken = Ok(());
        armed.written(&mut |extent| {
            for part in pages.parts(extent) {
                if let (Some(slot), true) = (part.slot, taken.is_ok()) {
                    told += part.extent.size / PAGE_SIZE;
                    taken = store.take(ram, part.extent, slot);
                }
            }
        })?;
        taken.map_err(StoreError::from)?;
        Ok(told)
    }

    /// While the guest stands still.
    fn cut(&mut self, resolved: R) -> Result<Cut<R>, Failure> {
        let Self {
            ram,
            pages,
            store,
            armed,
            late,
            ..
        } = self;
        let mut taken = Ok(());
        armed.cut(&mut |extent| {
            for part in pages.parts(extent) {
                if let (Some(slot), true) = (part.slot, taken.is_ok()) {
                    taken = late.take(store, ram, part.extent, slot);
                }
            }
        })?;
        taken?;
        let more = if resolved.extents() == self.resolved.extents() {
            Pages::new(&[], pages.end())
        } else {
            come_to(pages, resolved.extents())?
        };
        for (extent, slot) in more.all() {
            late.take(store, ram, extent, slot)?;
        }
        Ok(Cut {
            resolved,
            more,
            late: late.count,
        })
    }

    /// Ends the tracking, and hashes what was left to be.
    fn release(self) -> (Pages, Store) {
        let Self {
            armed,
            pages,
            mut store,
            ..
        } = self;
        drop(armed);
        store.settle();
        (pages, store)
    }
}

/// What of these extents is not among those pages.
fn come_to(pages: &Pages, extents: &[Extent]) -> Result<Pages, Failure> {
    let parts = extents.iter().flat_map(|extent| pages.parts(*extent));
    let unknown = parts.filter(|part| part.slot.is_none());
    let more: Vec<Extent> = unknown.map(|part| part.extent).collect();
    let more = Pages::new(&more, pages.end());
    if more.count() > SPARE || extents.len() > MAX_PIECES {
        return Err(Failure::NotLive(NotLive::Changed));
    }
    Ok(more)
}

impl<R: Extents> Cut<R> {
    /// Of `pages` and what came to them, in the order of what was resolved.
    fn contents(&self, pages: &Pages, store: Store) -> Contents {
        let mut runs = Runs::default();
        for extent in self.resolved.extents() {
            for part in pages.parts(*extent) {
                match part.slot {
                    Some(slot) => runs.push(slot, part.extent.size / PAGE_SIZE),
                    None => self.more.parts(part.extent).for_each(|part| {
                        // INVARIANT: what is in neither was put into the second.
                        let slot = part.slot.unwrap_or_default();
                        runs.push(slot, part.extent.size / PAGE_SIZE);
                    }),
                }
            }
        }
        store.into_contents(runs)
    }
}

/// Which slots were taken while the guest stood still: once is enough, whoever tells of a page then.
struct Late {
    bits: Vec<u64>,
    count: u64,
}

impl Late {
    fn new(slots: u64) -> Self {
        let words = usize::try_from(slots.div_ceil(64)).unwrap_or_default();
        Self {
            bits: vec![0; words],
            count: 0,
        }
    }

    fn take(
        &mut self,
        store: &mut Store,
        ram: &GuestRam,
        extent: Extent,
        slot: u64,
    ) -> Result<(), StoreError> {
        let addresses = (extent.at.0..).step_by(page_size());
        for (at, slot) in addresses.zip(slot..slot + extent.size / PAGE_SIZE) {
            if self.is_first(slot) {
                let page = Extent {
                    at: Gpa(at),
                    size: PAGE_SIZE,
                };
                store.take_late(ram, page, slot)?;
                self.count += 1;
            }
        }
        Ok(())
    }

    fn is_first(&mut self, slot: u64) -> bool {
        let word = usize::try_from(slot / 64).ok();
        // INVARIANT: there is a bit for each slot.
        let Some(word) = word.and_then(|word| self.bits.get_mut(word)) else {
            return false;
        };
        let bit = 1 << (slot % 64);
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

#[cfg(test)]
mod tests;
