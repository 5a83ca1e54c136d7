//! The window through which process readers see the guest's kernel memory.

use bartizan_guest_memory::Gva;
use bartizan_guest_memory::walk::Root;

use super::ProcessError;

/// A located kernel and the RAM it lies in. Everything read through it is hostile.
pub trait KernelView {
    /// Copies kernel-virtual memory; `None` where it is not mapped to RAM.
    fn read(&self, at: Gva, into: &mut [u8]) -> Option<()>;

    /// Where a symbol of the kernel lies in this boot.
    fn symbol(&self, name: &str) -> Option<Gva>;

    /// The translation root for a process whose top-level table (`mm_struct.pgd`) lies at `pgd`.
    fn user_root(&self, pgd: Gva) -> Option<Root>;
}

/// Reads a pointer or `unsigned long` of `structure`.
pub(super) fn read_u64(
    view: &impl KernelView,
    structure: &'static str,
    address: u64,
) -> Result<u64, ProcessError> {
    let mut bytes = [0; 8];
    read_bytes(view, structure, address, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Reads an `int` of `structure`.
pub(super) fn read_u32(
    view: &impl KernelView,
    structure: &'static str,
    address: u64,
) -> Result<u32, ProcessError> {
    let mut bytes = [0; 4];
    read_bytes(view, structure, address, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Reads raw bytes of `structure`; refuses addresses outside the kernel's half before any walk.
pub(super) fn read_bytes(
    view: &impl KernelView,
    structure: &'static str,
    address: u64,
    into: &mut [u8],
) -> Result<(), ProcessError> {
    let unreadable = ProcessError::Unreadable { structure, address };
    if !is_kernel_address(address) {
        return Err(unreadable);
    }
    view.read(Gva(address), into).ok_or(unreadable)
}

/// A structure copied whole, so that its members are of one moment and cost one translation.
pub(super) struct Record<const SIZE: usize>([u8; SIZE]);

impl<const SIZE: usize> Record<SIZE> {
    /// Copies the first `size` bytes (at most `SIZE`) of `structure`; the rest reads as zero.
    pub(super) fn read(
        view: &impl KernelView,
        structure: &'static str,
        address: u64,
        size: usize,
    ) -> Result<Self, ProcessError> {
        let mut bytes = [0; SIZE];
        let part = bytes
            .get_mut(..size)
            .ok_or(ProcessError::Unreadable { structure, address })?;
        read_bytes(view, structure, address, part)?;
        Ok(Self(bytes))
    }

    /// The `u64` at `offset`; 0 outside, which the layout's checks rule out.
    pub(super) fn u64(&self, offset: u64) -> u64 {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.0
            .get(offset..)
            .and_then(|tail| tail.first_chunk())
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The `u32` at `offset`; 0 outside, which the layout's checks rule out.
    pub(super) fn u32(&self, offset: u64) -> u32 {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.0
            .get(offset..)
            .and_then(|tail| tail.first_chunk())
            .map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}

/// Whether an address lies in the upper half (Documentation/arch/x86/x86_64/mm.rst).
const fn is_kernel_address(address: u64) -> bool {
    address >> 63 == 1
}
