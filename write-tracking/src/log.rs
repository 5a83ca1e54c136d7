//! What other processes wrote of a guest's RAM, as they say themselves: a bitmap that they share with who measures.
//!
//! A device back end maps the RAM file by itself, so that the page tables of QEMU tell nothing of its writes. It *notes* each page
//! that it wrote to; who measures *takes* the notes and copies those pages. A note is one bit a page of the file, in words of 64
//! bits, the lowest bit first, in a memory file that can neither shrink nor grow.
//!
//! # Why no write is lost
//!
//! Of each write one of two must hold: the copy that follows a take has it, or its note is there for a later take.
//!
//! ```text
//!     who writes                          who measures
//! 1   write the bytes                 4   clear the bit, seeing what it was
//! 2   fence                           5   fence
//! 3   look at the bit; set it         6   if it was set: copy the page
//!     unless it is set
//! ```
//!
//! **The note comes after the write.** One that came before it only could be taken, and the page copied, before the bytes are
//! there, and nothing would tell of them afterwards. One that comes after it suffices, also without one before: until it is there, the
//! copy may lack the bytes, but then it is still to come. (A process that dies between the two leaves a write without its note. Its
//! supervisor knows that it died, and notes [everything](Log::all).)
//!
//! **If 3 sets the bit**, that is one step with a place in the order of all changes to the word: before 4 or after it. After it, the
//! note is there for the next take. Before it, 4 has seen what 3 has done (release and acquire), and 6 copies the bytes.
//!
//! **If 3 finds the bit set**, it does nothing, which is why the fences are there. It has seen the word as it was before the
//! clearing of some step 4 that is still to come, or is under way on another processor: that step finds the bit set, and 6 follows.
//! But without a fence the bytes of 1 could still be on their way (in the store buffer of the processor) while 3 looks: 4 and 6 could
//! pass in between, 6 would copy the old bytes, and the note is gone. With both fences that cannot be (it is the store buffering test of
//! every memory model): 3 has not seen the clearing, so that in the order of the two fences 2 is before 5, and what is behind 5
//! sees what was before 2. This holds in the model of C++ and Rust for fences of sequential consistency, whatever the processor.
//!
//! To set the bit each time would need no fence, since on x86 a locked instruction is one. It costs the same (the fence is a locked
//! instruction on the stack) while one thread notes; but then each note takes the word's cache line away from all others, and a line
//! is of 2 MiB of RAM, in which the rings of all queues of a device can be. Bits that are set already are left alone here.
//!
//! The final take, while the guest stands still, sees all notes: that everybody has stopped is known from each of them, after its last
//! note.
//!
//! What is behind the mapping is shared with processes that may be hostile: any bits are good. A writer that notes too much has pages
//! copied once more; one that clears notes, or writes none, keeps nothing from anybody but its own writes, which it could as well not
//! have noted. Each writer has a log of its own.

mod words;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, fstat,
    ftruncate, memfd_create,
};
use rustix::io::Errno;

use crate::range::{FileRange, PAGE_SIZE};
use words::Words;

/// Most bytes of RAM that a log is of: 1 TiB, of which it is 32 MiB.
const MAX_RAM: u64 = 1 << 40;

/// What keeps a log as large as it is.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// A log, mapped.
#[derive(Debug)]
pub struct Log {
    words: Words,
    pages: u64,
}

/// Why there is no log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogError {
    /// No such RAM.
    #[error("{0} bytes are no RAM: not of whole pages, none, or more than {MAX_RAM}")]
    NotRam(u64),
    /// The file could shrink under the mapping, which would kill this process by SIGBUS.
    #[error("the log can change its size; seal it against shrinking, growing and other seals")]
    NotSealed,
    /// It is a log of other RAM.
    #[error("a log of this RAM has {expected} bytes, not {found}")]
    OtherSize {
        /// What it should have.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// The kernel refused.
    #[error("cannot {doing} a log: {errno}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
}

impl Log {
    /// Makes the file of a log of RAM of `ram_size` bytes, without a note.
    pub fn create(ram_size: u64) -> Result<OwnedFd, LogError> {
        let size = bytes(ram_size)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("bartizan-written", flags).map_err(system("create"))?;
        ftruncate(&file, size).map_err(system("size"))?;
        // Now, and not by a SIGBUS in a device back end when the host is short of memory.
        fallocate(&file, FallocateFlags::empty(), 0, size).map_err(system("allocate"))?;
        fcntl_add_seals(&file, SEALS).map_err(system("seal"))?;
        Ok(file)
    }

