//! What the process gives up before it serves (Landlock, landlock(7)): every path but the database's
//! folder, and every TCP port but those it listens at. It cannot connect to anything over TCP: hosts and
//! guests come to it. The vault's socket is a Unix socket, which Landlock leaves alone.

use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus,
};

use crate::config::Config;

/// What is asked for: files as of Linux 6.2, TCP as of 6.7; an older kernel enforces what it knows.
const FILES: ABI = ABI::V3;

/// The process could not be confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// The database's folder cannot be opened.
    #[error("the database's folder cannot be opened: {0}; make it, owned by the verifier's user")]
    Folder(#[from] landlock::PathFdError),
    /// The rules were refused.
    #[error("Landlock failed: {0}")]
    Landlock(#[from] landlock::RulesetError),
}

/// Confines this thread and all that it starts from now on.
pub fn confine(config: &Config) -> Result<(), ConfinementError> {
    let folder = match config.database.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let files = AccessFs::from_all(FILES) & !AccessFs::Execute;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(FILES))?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new(folder)?, files))?;
    for address in &config.listen {
        rules = rules.add_rule(NetPort::new(address.port(), AccessNet::BindTcp))?;
    }
    let status = rules.restrict_self()?.ruleset;
    if status != RulesetStatus::FullyEnforced {
        tracing::warn!(?status, "this kernel does not enforce all of Landlock");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::confine;
    use crate::config::Config;

    #[test]
    fn only_the_folder_and_the_ports_are_left() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let host = TcpListener::bind("127.0.0.1:0").unwrap();
        let config: Config = serde_saphyr::from_str(&format!(
            "{{listen: ['127.0.0.1:0'], names: [x], database: '{}', vault_socket: x, fleet_name: x}}",
            own.path().join("verifier.db").display()
        ))
        .unwrap();
        // Confined is the thread, not the whole test.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                confine(&config).unwrap();
                std::fs::write(own.path().join("verifier.db"), "").unwrap();
                let elsewhere = std::fs::write(other.path().join("x"), "").unwrap_err();
                assert_eq!(elsewhere.kind(), ErrorKind::PermissionDenied);
                assert!(std::fs::read("/etc/passwd").is_err());
                TcpListener::bind("127.0.0.1:0").unwrap();
                let to_host = TcpStream::connect(host.local_addr().unwrap()).unwrap_err();
                assert_eq!(to_host.kind(), ErrorKind::PermissionDenied);
            });
        });
    }
}
