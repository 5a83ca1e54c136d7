//! Why a measurement was refused. Each has its own problem type in the guest API (RFC 9457).

use minicbor::{Decode, Encode};

/// A typed refusal; nothing was granted.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    /// The request is no well-formed signed request.
    #[n(0)]
    #[error("the request is malformed: {0}")]
    Malformed(#[n(0)] String),
    /// The signature is not by the key that this guest enrolled.
    #[n(1)]
    #[error("the request is not signed by this guest's enrolled key")]
    WrongSigner,
    /// The guest has not enrolled a key in this boot.
    #[n(2)]
    #[error("this guest has not enrolled a key since it booted; run `bartizan-guest enroll`")]
    NotEnrolled,
    /// No region was named, or one of size 0.
    #[n(3)]
    #[error("region {address:#x} is empty")]
    EmptyRegion {
        /// Its address.
        #[n(0)]
        address: u64,
    },
    /// Address or size is no multiple of the page size.
    #[n(4)]
    #[error("region {address:#x}+{size:#x} is not aligned to pages of 4096 bytes")]
    UnalignedRegion {
        /// Its address.
        #[n(0)]
        address: u64,
        /// Its size.
        #[n(1)]
        size: u64,
    },
    /// Address plus size is 2^64 or more.
    #[n(5)]
    #[error("region {address:#x}+{size:#x} wraps around the address space")]
    WrappingRegion {
        /// Its address.
        #[n(0)]
        address: u64,
        /// Its size.
        #[n(1)]
        size: u64,
    },
    /// Two regions share a page.
    #[n(6)]
    #[error("regions at {first:#x} and {second:#x} overlap")]
    OverlappingRegions {
        /// Address of one.
        #[n(0)]
        first: u64,
        /// Address of the other.
        #[n(1)]
        second: u64,
    },
    /// A physical address that is not guest RAM: beyond its end or in the PCI hole.
    #[n(7)]
    #[error("guest-physical address {address:#x} is not RAM")]
    NotRam {
        /// The first such address.
        #[n(0)]
        address: u64,
    },
    /// More bytes than the guest's budget allows in one request.
    #[n(8)]
    #[error(
        "{requested} bytes asked for, the budget is {allowed}; ask for less, or raise the launch record's budget"
    )]
    OverBudget {
        /// Bytes asked for.
        #[n(0)]
        requested: u64,
        /// Bytes allowed.
        #[n(1)]
        allowed: u64,
    },
    /// Too many requests under way or pauses spent.
    #[n(9)]
    #[error(
        "the guest's budget of concurrent requests or pauses is spent; retry after {retry_after_ms} ms"
    )]
    Busy {
        /// When to try again, in milliseconds.
        #[n(0)]
        retry_after_ms: u64,
    },
    /// No such process in the guest.
    #[n(10)]
    #[error("the guest has no process {pid}")]
    UnknownProcess {
        /// The pid asked for.
        #[n(0)]
        pid: u32,
    },
    /// The process is a kernel thread or exiting: it has no address space.
    #[n(11)]
    #[error("process {pid} has no address space")]
    NoAddressSpace {
        /// The pid asked for.
        #[n(0)]
        pid: u32,
    },
    /// A page is not mapped at all.
    #[n(12)]
    #[error("virtual address {address:#x} of process {pid} is not mapped")]
    Unmapped {
        /// The pid asked for.
        #[n(0)]
        pid: u32,
        /// The first such page.
        #[n(1)]
        address: u64,
    },
    /// Pages are mapped but not resident; make them present and ask again.
    #[n(13)]
    #[error(
        "{count} pages of process {pid} are not resident, the first at {addresses:x?}; touch them and ask again"
    )]
    NotResident {
        /// The pid asked for.
        #[n(0)]
        pid: u32,
        /// How many pages lack.
        #[n(1)]
        count: u64,
        /// The first of them, at most 64.
        #[cbor(n(2), decode_with = "crate::cbor::at_most::<64, _, _>")]
        addresses: Vec<u64>,
    },
    /// The guest's kernel could not be understood.
    #[n(14)]
    #[error("the guest's kernel could not be read: {0}")]
    KernelNotUnderstood(#[n(0)] String),
    /// Guest memory changed under the measurer in a way that it could not follow.
    #[n(15)]
    #[error("guest memory holds an inconsistent structure: {0}")]
    InconsistentMemory(#[n(0)] String),
    /// The guest could not be paused or did not run on.
    #[n(16)]
    #[error("the guest could not be paused for the snapshot")]
    PauseFailed,
    /// The measurer has no valid certificate at present (card or vault away).
    #[n(17)]
    #[error("the measurer has no valid report key at present; try again")]
    NoReportKey,
    /// The measurer is being restarted.
    #[n(18)]
    #[error("the measurer is not available at present; try again")]
    Unavailable,
    /// The program runs in more processes than are measured together.
    #[n(20)]
    #[error(
        "more than {limit} processes execute the program of process {pid}; an application has no more"
    )]
    TooManyProcesses {
        /// The pid asked for.
        #[n(0)]
        pid: u32,
        /// How many there may be.
        #[n(1)]
        limit: u32,
    },
    /// The processes of the program together have more page tables than are searched for one request, or tables that
    /// lead to themselves.
    #[n(21)]
    #[error(
        "process {pid}: its page tables and those of the processes before it are more than {limit}, which is what one \
         request may search; run fewer processes of the program, or map less memory in each"
    )]
    TooManyPageTables {
        /// The process at whose tables the bound was met.
        #[n(0)]
        pid: u32,
        /// How many there may be, of all processes of the request together.
        #[n(1)]
        limit: u32,
    },
    /// The request asks for a hash algorithm that is none of ours.
    #[n(19)]
    #[error(
        "hash algorithm {number} is not known; ask for 1, 7, 8, 10, 11 or 12 of RFC 6920's registry"
    )]
    UnknownAlgorithm {
        /// Its number in the request.
        #[n(0)]
        number: u64,
    },
}
