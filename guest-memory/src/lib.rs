//! Guest RAM as seen from the host: typed addresses, a read-only mapping, page walks.
//!
//! What is read here belongs to the guest, which may be hostile and runs while it is read. Hence:
//!
//! - No reference into guest RAM is ever handed out. [`PhysicalMemory::read`] copies, once; what was
//!   copied is what is judged.
//! - The file behind the RAM must be sealed against shrinking: a truncated file would turn a read into
//!   SIGBUS, that is into a crash that somebody else provokes ([`MapRamError::NotSealed`]).
//! - Page tables are only data: every walk takes at most five reads, whatever the tables say.
//!
//! Its unsafe code all stands in [`GuestRam`]'s module.

mod address;
mod address_space;
mod physical;
mod ram;
#[cfg(test)]
mod sparse;
pub mod walk;

pub use address::{Gpa, Gva, PAGE_SIZE};
pub use address_space::{AddressSpace, ReadVirtualError};
pub use physical::{NotRam, PhysicalMemory, RamSpan};
pub use ram::{GuestRam, MapRamError, RamRange};
