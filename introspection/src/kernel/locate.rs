//! Finding the kernel in RAM: what KASLR chose, with nothing but RAM to look at.
//!
//! `linux_banner` is looked for wherever the image may start (CONFIG_PHYSICAL_ALIGN is 2 MiB at least). The
//! variable `phys_base`, which the kernel sets when it relocates itself, then tells the virtual address; the
//! kernel's page tables must agree. Both addresses are randomised apart from one another. And the kernel must be
//! up: the image of one that has not started yet holds page tables too, but not those that will be used, and
//! that of one that was shut down may have been left behind by a reset.
//!
//! Known attack: a process fills huge pages of its own with a counterfeit kernel. It cannot remove the true
//! one, so that there are two: [`LocateError::Ambiguous`], and nothing is believed. Whoever located the kernel
//! before user space ran is not even delayed by that: [`super::KernelPlace`].

use std::sync::Arc;

use bartizan_guest_memory::walk::{Levels, Root};
use bartizan_guest_memory::{AddressSpace, Gpa, Gva, NotRam, PhysicalMemory};

use super::Kernel;
use crate::profile::KernelProfile;
use crate::vmlinux::START_KERNEL_MAP;

/// The smallest alignment of the image in RAM, in bytes.
const ALIGNMENT: u64 = 2 << 20;

/// The size of the address range in which the kernel's image may be: `KERNEL_IMAGE_SIZE` with KASLR.
const IMAGE_RANGE: u64 = 1 << 30;

/// The values of `system_state` between the first and the last moment at which processes may run.
const UP: [&str; 4] = [
    "SYSTEM_SCHEDULING",
    "SYSTEM_FREEING_INITMEM",
    "SYSTEM_RUNNING",
    "SYSTEM_SUSPEND",
];

/// Why the kernel was not found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LocateError {
    /// The profile lacks a symbol that is needed to find a kernel.
    #[error("the kernel's profile has no symbol {0}; is the image a distribution's x86-64 kernel?")]
    MissingSymbol(&'static str),
    /// The kernel is nowhere in RAM, or not up yet.
    #[error(
        "the kernel of the launch record does not run in this RAM; wait until it has booted, or check that the guest booted that very kernel"
    )]
    NotFound,
    /// The kernel was up and is no more.
    #[error("the kernel that was found at {text} is not up any more; boot the guest anew")]
    Gone {
        /// Where its image starts.
        text: Gpa,
    },
    /// Something in RAM imitates a kernel.
    #[error(
        "RAM holds a kernel at {first} and another at {second}: one is a counterfeit, neither is believed"
    )]
    Ambiguous {
        /// Where one image starts.
        first: Gpa,
        /// Where the other does.
        second: Gpa,
    },
}

impl Kernel {
    /// Finds the kernel of `profile`, searching all RAM. It may run meanwhile.
    ///
    /// # Errors
    ///
    /// [`LocateError`] where no such kernel runs (yet), or more than one seems to.
    pub fn locate(
        profile: &Arc<KernelProfile>,
        memory: &(impl PhysicalMemory + ?Sized),
    ) -> Result<Self, LocateError> {
        let landmarks = Landmarks::of(profile)?;
        let mut found: Option<Self> = None;
        for span in memory.spans() {
            let end = span.start.0.saturating_add(span.size);
            let mut start = span.start.0.next_multiple_of(ALIGNMENT);
            while start < end {
                if let Some(kernel) = landmarks.examine(profile, memory, Gpa(start)) {
                    if let Some(first) = found {
                        return Err(LocateError::Ambiguous {
                            first: first.text,
                            second: kernel.text,
                        });
                    }
                    found = Some(kernel);
                }
                start = start.saturating_add(ALIGNMENT);
            }
        }
        found.ok_or(LocateError::NotFound)
    }

    /// Takes up the kernel whose image is known to start at `text`.
    ///
    /// # Errors
    ///
    /// [`LocateError::NotFound`] where that kernel is not there.
    pub fn at(
        profile: &Arc<KernelProfile>,
        memory: &(impl PhysicalMemory + ?Sized),
        text: Gpa,
    ) -> Result<Self, LocateError> {
        Landmarks::of(profile)?
            .examine(profile, memory, text)
            .ok_or(LocateError::NotFound)
    }
}

/// Distances from the start of the image, in bytes.
struct Landmarks {
    banner: u64,
    phys_base: u64,
    top_table: u64,
    system_state: u64,
    /// The states of a kernel that is up.
    up: Vec<i64>,
}

impl Landmarks {
    fn of(profile: &KernelProfile) -> Result<Self, LocateError> {
        let distance = |name| {
            let address = profile.symbol(name);
            address
                .and_then(|address| address.checked_sub(profile.text()))
                .ok_or(LocateError::MissingSymbol(name))
        };
        Ok(Self {
            banner: distance("linux_banner")?,
            phys_base: distance("phys_base")?,
            top_table: distance("init_top_pgt")?,
            system_state: distance("system_state")?,
            up: UP
                .into_iter()
                .filter_map(|name| profile.types().enumerator("system_states", name))
                .collect(),
        })
    }

    /// The kernel whose image starts at `text`, if one does.
    fn examine(
        &self,
        profile: &Arc<KernelProfile>,
        memory: &(impl PhysicalMemory + ?Sized),
        text: Gpa,
    ) -> Option<Kernel> {
        let banner = text.checked_add(self.banner)?;
        if !holds(memory, banner, profile.banner().as_bytes()).ok()? {
            return None;
        }
        let mut state = [0; 4];
        let at = text.checked_add(self.system_state)?;
        memory.read(at, &mut state).ok()?;
        if !self.up.contains(&u32::from_le_bytes(state).into()) {
            return None;
        }
        let phys_base = memory.read_u64(text.checked_add(self.phys_base)?).ok()?;
        let virtual_text = text
            .0
            .wrapping_sub(phys_base)
            .wrapping_add(START_KERNEL_MAP);
        let slide = virtual_text.wrapping_sub(profile.text());
        if slide % ALIGNMENT != 0 || slide >= IMAGE_RANGE {
            return None;
        }
        let table = text.checked_add(self.top_table)?;
        let virtual_banner = Gva(virtual_text.checked_add(self.banner)?);
        // In the wrong mode the tables lead elsewhere: to entry 510 of a table that uses 511 alone.
        let root = [Levels::Four, Levels::Five]
            .map(|levels| Root { table, levels })
            .into_iter()
            .find(|&root| {
                let seen = AddressSpace::new(memory, root).translate(virtual_banner);
                seen.is_ok_and(|seen| seen.gpa == banner)
            })?;
        Some(Kernel {
            profile: Arc::clone(profile),
            text,
            slide,
            root,
        })
    }
}

/// Whether `expected` stands at `at`. Most places differ in the first word already.
fn holds(
    memory: &(impl PhysicalMemory + ?Sized),
    at: Gpa,
    expected: &[u8],
) -> Result<bool, NotRam> {
    let mut found = [0; 64];
    let mut next = at;
    for piece in expected.chunks(found.len()) {
        let (found, _) = found.split_at_mut(piece.len());
        memory.read(next, found)?;
        if found != piece {
            return Ok(false);
        }
        next = next
            .checked_add(piece.len() as u64)
            .ok_or(NotRam { at: next })?;
    }
    Ok(true)
}
