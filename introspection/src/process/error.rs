//! Why a process could not be read.

/// A kernel type or symbol that process readers need is not in the kernel profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A member is not in the BTF, or lies outside its structure.
    #[error(
        "the kernel's BTF has no usable `{structure}.{member}`; kernels from 6.1 on are understood"
    )]
    Member {
        /// The C structure.
        structure: &'static str,
        /// The member, dotted where nested.
        member: String,
    },
}

/// A process of the guest could not be read from RAM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    /// No thread group with that id is in the task list.
    #[error("the guest has no process {pid}")]
    NotFound {
        /// The thread group id asked for.
        pid: u32,
    },
    /// A kernel thread, a zombie or an exiting process.
    #[error("process {pid} has no address space")]
    NoAddressSpace {
        /// The thread group id asked for.
        pid: u32,
    },
    /// More processes execute one program than are measured together.
    #[error("more than {limit} processes execute the program of process {pid}")]
    TooManyInstances {
        /// The process asked for.
        pid: u32,
        /// The reader's bound.
        limit: usize,
    },
    /// The kernel profile names no such symbol.
    #[error("the kernel profile has no symbol `{0}`")]
    Symbol(&'static str),
    /// A pointer leads to nothing readable.
    #[error("a pointer to `{structure}` leads to {address:#x}, which is no kernel memory")]
    Unreadable {
        /// The C structure expected there.
        structure: &'static str,
        /// The kernel-virtual address.
        address: u64,
    },
    /// A structure contradicts itself or its neighbours. Transient on a running guest.
    #[error("`{structure}` at {address:#x} is inconsistent: {finding}; ask again")]
    Inconsistent {
        /// The C structure.
        structure: &'static str,
        /// Its kernel-virtual address.
        address: u64,
        /// What contradicts.
        finding: &'static str,
    },
    /// More of something than a reader follows.
    #[error("more than {limit} {what}: no such guest is measured")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The reader's bound.
        limit: usize,
    },
}
