//! A whole verifier without its sockets: the API over a real database and the stand-in vault.

use bartizan_attestation::certificates::Role;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use bartizan_verifier::anchors::Anchors;
use bartizan_verifier::api::{self, Origin};
use bartizan_verifier::binary::Binary;
use bartizan_verifier::clock::now_s;
use bartizan_verifier::config::Config;
use bartizan_verifier::cut::Cut;
use bartizan_verifier::memory::MemoryBudget;
use bartizan_verifier::metrics::Metrics;
use bartizan_verifier::nonces::NonceBook;
use bartizan_verifier::peer::Peer;
use bartizan_verifier::profile_cache::ProfileCache;
use bartizan_verifier::quota::{BootQuota, CounterQuota, RenewalQuota, VerdictQuota};
use bartizan_verifier::service::Service;
use bartizan_verifier::storage::{Storage, VerdictLog};
use bartizan_verifier::streams::Streams;
use bartizan_verifier::tls_identity::TlsIdentity;
use bartizan_verifier::token_keys::TokenKeys;
use bartizan_verifier::vault::Vault;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::fleet::Authority;
use crate::host::{Guest, Host};
use crate::process::DEADLINE;
use crate::stand_in_vault::{Gate, StandInVault};

pub(crate) struct Bench {
    pub(crate) service: Arc<Service>,
    pub(crate) vault: StandInVault,
    _directory: tempfile::TempDir,
    router: axum::Router,
}

