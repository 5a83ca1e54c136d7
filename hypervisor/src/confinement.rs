//! What the daemon, supervisors and QEMU give up.
//!
//! The daemon starts supervisors, and those start QEMU and measurers. Children inherit filters and Landlock domains and
//! can only narrow them, so that each level must leave to those below what they need:
//!
//! ```text
//! daemon      all but what none of the four does; files: its folder, images, groups, the programs that are started
//!  └ supervisor   a user of its own; becomes this guest's two alone; files: its boot's folder, the programs
//!     ├ QEMU          no socket of any kind, no process; files: its program, libraries and firmware, read-only
//!     └ measurer      its own table and no file, by itself, before it reads guest RAM
//!
//! keeper      the daemon's table; becomes the enclave's user alone; files: its folder, groups, QEMU and what was measured
//!  └ QEMU        as a guest's
//! ```
//!
//! QEMU translates code, loads modules and differs between versions: which calls it may make cannot be listed. So the
//! tables of the first three are of what is forbidden ([`bartizan_confinement::Filter::all_but`]): coarse.
//!
//! | module | concept |
//! |---|---|
//! | `system_calls` | the tables |
//! | [`paths`] | where programs, libraries and firmware are |
//! | [`qemu`], [`supervisor`], [`daemon`], [`keeper`] | who gives up what |

pub mod daemon;
pub mod keeper;
pub mod paths;
pub mod qemu;
pub mod supervisor;
mod system_calls;

use bartizan_confinement::{AccessError, FilterError};

/// A process could not be confined; it must not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// Dumps could not be forbidden.
    #[error("the process could not be made undumpable: {0}")]
    Dumps(#[from] std::io::Error),
    /// Capabilities could not be given up.
    #[error("capabilities could not be given up: {0}")]
    Capabilities(std::io::Error),
    /// Landlock failed.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Seccomp failed.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

#[cfg(test)]
mod tests;
