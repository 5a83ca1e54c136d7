//! What the process gives up before it serves (Landlock, landlock(7)): every path but the database's
//! folder, and every TCP port but those it listens at. It cannot connect to anything over TCP: hosts and
//! guests come to it. The vault's socket is a Unix socket, which Landlock leaves alone.

use std::path::Path;

use bartizan_confinement::{AccessError, Rights, Rules};

use crate::config::Config;

/// Confines this thread and all that it starts from now on.
pub fn confine(config: &Config) -> Result<(), AccessError> {
    let folder = config.database.parent().unwrap_or(Path::new("."));
    let ports = config.listen.iter().map(std::net::SocketAddr::port);
    Rules::none()
        .grant(folder, Rights::Replace)
        .listen(ports)
        .enter()
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
