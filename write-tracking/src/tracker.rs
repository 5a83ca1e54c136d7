//! Rounds: what was written since the last one, of what others wrote and of what QEMU and the guest wrote.
//!
//! ```text
//!             arm                     copy all of it
//!     Tracker ───► Armed ──► written ──► copy what was told ──┐
//!                     ▲                                       │ while much is told
//!                     └───────────────────────────────────────┘
//!                  the guest stands still ──► cut ──► copy what is told: as of that moment
//! ```
//!
//! # Why no write is lost
//!
//! Of writes through the mappings that are tracked. A page is protected or not; "written" means not (see
//! [`Pagemap`]). Two things hold by the kernel:
//!
//! - A. A write to a protected page makes it *written* before the write is done: the processor faults, the kernel changes the page
//!   table entry under its lock, the write is tried again. In the kernel's own writes (read(2), KVM's) it is the same fault.
//! - B. When [`Userfault::protect`] returns, every earlier write to its pages can be seen by whoever copies them from then on, and
//!   none is made any more without A: what could still write without a fault (translation buffers, KVM's tables) was invalidated.
//!
//! [`Armed::written`] (1) scans without changing anything, (2) protects exactly what the scan told, (3) tells it, to be copied.
//! Take a write to some page, and the first scan that looks at its page after it. Is there none, the guest wrote after the
//! cut. That scan finds the page
//!
//! - *written*: it is told, and copied afterwards. If it is protected in between (2), the copy is made after that, and has the write by
//!   B. At a cut there is no (2), and nobody writes: the copy has it.
//! - *protected*: then it has been protected since some earlier (2), or since it was armed, with no write that made it *written*
//!   in between. The write was made before that protection, by A: a copy was made after it, of the round that protected, or of
//!   all when it was armed. By B that copy has the write.
//!
//! So every write is in a copy, or its page is told by a later round; after the cut there is no later write, and all is copied. Nothing
//! of this needs a scan to be of one moment, nor the scans of different pages to be of the same: it holds for each page by
//! itself. It does need (2) to be exactly what (1) told: a page in between that is *written* only after the scan
//! looked would be protected without having been told. So ranges are not rounded, nor joined over gaps. And (3) must come after
//! (2): what is written between a copy and the protection would be in neither.
//!
//! After an error it is not known what was protected without having been told: [`TrackError::Lost`] until it is armed anew.
//!
//! What others write is told by their logs, whose own argument is [`Log`]'s. The two need no order between them.

use crate::error::TrackError;
use crate::log::Log;
use crate::mapped::{Mapped, Mappings};
use crate::pagemap::Pagemap;
use crate::range::{AddressRange, FileRange, merged};
use crate::userfault::Userfault;

/// What it takes to know of the writes to one guest's RAM.
#[derive(Debug)]
pub struct Tracker {
    userfault: Userfault,
    pagemap: Pagemap,
    mappings: Mappings,
    logs: Vec<Log>,
}

impl Tracker {
    /// All of one process, and the logs of everybody else who writes that RAM.
    #[must_use]
    pub const fn new(
        userfault: Userfault,
        pagemap: Pagemap,
        mappings: Mappings,
        logs: Vec<Log>,
    ) -> Self {
        Self {
            userfault,
            pagemap,
            mappings,
            logs,
        }
    }

    /// From now on writes to `ranges` are tracked. All of them is to be copied after this; what is written from here on, rounds
    /// tell.
    ///
    /// # Errors
    ///
    /// [`TrackError`]; nothing is tracked then.
    pub fn arm(&mut self, ranges: &[FileRange]) -> Result<Armed<'_>, TrackError> {
        let ranges = merged(ranges);
        let mut pieces = Vec::new();
        for range in &ranges {
            let of_it = self.mappings.pieces(*range);
            pieces.extend(of_it.ok_or(TrackError::NotMapped(*range))?);
            if self.logs.iter().any(|log| log.ram_size() < range.end()) {
                return Err(TrackError::NotLogged(*range));
            }
        }
        // Dropping it releases also what is not registered yet.
        let armed = Armed {
            spans: self.mappings.spans(&pieces),
            tracker: self,
            pieces,
            ranges,
            lost: false,
        };
        let Tracker {
            userfault, logs, ..
        } = &*armed.tracker;
        for span in &armed.spans {
            userfault
                .register(*span)
                .map_err(TrackError::system("register memory with a userfaultfd"))?;
        }
        for piece in &armed.pieces {
            userfault
                .protect(piece.address())
                .map_err(TrackError::system("write-protect memory"))?;
        }
        for range in &armed.ranges {
            for log in logs {
                // Those are of writes that the copy of all of it will have.
                log.take(*range, |_| {});
            }
        }
        Ok(armed)
    }
}

/// Writes to some ranges of the RAM file are tracked. Dropping it ends that: no page stays protected.
#[derive(Debug)]
#[must_use = "dropping it ends the tracking"]
pub struct Armed<'t> {
    tracker: &'t mut Tracker,
    /// What is registered: from the first piece of a mapping to its last. To register the pieces alone would split the mapping at each
    /// of them, and a process may have so many mappings and no more (vm.max_map_count): it would be QEMU that gets none.
    spans: Vec<AddressRange>,
    /// What is protected.
    pieces: Vec<Mapped>,
    ranges: Vec<FileRange>,
    lost: bool,
}

impl Armed<'_> {
    /// A round: tells what was written since it was told last, or armed. `each` copies what it is told, or notes it to be copied
    /// after this; a page can be told twice.
    ///
    /// # Errors
    ///
    /// [`TrackError`], after which each further round is [`TrackError::Lost`].
    pub fn written(&mut self, each: impl FnMut(FileRange)) -> Result<(), TrackError> {
        self.round(true, each)
    }

    /// The last round, while the guest and everybody else who writes its RAM stand still: tells what is still to be copied while
    /// they do. Nothing is protected for it, which would only make the guest stand longer.
    ///
    /// # Errors
    ///
    /// As of [`Armed::written`].
    pub fn cut(&mut self, each: impl FnMut(FileRange)) -> Result<(), TrackError> {
        self.round(false, each)
    }

    fn round(&mut self, protect: bool, mut each: impl FnMut(FileRange)) -> Result<(), TrackError> {
        if self.lost {
            return Err(TrackError::Lost);
        }
        // Until it is through.
        self.lost = true;
        let Tracker {
            userfault,
            pagemap,
            logs,
            ..
        } = &mut *self.tracker;
        for piece in &self.pieces {
            pagemap.scan(piece.address(), |found| {
                let range = piece.file_range(found);
                if protect {
                    userfault
                        .protect(found)
                        .map_err(TrackError::system("write-protect memory"))?;
                }
                each(range.ok_or(TrackError::NotTracked(found))?);
                Ok(())
            })?;
        }
        for range in &self.ranges {
            for log in &*logs {
                log.take(*range, &mut each);
            }
        }
        self.lost = false;
        Ok(())
    }

    /// Ends the tracking, as dropping it does.
    ///
    /// # Errors
    ///
    /// The kernel refused, so that pages can be protected until the userfaultfd is closed. The guest notices nothing but the time
    /// that its writes take.
    pub fn disarm(mut self) -> Result<(), TrackError> {
        self.release()
    }

    fn release(&mut self) -> Result<(), TrackError> {
        let mut outcome = Ok(());
        for span in self.spans.drain(..) {
            let released = self.tracker.userfault.release(span);
            outcome = outcome.and(released);
        }
        outcome.map_err(TrackError::system("release memory from a userfaultfd"))
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        // Its process may be gone. What else there is would be undone with the descriptor.
        let _ = self.release();
    }
}
