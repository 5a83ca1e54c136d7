//! Write protection of another process's memory, by its userfaultfd (include/uapi/linux/userfaultfd.h, fs/userfaultfd.c).
//!
//! It is asynchronous (`UFFD_FEATURE_WP_ASYNC`, Linux 6.7): a write to a protected page makes the page writable again and goes on
//! (mm/memory.c, `do_wp_page`). Nobody is asked, so that nobody waits: a measurer that dies or hangs holds no guest up. Which
//! pages were written so, [`Pagemap`](crate::Pagemap) tells.
//!
//! Whoever holds the descriptor acts on the memory of the process that made it, whoever that is: the kernel looks at the
//! descriptor alone.
#![expect(
    unsafe_code,
    reason = "requests of ioctl(2) that nobody else wraps for another process's memory"
)]

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::ffi::c_void;
use rustix::io::{self, Errno};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Updater, ioctl, opcode};

use crate::error::TrackError;
use crate::range::AddressRange;

/// `UFFD_API` and the group of all its requests.
const API: u64 = 0xaa;
const GROUP: u8 = 0xaa;

/// `UFFDIO_REGISTER`.
pub(crate) const REGISTER: Opcode = opcode::read_write::<Register>(GROUP, 0x00);
/// `UFFDIO_UNREGISTER`, which the kernel declares as reading although it writes nothing.
pub(crate) const UNREGISTER: Opcode = opcode::read::<Range>(GROUP, 0x01);
/// `UFFDIO_WRITEPROTECT`.
pub(crate) const WRITE_PROTECT: Opcode = opcode::read_write::<WriteProtect>(GROUP, 0x06);
const ENABLE: Opcode = opcode::read_write::<Features>(GROUP, 0x3f);
/// `USERFAULTFD_IOC_NEW`, of `/dev/userfaultfd`.
const NEW: Opcode = opcode::none(GROUP, 0x00);

/// Write protection (`PAGEFAULT_FLAG_WP`), of shared memory too (`WP_HUGETLBFS_SHMEM`), of pages that are not there yet
/// (`WP_UNPOPULATED`), and asynchronously (`WP_ASYNC`).
const FEATURES: u64 = 1 << 0 | 1 << 12 | 1 << 13 | 1 << 15;

/// How much is protected or released at once, of a page table each. Meanwhile vCPUs wait that fault there (KVM tries again until
/// the invalidation has ended), and at a release all of the process's threads that fault anywhere or map memory (mmap_lock):
/// for a GiB of pages that are there it would be tens of milliseconds.
const SLICE: u64 = 2 << 20;

/// `UFFD_USER_MODE_ONLY`.
const USER_MODE_ONLY: usize = 1;

/// `UFFDIO_REGISTER_MODE_WP`.
const MODE_REGISTER_WP: u64 = 1 << 1;
/// `UFFDIO_WRITEPROTECT_MODE_WP`.
const MODE_PROTECT: u64 = 1 << 0;

