//! What is kept of each page until all of it is as of one moment: its bytes, or its digest alone.
//!
//! Digests need no copy of the regions. Each page is hashed from a copy in a buffer of one page, which is made anew for each: guest memory
//! changes while it is read, and no two looks at it need see the same. While the guest stands still nothing is hashed: those pages
//! are copied, into memory that was made for so many and no more, and hashed when the guest runs again.

use bartizan_attestation::digest::hash;
use bartizan_attestation::measurement::{HashAlgorithm, PAGE_SIZE, Refusal};
use bartizan_guest_memory::{Gpa, GuestRam, NotRam};

use super::allocate;
use crate::contents::{Contents, Kept, Runs, page_size};
use crate::extents::Extent;
use crate::snapshot_buffer::SnapshotBuffer;

/// What is kept of each page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Bytes,
    PageDigests(HashAlgorithm),
}

/// Memory of so many slots, a page each.
pub(super) struct Store {
    memory: SnapshotBuffer,
    hashing: Option<Hashing>,
}

struct Hashing {
    algorithm: HashAlgorithm,
    /// One page, to be hashed at once.
    page: SnapshotBuffer,
    /// Pages to be hashed later.
    late: SnapshotBuffer,
    /// Whose they are.
    late_slots: Vec<u64>,
    most_late: u64,
}

/// A page was not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// It is none.
    #[error(transparent)]
    NotRam(#[from] NotRam),
    /// There is no place for more pages that are to be hashed later.
    #[error("no more than {0} pages can be copied while the guest stands still")]
    Full(u64),
}

impl Form {
    /// Of so many pages, how many can be taken while the guest stands still: all of them where they are copied anyway; else a quarter,
    /// but for few pages, and 32 MiB at most.
    pub(super) fn most_late(self, slots: u64) -> u64 {
        const FEW: u64 = 1024;
        const MANY: u64 = 8192;
        match self {
            Self::Bytes => slots,
            Self::PageDigests(_) => (slots / 4).clamp(FEW, MANY).min(slots),
        }
    }
}

impl Store {
    /// Memory for it.
    ///
    /// # Errors
    /// The host is short of it.
    pub(super) fn allocate(form: Form, slots: u64) -> Result<Self, Refusal> {
        let Form::PageDigests(algorithm) = form else {
            return Ok(Self {
                memory: allocate(slots.saturating_mul(PAGE_SIZE))?,
                hashing: None,
            });
        };
        let most_late = form.most_late(slots);
        Ok(Self {
            memory: allocate(slots.saturating_mul(algorithm.digest_len() as u64))?,
            hashing: Some(Hashing {
                algorithm,
                page: allocate(PAGE_SIZE)?,
                late: allocate(most_late.saturating_mul(PAGE_SIZE))?,
                late_slots: Vec::with_capacity(usize::try_from(most_late).unwrap_or_default()),
                most_late,
            }),
        })
    }

    /// Takes the pages of an extent as they are now, or some of each as it was before and some as it is after a write.
    pub(super) fn take(&mut self, ram: &GuestRam, extent: Extent, slot: u64) -> Result<(), NotRam> {
        let Some(hashing) = &mut self.hashing else {
            return ram.copy_pages(
                extent.at,
                slots(&mut self.memory, slot, extent, page_size()),
            );
        };
        let digest_len = hashing.algorithm.digest_len();
        let digests = slots(&mut self.memory, slot, extent, digest_len);
        for (at, digest) in pages(extent).zip(digests.chunks_mut(digest_len)) {
            let page = hashing.page.bytes_mut();
            ram.copy_pages(at, page)?;
            digest.copy_from_slice(&hash(hashing.algorithm, page).0);
        }
        Ok(())
    }

    /// The same while the guest stands still; [`Store::settle`] is to be called afterwards.
    pub(super) fn take_late(
        &mut self,
        ram: &GuestRam,
        extent: Extent,
        slot: u64,
    ) -> Result<(), StoreError> {
        let Some(hashing) = &mut self.hashing else {
            return Ok(self.take(ram, extent, slot)?);
        };
        for (at, slot) in pages(extent).zip(slot..) {
            let mut late = hashing.late.bytes_mut().chunks_mut(page_size());
            let page = late.nth(hashing.late_slots.len());
            ram.copy_pages(at, page.ok_or(StoreError::Full(hashing.most_late))?)?;
            hashing.late_slots.push(slot);
        }
        Ok(())
    }

    /// Hashes what was left to be.
    pub(super) fn settle(&mut self) {
        let Some(hashing) = &mut self.hashing else {
            return;
        };
        let digest_len = hashing.algorithm.digest_len();
        let late = hashing.late.bytes().chunks(page_size());
        for (slot, page) in hashing.late_slots.drain(..).zip(late) {
            let of_one = Extent {
                at: Gpa(0),
                size: PAGE_SIZE,
            };
            let digest = slots(&mut self.memory, slot, of_one, digest_len);
            digest.copy_from_slice(&hash(hashing.algorithm, page).0);
        }
    }

    /// All that is kept, in the order of regions.
    pub(super) fn into_contents(self, runs: Runs) -> Contents {
        match self.hashing {
            None => Contents::Bytes(Kept::new(self.memory, page_size(), runs)),
            Some(hashing) => {
                let unit = hashing.algorithm.digest_len();
                Contents::PageDigests(Kept::new(self.memory, unit, runs))
            }
        }
    }
}

/// The addresses of an extent's pages.
fn pages(extent: Extent) -> impl Iterator<Item = Gpa> {
    let end = extent.at.0.saturating_add(extent.size);
    (extent.at.0..end).step_by(page_size()).map(Gpa)
}

/// The memory of an extent's slots.
fn slots(memory: &mut SnapshotBuffer, slot: u64, extent: Extent, unit: usize) -> &mut [u8] {
    let at = |slot: u64| usize::try_from(slot).map_or(usize::MAX, |slot| slot.saturating_mul(unit));
    let range = at(slot)..at(slot.saturating_add(extent.size / PAGE_SIZE));
    // INVARIANT: every slot that there is has memory.
    memory.bytes_mut().get_mut(range).unwrap_or_default()
}
