//! What the process gives up, in two steps. Before it has threads: every path but the database's folder, every TCP
//! port but those it listens at, dumps. It cannot connect to anything over TCP: hosts and guests come to it. The vault's
//! socket is a Unix socket, which Landlock leaves alone. When it serves: all system calls that serving does not need.

mod system_calls;

use std::path::Path;

use bartizan_confinement::{AccessError, Filter, FilterError, Rights, Rules, forbid_dumps};

use crate::config::Config;
use system_calls::{ABSENT, ALLOWED};

/// The process could not be confined. The verifier does not serve then.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// Dumps could not be forbidden.
    #[error("the process could not be made undumpable: {0}")]
    Dumps(#[from] std::io::Error),
    /// Landlock failed.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// Confines this thread and all that it starts from now on.
pub fn restrict_access(config: &Config) -> Result<(), ConfinementError> {
    forbid_dumps()?;
    let folder = config.database.parent().unwrap_or(Path::new("."));
    let ports = config.listen.iter().map(std::net::SocketAddr::port);
    Rules::none()
        .grant(folder, Rights::Replace)
        // The database's generator of random numbers.
        .grant_any(["/dev/urandom"], Rights::Read)
        .listen(ports)
        .enter()?;
    Ok(())
}

/// For all threads: whatever is not in the table ends the process. To be called when the database is open and the
/// addresses are bound.
pub fn restrict_system_calls() -> Result<(), FilterError> {
    Filter::only(ALLOWED, ABSENT)?.install()
}

#[cfg(test)]
mod tests;
