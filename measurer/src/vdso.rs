//! Whether a `[vdso]` mapping is the kernel's own code.
//!
//! Known attack: the vdso is mapped `VM_MAYWRITE`. A process that makes it writable for a moment gets private copies of its
//! pages, writes code of its own into them and makes them executable again; the mapping still looks like the kernel's. So its
//! pages themselves are looked at: what was not written to is the very memory of the kernel's `vdso_image_64`
//! (arch/x86/entry/vdso/vma.c, `vdso_fault`), a copy is other memory.

use std::ops::Range;

use bartizan_guest_memory::walk::{Root, translate};
use bartizan_guest_memory::{Gpa, GuestRam, Gva};
use bartizan_introspection::Kernel;

const PAGE: usize = 4096;

/// Whether every page of `range` in the address space `user` is a page of the kernel's vdso image, in order.
pub(crate) fn is_the_kernels(
    kernel: &Kernel,
    ram: &GuestRam,
    user: Root,
    range: &Range<u64>,
) -> bool {
    let Some(image) = image(kernel, ram) else {
        // A kernel without that symbol: nothing is taken for its own.
        return false;
    };
    let size = range.end.saturating_sub(range.start);
    let mut pages = range.clone().step_by(PAGE).zip(image.clone().step_by(PAGE));
    size <= image.end - image.start
        && pages.all(|(mapped, original)| {
            let mapped = translate(ram, user, Gva(mapped)).map(|page| page.gpa).ok();
            mapped.is_some() && mapped == physical(kernel, ram, original)
        })
}

/// Where the kernel keeps the 64-bit vdso: `struct vdso_image` (arch/x86/include/asm/vdso.h).
fn image(kernel: &Kernel, ram: &GuestRam) -> Option<Range<u64>> {
    let structure = kernel.symbol("vdso_image_64")?;
    let member = |name| {
        let offset = kernel.profile().offset("vdso_image", &[name])?;
        kernel
            .memory(ram)
            .read_u64(structure.checked_add(offset)?)
            .ok()
    };
    let (data, size) = (member("data")?, member("size")?);
    Some(data..data.checked_add(size)?)
}

fn physical(kernel: &Kernel, ram: &GuestRam, at: u64) -> Option<Gpa> {
    kernel
        .memory(ram)
        .translate(Gva(at))
        .map(|page| page.gpa)
        .ok()
}
