//! The control group of a boot that is about to be started.

use std::fs;

use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::launch::{Boot, LaunchRecord};

use crate::cgroup::{Cgroup, CgroupError, Limits};
use crate::qemu::files::MAX_IMAGE;

/// What a measurer may use beside a snapshot, in bytes: the kernel's image, whole and decompressed, and its profile; a report
/// with its page digests, and the frame that it goes out in.
const MEASURER: u64 = 512 << 20;

/// Makes it. Whoever touches a page of guest RAM first pays for it, QEMU or the measurer.
pub(super) fn create(
    guest: &GuestIdentity,
    record: &LaunchRecord,
    limits: Limits,
) -> Result<Cgroup, CgroupError> {
    let parts = [
        record.memory_mib.saturating_mul(1 << 20),
        record.budget.bytes_per_request,
        images(&record.boot),
        MEASURER,
    ];
    let memory = parts.into_iter().fold(0, u64::saturating_add);
    Cgroup::create(guest, memory, limits)
}

/// Bytes of the images that a supervisor copies into memory; one that cannot be read is its to refuse.
fn images(boot: &Boot) -> u64 {
    let (first, second) = match boot {
        Boot::Kernel { image, initrd, .. } => (image, initrd),
        Boot::Firmware {
            image,
            introspected_kernel,
        } => (image, introspected_kernel),
    };
    let files = [Some(first), second.as_ref()].into_iter().flatten();
    let sizes = files.map(|file| fs::metadata(&file.path).map_or(0, |file| file.len()));
    sizes.map(|size| size.min(MAX_IMAGE)).sum()
}