    /// Maps the log of RAM of `ram_size` bytes. The descriptor may be closed afterwards.
    ///
    /// # Errors
    ///
    /// [`LogError`] where the file could change its size, or has another than a log of that RAM.
    pub fn map(file: impl AsFd, ram_size: u64) -> Result<Self, LogError> {
        let file = file.as_fd();
        let expected = bytes(ram_size)?;
        let seals = match fcntl_get_seals(file) {
            // What has no seals at all is no memfd.
            Err(Errno::INVAL) => return Err(LogError::NotSealed),
            other => other.map_err(system("read the seals of"))?,
        };
        if !seals.contains(SEALS) {
            return Err(LogError::NotSealed);
        }
        let found = fstat(file).map_err(system("stat"))?.st_size.cast_unsigned();
        if found != expected {
            return Err(LogError::OtherSize { expected, found });
        }
        Ok(Self {
            words: Words::map(file, expected).map_err(system("map"))?,
            pages: ram_size / PAGE_SIZE,
        })
    }

    /// The size of the RAM in bytes.
    #[must_use]
    pub const fn ram_size(&self) -> u64 {
        self.pages * PAGE_SIZE
    }

    /// Notes that `size` bytes of the RAM file from `offset` on were written. To be called after each write, before anybody is told
    /// that it is done.
    ///
    /// What is not all RAM was not written there: all pages are noted then, since nobody knows which were.
    pub fn note(&self, offset: u64, size: u64) {
        let Some(last) = size.checked_sub(1).map(|rest| offset.checked_add(rest)) else {
            return;
        };
        match last.map(|last| last / PAGE_SIZE) {
            Some(last) if last < self.pages => self.set(offset / PAGE_SIZE, last + 1),
            _ => self.all(),
        }
    }

    /// Notes all pages: whoever notes here has ended in the midst of something.
    pub fn all(&self) {
        self.set(0, self.pages);
    }

    fn set(&self, first: u64, end: u64) {
        fence(Ordering::SeqCst);
        for (word, mask) in self.words.masks(first, end) {
            if word.load(Ordering::Relaxed) & mask != mask {
                word.fetch_or(mask, Ordering::Release);
            }
        }
    }

    /// Takes the notes of the pages of `range`: tells them, in order, and clears them. Copies of those pages are to be made after
    /// they were told. What of `range` is not of this RAM has no notes.
    pub fn take(&self, range: FileRange, mut noted: impl FnMut(FileRange)) {
        let first = (range.offset() / PAGE_SIZE).min(self.pages);
        let end = (range.end() / PAGE_SIZE).min(self.pages);
        let mut run = 0..0;
        let mut page = first;
        for (word, mask) in self.words.masks(first, end) {
            let pages = page..page + u64::from(mask.count_ones());
            let mut bits = 0;
            // A note that this does not see yet is one for the next take.
            if word.load(Ordering::Relaxed) & mask != 0 {
                bits = word.fetch_and(!mask, Ordering::Acquire) & mask;
                fence(Ordering::SeqCst);
            }
            bits >>= mask.trailing_zeros();
            page = pages.end;
            for here in pages {
                if bits & 1 != 0 {
                    if run.end != here {
                        tell(&run, &mut noted);
                        run.start = here;
                    }
                    run.end = here + 1;
                }
                bits >>= 1;
            }
        }
        tell(&run, &mut noted);
    }
}

/// Tells a run of pages, unless it is of none.
fn tell(run: &std::ops::Range<u64>, mut noted: impl FnMut(FileRange)) {
    if let Some(range) = FileRange::between(run.start * PAGE_SIZE, run.end * PAGE_SIZE) {
        noted(range);
    }
}

/// How large the log of such RAM is.
fn bytes(ram_size: u64) -> Result<u64, LogError> {
    if ram_size == 0 || ram_size > MAX_RAM || !ram_size.is_multiple_of(PAGE_SIZE) {
        return Err(LogError::NotRam(ram_size));
    }
    Ok((ram_size / PAGE_SIZE).div_ceil(64) * 8)
}

fn system(doing: &'static str) -> impl Fn(Errno) -> LogError {
    move |errno| LogError::System { doing, errno }
}

#[cfg(test)]
mod tests;