/// An answer: status and JSON body (null if it has none).
pub(crate) type Answer = (StatusCode, Value);

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_with(Authority::fleet(), "").await
    }

    pub(crate) async fn start_with(fleet: Authority, extra: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let vault = StandInVault::start(directory.path(), fleet);
        let path = directory.path().join("verifier.yaml");
        std::fs::write(&path, configuration(directory.path(), &vault.socket, extra)).unwrap();
        let config = Config::load(&path).unwrap();
        let storage = Storage::open(&config.database).await.unwrap();
        let link = Vault::new(config.vault_socket.clone());
        let anchors = Arc::new(Anchors::open(link.clone()).await.unwrap());
        let lifetime_s = config.token_key_lifetime_s;
        let token_keys = TokenKeys::open(link.clone(), Arc::clone(&anchors), lifetime_s);
        let tls = TlsIdentity::open(
            link.clone(),
            Arc::clone(&anchors),
            config.names.clone(),
            config.tls_lifetime_s,
        );
        let service = Arc::new(Service {
            tls: Arc::new(tls.await.unwrap()),
            token_keys: token_keys.await.unwrap(),
            verdicts: VerdictLog::start(storage.clone(), config.retention).0,
            quota: VerdictQuota::new(&config.verdicts),
            renewals: RenewalQuota::default(),
            boots: BootQuota::default(),
            counters: CounterQuota::default(),
            enrolling: tokio::sync::Mutex::default(),
            challenges: api::Challenges::default(),
            quoted: bartizan_verifier::quoted::Quoted::default(),
            nonces: Mutex::new(NonceBook::new(config.nonce_limits())),
            memory: MemoryBudget::new(config.limits.request_memory_bytes),
            stranger_memory: MemoryBudget::new(config.limits.stranger_memory_bytes),
            stream_memory: MemoryBudget::new(config.limits.stream_memory_bytes),
            streams: Streams::new(None),
            profiles: ProfileCache::default(),
            metrics: Metrics::default(),
            vault: link,
            storage,
            anchors,
            config,
        });
        let router = api::router(Arc::clone(&service));
        Self {
            service,
            vault,
            _directory: directory,
            router,
        }
    }

    /// What a GET is answered with, its body unread.
    pub(crate) async fn respond(&self, peer: &Peer, path: &str) -> Response {
        self.dispatch(peer, Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    /// The same for any request.
    pub(crate) async fn dispatch(&self, peer: &Peer, request: Request<Body>) -> Response {
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(peer.clone());
        // Unless the request says where it comes from.
        let from = Origin(([192, 0, 2, 7], 4711).into());
        parts.extensions.get_or_insert(from);
        if parts.extensions.get::<Cut>().is_none() {
            parts.extensions.insert(Cut::default());
        }
        let request = Request::from_parts(parts, body);
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(&self, peer: &Peer, request: Request<Body>) -> Answer {
        let response = self.dispatch(peer, request).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        if status.is_client_error() || status.is_server_error() {
            assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert!(headers.contains_key(header::RETRY_AFTER));
        }
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub(crate) async fn call(
        &self,
        peer: &Peer,
        method: Method,
        path: &str,
        body: Value,
    ) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.call_raw(peer, method, path, body).await
    }

    /// The same with a body that is sent as it is.
    pub(crate) async fn call_raw(
        &self,
        peer: &Peer,
        method: Method,
        path: &str,
        body: String,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_LENGTH, body.len())
            .body(body.into())
            .unwrap();
        self.send(peer, request).await
    }

    /// A POST from another address than those of the others.
    pub(crate) async fn post_from(
        &self,
        from: SocketAddr,
        peer: &Peer,
        path: &str,
        body: Value,
    ) -> Answer {
        let body = body.to_string();
        let request = Request::post(path)
            .header(header::CONTENT_LENGTH, body.len())
            .extension(Origin(from))
            .body(body.into())
            .unwrap();
        self.send(peer, request).await
    }

    pub(crate) async fn post(&self, peer: &Peer, path: &str, body: Value) -> Answer {
        self.call(peer, Method::POST, path, body).await
    }

    pub(crate) async fn get(&self, peer: &Peer, path: &str) -> Answer {
        self.call(peer, Method::GET, path, Value::Null).await
    }

    /// Goes on with a request until so many wait at a gate of the vault's; then the client goes away.
    pub(crate) async fn until_waiting(
        &self,
        gate: &Gate,
        asked: impl Future<Output = Answer>,
        waiting: usize,
    ) {
        let reached = async {
            while gate.waiting() < waiting {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answer = asked => panic!("answered though the vault holds it: {answer:?}"),
            reached = tokio::time::timeout(DEADLINE, reached) => reached.unwrap(),
        }
    }

    pub(crate) async fn nonce(&self, host: &Host, guest: &Guest) -> [u8; 32] {
        let wish = json!({"guest": guest.identity.to_string()});
        let (status, answer) = self.post(&peer(host), "/v1/nonces", wish).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        Binary::decode(answer["nonce"].as_str().unwrap())
            .unwrap()
            .try_into()
            .unwrap()
    }

    pub(crate) async fn submit(&self, host: &Host, guest: &Guest, report: &[u8]) -> Answer {
        self.post(&peer(host), "/v1/reports", submission(report, &guest.chain))
            .await
    }
}

pub(crate) fn submission(report: &[u8], guest_chain: &[Vec<u8>]) -> Value {
    let chain: Vec<_> = guest_chain.iter().map(|der| Binary::encode(der)).collect();
    json!({"report": Binary::encode(report), "guest_chain": chain})
}

pub(crate) fn configuration(
    directory: &std::path::Path,
    vault_socket: &std::path::Path,
    extra: &str,
) -> String {
    let (database, socket) = (directory.join("verifier.db"), vault_socket.display());
    format!(
        "listen: ['127.0.0.1:0']\nnames: [127.0.0.1, localhost]\ndatabase: {}\n\
         vault_socket: {socket}\nfleet_name: Tests\n{}\n{extra}\n",
        database.display(),
        measured_boot(extra)
    )
}

/// Nothing is demanded of hosts' boots where a test says nothing of it.
fn measured_boot(extra: &str) -> &'static str {
    if extra.contains("measured_boot") {
        ""
    } else {
        "measured_boot: not_demanded"
    }
}

pub(crate) fn peer(host: &Host) -> Peer {
    Peer::Host {
        card: host.card,
        card_key: host.authority.key.public_key().sha256(),
        phases: Vec::new(),
        certificate: [0; 32],
        not_after: now_s() + 60,
    }
}

pub(crate) fn operator() -> Peer {
    Peer::Operator {
        name: "ann".into(),
        role: Role::Administrator,
        not_after: now_s() + 60,
    }
}

/// The last part of a problem's type.
pub(crate) fn problem(answer: &Answer) -> &str {
    let kind = answer.1["type"].as_str().unwrap_or_default();
    kind.strip_prefix("urn:bartizan:problem:").unwrap_or(kind)
}
