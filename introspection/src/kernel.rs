//! A running kernel in guest RAM.

mod locate;
mod place;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bartizan_guest_memory::walk::{Root, WalkError};
use bartizan_guest_memory::{AddressSpace, Gpa, Gva, PhysicalMemory, ReadVirtualError};

use crate::profile::KernelProfile;
use crate::vmlinux::START_KERNEL_MAP;
pub use locate::LocateError;
pub use place::KernelPlace;

/// Where a guest's kernel stands in its RAM and address space. It stays there until the guest reboots.
#[derive(Clone, Debug)]
pub struct Kernel {
    profile: Arc<KernelProfile>,
    text: Gpa,
    slide: u64,
    root: Root,
}

impl Kernel {
    /// The profile that the kernel was found by.
    #[must_use]
    pub fn profile(&self) -> &KernelProfile {
        &self.profile
    }

    /// Where its image (`_text`) starts in RAM. With it, [`Kernel::at`] finds the kernel again without a search.
    #[must_use]
    pub const fn text(&self) -> Gpa {
        self.text
    }

    /// By how many bytes KASLR moved its virtual addresses.
    #[must_use]
    pub const fn slide(&self) -> u64 {
        self.slide
    }

    /// Its page tables (`init_top_pgt`), good for all kernel addresses: vmalloc, the direct map, per-CPU areas.
    #[must_use]
    pub const fn root(&self) -> Root {
        self.root
    }

    /// Where a symbol is at run time. A per-CPU symbol, which is an offset, stays as it is. `None` as in
    /// [`KernelProfile::symbol`].
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<Gva> {
        let link = self.profile.symbol(name)?;
        Some(Gva(match link {
            START_KERNEL_MAP.. => link.wrapping_add(self.slide),
            _ => link,
        }))
    }

    /// The kernel's virtual memory, with typed reads.
    pub const fn memory<'m, M: PhysicalMemory + ?Sized>(
        &self,
        memory: &'m M,
    ) -> AddressSpace<'m, M> {
        AddressSpace::new(memory, self.root)
    }

    /// Fills `buf` from the kernel's virtual address `at` on.
    ///
    /// # Errors
    ///
    /// [`ReadVirtualError`] where an address is not mapped to RAM.
    pub fn read_virtual(
        &self,
        memory: &(impl PhysicalMemory + ?Sized),
        at: Gva,
        buf: &mut [u8],
    ) -> Result<(), ReadVirtualError> {
        self.memory(memory).read(at, buf)
    }

    /// The page tables of a process, given the kernel-virtual address of its top table (`mm_struct.pgd`).
    ///
    /// Under page-table isolation this is the kernel's copy: it maps user pages to the same places, but marks
    /// all of them non-executable.
    ///
    /// # Errors
    ///
    /// [`WalkError`] where `pgd` is not mapped.
    pub fn user_root(
        &self,
        memory: &(impl PhysicalMemory + ?Sized),
        pgd: Gva,
    ) -> Result<Root, WalkError> {
        let table = self.memory(memory).translate(pgd)?.gpa.page();
        Ok(Root {
            table,
            levels: self.root.levels,
        })
    }
}