/// `struct uffdio_api`.
#[repr(C)]
struct Features {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_range`.
#[repr(C)]
struct Range {
    start: u64,
    len: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    range: Range,
    mode: u64,
    ioctls: u64,
}

/// `struct uffdio_writeprotect`.
#[repr(C)]
struct WriteProtect {
    range: Range,
    mode: u64,
}

impl From<AddressRange> for Range {
    fn from(range: AddressRange) -> Self {
        Self {
            start: range.start(),
            len: range.size(),
        }
    }
}

/// Makes a userfaultfd of the calling process, whose memory it is for, from an open `/dev/userfaultfd`.
///
/// It is good for nothing before [`Userfault::enable`].
///
/// Known attack: whoever holds it registers pages that are not there yet for faults that it sees to itself, and has the kernel wait in
/// the midst of something for as long as it likes. So it is for faults of user mode alone (`UFFD_USER_MODE_ONLY`): of others the
/// kernel asks nobody and gives an error (fs/userfaultfd.c, `handle_userfault`). Asynchronous protection is unaffected, since nobody is
/// asked there: what the kernel writes, for read(2) and for KVM, lifts it and goes on (mm/memory.c, `do_wp_page`).
pub fn make(device: impl AsFd) -> io::Result<OwnedFd> {
    /// The argument is flags, the answer a descriptor.
    struct New;

    // SAFETY: the request takes an integer and touches no memory of ours; what it answers is a new descriptor.
    unsafe impl Ioctl for New {
        type Output = OwnedFd;
        const IS_MUTATING: bool = false;

        fn opcode(&self) -> Opcode {
            NEW
        }

        fn as_ptr(&mut self) -> *mut c_void {
            // Both are what they are for open(2).
            let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
            std::ptr::without_provenance_mut(flags.bits() as usize | USER_MODE_ONLY)
        }

        unsafe fn output_from_ptr(answer: IoctlOutput, _: *mut c_void) -> io::Result<OwnedFd> {
            // SAFETY: the kernel has just made this descriptor for us, and it did not fail.
            Ok(unsafe { OwnedFd::from_raw_fd(answer) })
        }
    }

    // SAFETY: of another file than `/dev/userfaultfd`, the request is an error (ENOTTY) or none that reads memory of ours by
    // so small an address.
    unsafe { ioctl(device, New) }
}

/// A userfaultfd by which writes are tracked.
///
/// Once its last descriptor is closed, in whatever process and for whatever reason, the kernel lifts all protection that it
/// gave (`userfaultfd_release`).
#[derive(Debug)]
pub struct Userfault(OwnedFd);

impl Userfault {
    /// Enables the features, which is done once in the life of a userfaultfd, by whoever holds it: who has it from another
    /// that did so makes this type by [`Userfault::from`].
    ///
    /// # Errors
    ///
    /// [`TrackError::NoProtection`] where the kernel lacks a feature, or they were enabled already.
    pub fn enable(descriptor: OwnedFd) -> Result<Self, TrackError> {
        let mut features = Features {
            api: API,
            features: FEATURES,
            ioctls: 0,
        };
        // SAFETY: the structure is the kernel's `struct uffdio_api`, which is all that the request reads and writes.
        match unsafe { update::<ENABLE, _>(descriptor.as_fd(), &mut features) } {
            Ok(()) => Ok(Self(descriptor)),
            Err(Errno::INVAL) => Err(TrackError::NoProtection),
            Err(errno) => Err(TrackError::system("enable the userfaultfd")(errno)),
        }
    }

    /// Has writes to `range` tracked from the first [`Userfault::protect`] on.
    pub fn register(&self, range: AddressRange) -> io::Result<()> {
        let mut register = Register {
            range: range.into(),
            mode: MODE_REGISTER_WP,
            ioctls: 0,
        };
        // SAFETY: the structure is the kernel's `struct uffdio_register`, which is all that the request reads and writes of
        // ours. Of the process that it is for it changes no byte, and in this mode no fault waits for anybody.
        unsafe { update::<REGISTER, _>(self.0.as_fd(), &mut register) }
    }

    /// Protects the pages of `range`, all of which is registered. When this returns, each write that was made before is to be
    /// seen, and each one after it makes its page tell that it was written: no processor has a writable translation left
    /// (`tlb_finish_mmu` in mm/userfaultfd.c, `uffd_wp_range`), nor KVM (`mmu_notifier_invalidate_range_start` in mm/mprotect.c).
    ///
    /// # Errors
    ///
    /// The kernel's; some of `range` may be protected then.
    pub fn protect(&self, range: AddressRange) -> io::Result<()> {
        range.slices(SLICE).try_for_each(|slice| {
            let mut protect = WriteProtect {
                range: slice.into(),
                mode: MODE_PROTECT,
            };
            // SAFETY: as in `register`, with `struct uffdio_writeprotect`.
            unsafe { update::<WRITE_PROTECT, _>(self.0.as_fd(), &mut protect) }
        })
    }

    /// Undoes both; what was not registered stays as it is. No page of `range` is protected afterwards
    /// (`userfaultfd_clear_vma`).
    ///
    /// # Errors
    ///
    /// The kernel's first; all else of `range` is released.
    pub fn release(&self, range: AddressRange) -> io::Result<()> {
        let mut outcome = Ok(());
        for slice in range.slices(SLICE) {
            let mut slice = Range::from(slice);
            // SAFETY: as in `register`, with `struct uffdio_range`.
            let released = unsafe { update::<UNREGISTER, _>(self.0.as_fd(), &mut slice) };
            outcome = outcome.and(released);
        }
        outcome
    }
}

/// # Safety
///
/// `Value` is what `REQUEST` reads and writes at the address that it is given.
unsafe fn update<const REQUEST: Opcode, Value>(
    descriptor: BorrowedFd<'_>,
    value: &mut Value,
) -> io::Result<()> {
    // SAFETY: by this function's own condition.
    let request = unsafe { Updater::<REQUEST, Value>::new(value) };
    // SAFETY: likewise. A descriptor of something else refuses the request, whose number only a userfaultfd has.
    unsafe { ioctl(descriptor, request) }
}

/// One whose features are enabled.
impl From<OwnedFd> for Userfault {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl From<Userfault> for OwnedFd {
    fn from(userfault: Userfault) -> Self {
        userfault.0
    }
}

impl AsFd for Userfault {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
