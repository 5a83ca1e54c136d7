//! What the program gives up once its ports are open: all system calls but those that serving takes. A violation ends the process,
//! and with it the machine.

mod system_calls;

use bartizan_confinement::{Filter, FilterError, forbid_dumps};

use system_calls::{ABSENT, ALLOWED};

/// The process could not be confined; it must not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// Dumps could not be forbidden.
    #[error("the process could not be made undumpable: {0}")]
    Dumps(#[from] std::io::Error),
    /// Seccomp failed.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// From here on, for all threads. Keys must have been made: their library looks at the machine when it is first used.
pub fn confine() -> Result<(), ConfinementError> {
    forbid_dumps()?;
    Filter::only(ALLOWED, ABSENT)?.install()?;
    Ok(())
}
