//! The report: what the measurer saw, signed with its report key.

mod bounded;
mod checks;

use minicbor::{Decode, Encode};

use super::{Digest, Region};
use crate::identity::GuestIdentity;

pub use checks::ReportError;

/// The payload of the report's COSE_Sign1 (ES384, chain in `x5chain`).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Report {
    /// Always [`Report::VERSION`].
    #[n(0)]
    pub version: u32,
    /// The guest's signed request, byte for byte.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub request: Vec<u8>,
    /// The guest that was measured.
    #[n(2)]
    pub guest: GuestIdentity,
    /// SHA-384 over the guest's measured launch (see [`crate::launch`]).
    #[n(3)]
    pub launch_measurement: Digest,
    /// Digest over all regions together, in order, by the request's algorithm and kind.
    #[n(4)]
    pub digest: Digest,
    /// The regions, in order; for a profile one per executable mapping of each process.
    #[cbor(n(5), decode_with = "bounded::regions")]
    pub regions: Vec<MeasuredRegion>,
    /// Hash by the request's algorithm over the page digests of all regions, which travel beside the report
    /// ([`super::SignedReport`]); absent where the request does not wish for them.
    #[n(6)]
    pub page_digests: Option<Digest>,
    /// None for physical regions, one for virtual ones; for a profile every process that executes the program of
    /// the one that the request names, which comes first.
    #[cbor(n(7), decode_with = "bounded::processes")]
    pub processes: Vec<ResolvedProcess>,
    /// On what the processes' translation rests; absent where there is no process.
    #[n(8)]
    pub translation: Option<TranslationBasis>,
    /// How the snapshot was taken.
    #[n(9)]
    pub snapshot: Snapshot,
    /// When the snapshot was taken, in milliseconds since the Unix epoch, by the host's clock.
    #[n(10)]
    pub measured_at_ms: u64,
    /// Version of the hypervisor's software.
    #[n(11)]
    pub hypervisor_version: String,
}

impl Report {
    /// The version that this crate speaks.
    pub const VERSION: u32 = 1;
}

/// One measured region.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct MeasuredRegion {
    /// Where: guest-physical, or virtual in the process.
    #[n(0)]
    pub region: Region,
    /// Digest over this region alone, by the request's algorithm and kind.
    #[n(1)]
    pub digest: Digest,
}

/// What the measurer found a process to be, from guest RAM alone.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ResolvedProcess {
    /// Thread group id in the initial pid namespace.
    #[n(0)]
    pub pid: u32,
    /// `task_struct.start_time`, nanoseconds of the guest's monotonic clock: tells a recycled pid.
    #[n(1)]
    pub start_time_ns: u64,
    /// `task_struct.comm`, lossy UTF-8.
    #[n(2)]
    pub comm: String,
    /// Path of the executable (`mm_struct.exe_file`) from the root of its mount namespace.
    #[n(3)]
    pub executable: String,
    /// Every executable mapping, in the order of addresses; regions of a profile match these.
    #[cbor(n(4), decode_with = "bounded::mappings")]
    pub mappings: Vec<Mapping>,
}

/// One mapping (`vm_area_struct`) of the process.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Mapping {
    /// Virtual addresses, whole pages.
    #[n(0)]
    pub region: Region,
    /// Path of the mapped file; absent for anonymous memory and special mappings.
    #[n(1)]
    pub path: Option<String>,
    /// Offset of the mapping in its file, in bytes.
    #[n(2)]
    pub file_offset: u64,
    /// Protection and sharing.
    #[n(3)]
    pub flags: MappingFlags,
    /// Whether the kernel's own special mapping (`[vdso]`).
    #[n(4)]
    pub special: bool,
}

/// `VM_READ`, `VM_WRITE`, `VM_EXEC`, `VM_SHARED` of `include/linux/mm.h`, as those bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct MappingFlags(#[n(0)] pub u32);

impl MappingFlags {
    /// Readable.
    pub const READ: u32 = 1;
    /// Writable.
    pub const WRITE: u32 = 2;
    /// Executable.
    pub const EXEC: u32 = 4;
    /// Shared.
    pub const SHARED: u32 = 8;

    /// Whether all bits of `mask` are set.
    #[must_use]
    pub const fn contains(self, mask: u32) -> bool {
        self.0 & mask == mask
    }
}

/// On what a virtual address's translation rests: the verifier's policy may require better.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct TranslationBasis {
    /// Page table levels in use: 4 or 5.
    #[n(0)]
    pub levels: u8,
    /// SHA-256 of the bzImage from which the kernel profile was built.
    #[n(1)]
    pub kernel: Digest,
    /// The kernel's banner (`linux_banner`) as found in RAM.
    #[n(2)]
    pub banner: String,
}

/// How the snapshot was taken.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Snapshot {
    /// The mode.
    #[n(0)]
    pub mode: SnapshotMode,
    /// How long the guest stood still, in microseconds.
    #[n(1)]
    pub pause_us: u64,
    /// Pages that were copied while the guest stood still, since they had been written, or had come to what is measured, too late for
    /// anything before; 0 for `pause-copy`, which copies all of them then.
    #[n(2)]
    pub dirtied_pages: u64,
}

/// Snapshot modes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum SnapshotMode {
    /// The guest is stopped, the pages are copied, the guest runs on.
    #[n(0)]
    PauseCopy,
    /// The pages are read while the guest runs, and writes to them are tracked; the guest is stopped, what was written is copied once
    /// more, the guest runs on.
    #[n(1)]
    Live,
}

impl SnapshotMode {
    /// What it is called where people and policies read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PauseCopy => "pause-copy",
            Self::Live => "live",
        }
    }
}
