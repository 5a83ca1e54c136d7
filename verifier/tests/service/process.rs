//! The real binary, and clients of it over TLS.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bartizan_attestation::certificates::Usage;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_channel::https::{self, Connection, Endpoint};
use bartizan_channel::{ChannelError, Connector, Identity, LocalSigner, TlsStream};
use bartizan_verifier::binary::Binary;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};

use crate::bench::{configuration, submission};
use crate::fleet::{Authority, Wish};
use crate::host::{Guest, Host};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A running verifier; killed when dropped.
pub(crate) struct Verifier {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it logs.
    log: mpsc::Receiver<Value>,
}

/// The command `bartizan-verifier`.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bartizan-verifier"));
    command.env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET");
    command
}

/// Writes a configuration; `extra` is added to it.
pub(crate) fn configure(directory: &Path, vault_socket: &Path, extra: &str) -> PathBuf {
    let path = directory.join("verifier.yaml");
    std::fs::write(&path, configuration(directory, vault_socket, extra)).unwrap();
    path
}

impl Verifier {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(configuration: &Path) -> Self {
        Self::start_as(command(), configuration)
    }

    /// Starts it by a command of the test's own.
    pub(crate) fn start_as(command: Command, configuration: &Path) -> Self {
        let mut verifier = Self::begin(command, configuration);
        let ready = verifier.until_said("ready");
        let text = ready["fields"]["addresses"].as_str().unwrap();
        verifier.address = text.trim_matches(['[', ']']).parse().unwrap();
        verifier
    }

    /// Starts it, ready or not; it has no address yet.
    pub(crate) fn begin(mut command: Command, configuration: &Path) -> Self {
        let mut child = command
            .args(["--log-json", "run", "--config"])
            .arg(configuration)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        let (logged, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                // Read to its end though nobody listens: it must not wait for that.
                let _heard = logged.send(serde_json::from_str(&line).unwrap_or_default());
            }
        });
        Self {
            child,
            address: ([0; 4], 0).into(),
            log,
        }
    }

    /// Waits until it logs a message; answers the whole entry.
    pub(crate) fn until_said(&self, message: &str) -> Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let entry = self.log.recv_timeout(left);
            let entry = entry.unwrap_or_else(|error| panic!("it never says `{message}`: {error}"));
            if entry["fields"]["message"] == message {
                return entry;
            }
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// How it ended, once it has.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Shows a chain whose key is at hand.
pub(crate) fn identity(chain: Vec<Vec<u8>>, key: &EphemeralKey) -> Arc<Identity> {
    let signer = LocalSigner::from_pkcs8(key.pkcs8_der()).unwrap();
    Arc::new(Identity::new(chain, Arc::new(signer)))
}

/// A client with a certificate.
pub(crate) fn client(fleet: &Authority, identity: Arc<Identity>) -> Connector {
    Connector::authenticated(move || Arc::clone(&identity), fleet.ca().der()).unwrap()
}

/// A host's client.
pub(crate) fn host_client(fleet: &Authority, host: &Host) -> Connector {
    let key = EphemeralKey::generate().unwrap();
    client(fleet, identity(host.client(&key), &key))
}

/// The operator ann's client.
pub(crate) fn operator_client(fleet: &Authority) -> Connector {
    let key = EphemeralKey::generate().unwrap();
    let wish = Wish::new(
        Usage::Operator,
        "urn:bartizan:operator:ann:administrator".to_owned(),
    );
    client(
        fleet,
        identity(vec![fleet.issue(&wish, &key.public_key())], &key),
    )
}

pub(crate) fn endpoint(address: SocketAddr) -> Endpoint {
    let server_name = "127.0.0.1".to_owned();
    Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
        server_name,
    }
}

/// A TLS stream from one of this machine's many addresses.
pub(crate) async fn stream_from(
    connector: &Connector,
    from: [u8; 4],
    address: SocketAddr,
) -> Result<TlsStream<TcpStream>, ChannelError> {
    connector
        .connect("127.0.0.1", tcp_from(from, address).await)
        .await
}

/// A TCP connection from one of this machine's many addresses.
pub(crate) async fn tcp_from(from: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

/// One exchange on an open connection: status and JSON.
pub(crate) async fn exchange(
    connection: &mut Connection,
    method: &'static str,
    path: &str,
    body: Value,
) -> Result<(u16, Value), ChannelError> {
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let request = https::Request {
        method,
        path: path.into(),
        body,
    };
    let response = connection.send(request, 1 << 20, DEADLINE).await?;
    Ok((
        response.status,
        serde_json::from_slice(&response.body).unwrap_or_default(),
    ))
}

pub(crate) async fn connect(connector: &Connector, address: SocketAddr) -> Connection {
    try_connect(connector, address).await.unwrap()
}

pub(crate) async fn try_connect(
    connector: &Connector,
    address: SocketAddr,
) -> Result<Connection, ChannelError> {
    Connection::open(connector, &endpoint(address), DEADLINE).await
}

/// Fetches a nonce and hands in a report with it.
pub(crate) async fn attest(
    connection: &mut Connection,
    guest: &Guest,
) -> Result<(u16, Value), ChannelError> {
    let wish = json!({"guest": guest.identity.to_string()});
    let (status, answer) = exchange(connection, "POST", "/v1/nonces", wish).await?;
    assert_eq!(status, 200, "{answer}");
    let nonce = Binary::decode(answer["nonce"].as_str().unwrap()).unwrap();
    let report = guest.attest(nonce.try_into().unwrap(), "nginx");
    exchange(
        connection,
        "POST",
        "/v1/reports",
        submission(&report, &guest.chain),
    )
    .await
}
