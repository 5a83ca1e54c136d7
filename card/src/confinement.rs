//! What the process gives up: in two steps, since threads inherit the one and are all held to the other.
//!
//! It reaches its boot counters and its log, the verifier's port, and Unix sockets; it starts no program. Where the verifier is
//! configured by a name and not by an address, it also reads what the resolver needs and speaks to name servers.

mod system_calls;

use std::net::{IpAddr, ToSocketAddrs};

use bartizan_confinement::{AccessError, Filter, FilterError, Rights, Rules, forbid_dumps};

use crate::config::Config;
use system_calls::{ABSENT, ALLOWED, RESOLVER};

/// The process could not be confined. The card does not serve then.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// Dumps could not be forbidden.
    #[error("the process could not be made undumpable: {0}")]
    Dumps(#[from] std::io::Error),
    /// Landlock failed.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// No random numbers.
    #[error("the random number generator failed")]
    Random,
    /// Seccomp failed.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// From here on, for this thread and those that it starts: files, TCP, signals.
pub fn restrict_access(config: &Config) -> Result<(), ConfinementError> {
    forbid_dumps()?;
    let rules = Rules::none()
        .grant(&config.state_dir, Rights::Manage)
        .connect(config.verifier.port);
    if by_name(config) {
        // The resolver's modules are loaded by its first question, and stay. Whether it has an answer now is no matter.
        let _answer = (config.verifier.host.as_str(), config.verifier.port).to_socket_addrs();
        // Its files are replaced as a whole, by whoever configures the network.
        let files = [
            "/etc",
            "/run/systemd/resolve",
            "/run/NetworkManager",
            "/run/resolvconf",
        ];
        rules.grant_any(files, Rights::Read).connect(DNS).enter()?;
    } else {
        rules.enter()?;
    }
    Ok(())
}

/// For all threads: whatever is not in the table ends the process. To be called when everything is set up.
pub fn restrict_system_calls(config: &Config) -> Result<(), ConfinementError> {
    // aws-lc's generator looks at the machine when it is first used, by calls that serving never needs again.
    aws_lc_rs::rand::fill(&mut [0]).map_err(|_| ConfinementError::Random)?;
    let mut allowed = ALLOWED.to_vec();
    if by_name(config) {
        allowed.extend_from_slice(RESOLVER);
    }
    Filter::only(&allowed, ABSENT)?.install()?;
    Ok(())
}

/// The port of name servers.
const DNS: u16 = 53;

fn by_name(config: &Config) -> bool {
    config.verifier.host.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests;
