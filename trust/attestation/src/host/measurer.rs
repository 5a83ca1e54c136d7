//! Supervisor ↔ measurer, both ways on one socket.
//!
//! The measurer is started with these descriptors: 3 the socket, 4 the guest's RAM (a memfd opened
//! read-only), 5 the guest's bzImage (read-only; absent where the kernel is unknown). Where writes to the RAM can be tracked, also 6
//! the page map of QEMU (`/proc/PID/pagemap`), 7 the log of the device back ends' writes, 8 QEMU's userfaultfd, whose
//! features are enabled (`bartizan-write-tracking` has all three).

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use crate::identity::GuestIdentity;
use crate::keys::Chain;
use crate::measurement::{Digest, Refusal, SignedReport};

/// Supervisor → measurer. The first message is [`ToMeasurer::Context`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ToMeasurer {
    /// Whom to measure.
    #[n(0)]
    Context(#[n(0)] MeasurerContext),
    /// A certificate for the CSR sent last.
    #[n(1)]
    Certificate(#[n(0)] Chain),
    /// Measure. Requests are worked off one after another; each is answered by one [`FromMeasurer::Measured`].
    #[n(2)]
    Measure {
        /// Chosen by the supervisor, echoed.
        #[n(0)]
        id: u64,
        /// The guest's signed request, verbatim; its signature is checked already.
        #[cbor(n(1), with = "minicbor::bytes")]
        request: Vec<u8>,
    },
    /// Answer to [`FromMeasurer::Pause`]: whether the guest stands still now.
    #[n(3)]
    Paused {
        /// Whether it does.
        #[n(0)]
        stopped: bool,
    },
    /// Answer to [`FromMeasurer::Resume`].
    #[n(4)]
    Resumed {
        /// Whether the lease was still held: if not, the guest ran in between and the snapshot is void.
        #[n(0)]
        in_time: bool,
        /// How long the guest stood still, in microseconds.
        #[n(1)]
        pause_us: u64,
    },
    /// Make a new report key now, whatever the age of the one in use; answered by [`FromMeasurer::KeyInstalled`] once it is certified.
    #[n(20)]
    RotateKey {
        /// Chosen by the supervisor, ascending; echoed.
        #[n(0)]
        order: u64,
    },
}

/// Measurer → supervisor.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum FromMeasurer {
    /// A fresh report key wants a certificate (at start and at half life).
    #[n(0)]
    CertificateNeeded {
        /// PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        csr: Vec<u8>,
    },
    /// Stop the guest, on a lease: the supervisor resumes it by itself when the lease runs out.
    #[n(1)]
    Pause {
        /// The lease in milliseconds, at most 5000.
        #[n(0)]
        lease_ms: u64,
    },
    /// Let the guest run on.
    #[n(2)]
    Resume,
    /// Outcome of a [`ToMeasurer::Measure`].
    #[n(3)]
    Measured {
        /// Its id.
        #[n(0)]
        id: u64,
        /// The signed report or a refusal.
        #[n(1)]
        outcome: Outcome,
    },
    /// The guest's kernel was found. Said once; the supervisor tells the measurers that come after.
    #[n(4)]
    KernelFound {
        /// Where its image (`_text`) starts, guest-physical.
        #[n(0)]
        text: u64,
    },
    /// A new report key signs from now on.
    #[n(20)]
    KeyInstalled {
        /// The last [`ToMeasurer::RotateKey`] that came before this key was made.
        #[n(0)]
        order: Option<u64>,
        /// The keys.
        #[n(1)]
        rotated: ReportKeyRotated,
    },
}

/// A report key that took another's place.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ReportKeyRotated {
    /// SHA-256 over the new key's DER SubjectPublicKeyInfo.
    #[n(0)]
    pub new: ByteArray<32>,
    /// Of the former one, which is wiped: none where the measurer had none, such as one that was just started.
    #[n(1)]
    pub destroyed: Option<ByteArray<32>>,
}

/// A signed report or a refusal.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Outcome {
    /// The signed report.
    #[n(0)]
    Report(#[n(0)] SignedReport),
    /// Nothing was measured.
    #[n(1)]
    Refused(#[n(0)] Refusal),
}

/// Whom a measurer measures.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct MeasurerContext {
    /// The guest.
    #[n(0)]
    pub guest: GuestIdentity,
    /// Its launch measurement.
    #[n(1)]
    pub launch_measurement: Digest,
    /// Where its RAM lies, in ascending order of addresses.
    #[n(2)]
    pub ram: Vec<RamRange>,
    /// Most bytes one request may measure.
    #[n(3)]
    pub bytes_per_request: u64,
    /// Version of the hypervisor's software, for the report.
    #[n(4)]
    pub hypervisor_version: String,
    /// Where a measurer of this boot found the guest's kernel: it is looked for nowhere else.
    #[n(5)]
    pub kernel_text: Option<u64>,
    /// Where QEMU maps the RAM file; absent where writes cannot be tracked, or somebody writes RAM that neither QEMU's page
    /// tables nor the log tell of.
    #[n(6)]
    pub tracked: Option<Vec<RamMapping>>,
}

/// Where a piece of the RAM file is in QEMU's address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RamMapping {
    /// Its first address there.
    #[n(0)]
    pub address: u64,
    /// Size in bytes.
    #[n(1)]
    pub size: u64,
    /// Offset in the RAM file of its first byte.
    #[n(2)]
    pub file_offset: u64,
}

/// A range of guest-physical addresses backed by the RAM file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RamRange {
    /// First guest-physical address.
    #[n(0)]
    pub address: u64,
    /// Size in bytes.
    #[n(1)]
    pub size: u64,
    /// Offset in the RAM file of the first byte.
    #[n(2)]
    pub file_offset: u64,
}
