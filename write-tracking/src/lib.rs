//! Which pages of a guest's RAM were written since a moment, while the guest runs.
//!
//! Whoever measures RAM copies it while the guest runs, round by round copies what was written meanwhile, has the guest
//! stopped once that is little, and copies the rest: the copy is of the moment of the stop, which is as long as the rest is large.
//!
//! Who does what:
//!
//! - The **supervisor** opens `/dev/userfaultfd` ([`Device`]), starts QEMU with a [`Handover`], enables what it
//!   receives ([`Userfault::enable`]), opens QEMU's `/proc/PID/pagemap`, reads its `/proc/PID/maps` ([`Mappings::read`]), and makes
//!   a [`Log`] for each other process that writes the RAM.
//! - **QEMU** makes its userfaultfd, by a preloaded library (`bartizan-tracked`), and knows nothing of it afterwards.
//! - **Device back ends** note what they write ([`Log::note`]).
//! - The **measurer** is handed all of it and tracks ([`Tracker`]). It needs no right to QEMU: descriptors are enough. Once it has
//!   them and has mapped the logs, it makes the [`REQUESTS`] of ioctl(2) and no other new system call.
//!
//! # What is not seen
//!
//! Tracking is of page table entries. What writes a page without one in QEMU, and without a log, is not seen:
//!
//! - a write by a device to a page that was looked up before it was protected: input by `O_DIRECT` (QEMU: `cache.direct=on`,
//!   `aio=native`), VFIO, vhost-vdpa, buffers registered with io_uring. The page counts as written when the transfer begins, not when
//!   its bytes arrive (mm/gup.c, `FOLL_PIN`): a guest that has such a device must not be measured this way;
//! - a page that KVM itself has mapped for a guest that runs guests (virt/kvm/kvm_main.c, `kvm_vcpu_map`);
//! - another mapping: of a process that QEMU forked (it marks RAM `MADV_DONTFORK`), of a QEMU that its guest took over;
//! - a discard: ballooning, free page reporting, virtio-mem.
//!
//! # What the descriptors are worth
//!
//! Known attack: a guest takes its measurer over, which looks at pages that the guest fills. With the userfaultfd it could have QEMU
//! wait at each page that is not there yet (`UFFDIO_REGISTER` in another mode, which a filter of system calls cannot see), so that its
//! own guest hangs; the kernel itself never waits (`UFFD_USER_MODE_ONLY`), and to fill such pages (`UFFDIO_COPY`, `UFFDIO_MOVE`) is not
//! among the [`REQUESTS`]. With the page map it sees which pages of QEMU are there. Neither lets it read or change memory.
//!
//! Its unsafe code stands in [`userfault`], in [`Pagemap`]'s module and where [`Log`] maps its words.

mod error;
mod handover;
mod log;
mod mapped;
mod maps;
mod pagemap;
mod range;
mod tracker;
pub mod userfault;

pub use error::TrackError;
pub use handover::{Device, Handover, LIBRARY, Receiver};
pub use log::{Log, LogError};
pub use mapped::{Mapped, Mappings, OverlapError};
pub use maps::{FileId, MapsError};
pub use pagemap::Pagemap;
pub use range::{AddressRange, FileRange, PAGE_SIZE};
pub use tracker::{Armed, Tracker};
pub use userfault::Userfault;

/// The requests of ioctl(2) that a [`Tracker`] makes, each with its reason: for a table of allowed system calls.
pub const REQUESTS: [(u32, &str); 4] = [
    (userfault::REGISTER, "has writes to guest RAM tracked"),
    (userfault::WRITE_PROTECT, "protects what is to be tracked"),
    (userfault::UNREGISTER, "ends the tracking"),
    (pagemap::SCAN, "asks which pages of guest RAM were written"),
];
