//! A stand-in for the verifier: renews hosts' certificates and says of operators whether they are revoked, over TLS, each
//! answer on a connection of its own. Who drops it takes the verifier away.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bartizan_attestation::certificates::Lineage;
use bartizan_attestation::csr::{self, EphemeralKey};
use bartizan_attestation::succession;
use bartizan_channel::{Acceptor, Identity, LocalSigner};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::fleet::{Authority, fresh, now};

pub(crate) struct StandInVerifier {
    pub(crate) port: u16,
    revoked: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<Told>>,
    bundle: Arc<Mutex<Served>>,
    certifies: Arc<AtomicBool>,
    judging: Arc<Mutex<Judging>>,
    asked_for_cas: Arc<AtomicUsize>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What it tells of its CAs and keys.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) lineage: Lineage,
    /// The token keys' certificates, DER.
    pub(crate) tokens: Vec<Vec<u8>>,
}

/// What it makes of hosts and their boots.
#[derive(Clone, Default)]
struct Judging {
    /// The problem with all that a host asks, but that it hands in.
    refuses: Option<&'static str>,
    /// The problem with its boot.
    refuses_boot: Option<&'static str>,
    /// The problem with its renewals.
    refuses_renewals: Option<&'static str>,
    /// What was handed in.
    handed_in: Vec<Value>,
}

/// What is answered to whoever asks for a bundle.
#[derive(Clone, Debug, Default)]
pub(crate) enum Served {
    /// There is none.
    #[default]
    NotPublished,
    /// This one.
    Bytes(Vec<u8>),
    /// These bytes, in the place of an HTTP answer.
    Raw(Vec<u8>),
    /// Nothing, ever.
    Silence,
}

impl StandInVerifier {
    pub(crate) fn start(fleet: Arc<Authority>) -> Self {
        let lineage = Lineage::of(fleet.der.clone());
        Self::start_with(fleet, lineage)
    }

    /// One whose fleet had other CAs before.
    pub(crate) fn start_with(fleet: Arc<Authority>, lineage: Lineage) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (end, ended) = oneshot::channel();
        let revoked = Arc::new(Mutex::default());
        let (tokens, shown) = (Vec::new(), lineage.clone());
        let told = Arc::new(Mutex::new(Told { lineage, tokens }));
        let asked_for_cas = Arc::new(AtomicUsize::new(0));
        let bundle = Arc::<Mutex<Served>>::default();
        let certifies = Arc::new(AtomicBool::new(true));
        let judging = Arc::<Mutex<Judging>>::default();
        let state = State {
            bundle: Arc::clone(&bundle),
            certifies: Arc::clone(&certifies),
            judging: Arc::clone(&judging),
            fleet,
            lineage: shown,
            told: Arc::clone(&told),
            revoked: Arc::clone(&revoked),
            asked_for_cas: Arc::clone(&asked_for_cas),
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(Arc::new(state), listener) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            port,
            revoked,
            told,
            bundle,
            certifies,
            judging,
            asked_for_cas,
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// From now on this is what comes of asking for a bundle.
    pub(crate) fn serve(&self, served: Served) {
        *self.bundle.lock().unwrap() = served;
    }

    /// Whether from now on a host's next key gets a certificate.
    pub(crate) fn certify(&self, certifies: bool) {
        self.certifies.store(certifies, Ordering::SeqCst);
    }

    /// From now on this is the problem with whatever a host asks, if there is one.
    pub(crate) fn refuse(&self, problem: Option<&'static str>) {
        self.judging.lock().unwrap().refuses = problem;
    }

    /// From now on this is the problem with a host's boot, if there is one.
    pub(crate) fn refuse_boot(&self, problem: Option<&'static str>) {
        self.judging.lock().unwrap().refuses_boot = problem;
    }

    /// From now on this is the problem with a host that wants another certificate, if there is one.
    pub(crate) fn refuse_renewals(&self, problem: Option<&'static str>) {
        self.judging.lock().unwrap().refuses_renewals = problem;
    }

    /// The boots that were handed in.
    pub(crate) fn handed_in(&self) -> Vec<Value> {
        self.judging.lock().unwrap().handed_in.clone()
    }

    /// From now on it tells this.
    pub(crate) fn tell(&self, told: Told) {
        *self.told.lock().unwrap() = told;
    }

    /// How often it was asked for its CAs.
    pub(crate) fn asked_for_cas(&self) -> usize {
        self.asked_for_cas.load(Ordering::SeqCst)
    }

    /// From now on this operator is.
    pub(crate) fn revoke(&self, operator: &str) {
        self.revoked.lock().unwrap().push(operator.to_owned());
    }
}

impl Drop for StandInVerifier {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

struct State {
    fleet: Arc<Authority>,
    /// Its CAs, whatever it tells of them.
    lineage: Lineage,
    told: Arc<Mutex<Told>>,
    revoked: Arc<Mutex<Vec<String>>>,
    bundle: Arc<Mutex<Served>>,
    certifies: Arc<AtomicBool>,
    judging: Arc<Mutex<Judging>>,
    asked_for_cas: Arc<AtomicUsize>,
}

async fn serve(state: Arc<State>, listener: TcpListener) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let key = EphemeralKey::generate().unwrap();
    let signer = LocalSigner::from_pkcs8(key.pkcs8_der()).unwrap();
    let server = state.fleet.certify_server(&key.public_key());
    let lineage = &state.lineage;
    let chain = [vec![server], lineage.new_with_old()].concat();
    let former = lineage.former.iter().map(|ca| ca.certificate.to_vec());
    let cas: Vec<_> = former.chain([state.fleet.der.clone()]).collect();
    let identity = Arc::new(Identity::new(chain, Arc::new(signer)));
    let acceptor = Acceptor::new(move || Arc::clone(&identity), &cas).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (state, acceptor) = (Arc::clone(&state), acceptor.clone());
        tokio::spawn(async move { answer(&state, &acceptor, stream).await });
    }
}

/// Answers one request; `None` where the client did not get so far.
async fn answer(state: &State, acceptor: &Acceptor, stream: TcpStream) -> Option<()> {
    let (mut stream, client) = acceptor.accept(stream).await.ok()?;
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    let (head, body) = loop {
        let length = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&part[..length]);
        let text = String::from_utf8(request.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let announced = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            (name.eq_ignore_ascii_case("content-length")).then(|| value.parse::<usize>().unwrap())
        });
        if body.len() >= announced.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    if head.starts_with("GET /v1/bundles/") {
        assert!(client.is_some(), "the card shows who it is");
        let asked = format!("GET /v1/bundles/{} HTTP/1.1", "07".repeat(32));
        assert_eq!(head.lines().next(), Some(asked.as_str()));
        let bundle = state.bundle.lock().unwrap().clone();
        let answer = match bundle {
            Served::NotPublished => {
                let problem = json!({ "type": "urn:bartizan:problem:bundle-not-published" });
                with_length("404 Not Found", problem.to_string().as_bytes())
            }
            Served::Bytes(bytes) => with_length("200 OK", &bytes),
            Served::Raw(bytes) => bytes,
            Served::Silence => std::future::pending().await,
        };
        stream.write_all(&answer).await.ok()?;
        return stream.shutdown().await.ok();
    }
    if head.starts_with("POST /v1/hosts/boot ") {
        assert!(client.is_some(), "the card shows who it is");
        let answer = state.judge(&body);
        stream.write_all(&answer).await.ok()?;
        return stream.shutdown().await.ok();
    }
    if let Some(problem) = state.refuses(&head).filter(|_| client.is_some()) {
        stream.write_all(&refusal(problem)).await.ok()?;
        return stream.shutdown().await.ok();
    }
    let body = if head.starts_with("POST /v1/hosts ") {
        state.enroll(&body)
    } else {
        let public = head.starts_with("GET /v1/fleet-ca ");
        assert!(client.is_some() || public, "the card shows who it is");
        state.reply(&head, &body)
    };
    let body = body.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

fn with_length(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn refusal(problem: &str) -> Vec<u8> {
    let document =
        json!({ "type": format!("urn:bartizan:problem:{problem}"), "detail": "told to refuse" });
    with_length("403 Forbidden", document.to_string().as_bytes())
}

impl State {
    /// The problem with what is asked.
    fn refuses(&self, head: &str) -> Option<&'static str> {
        let judging = self.judging.lock().unwrap();
        let renews = head.starts_with("POST /v1/hosts/succeed ");
        let of_renewals = judging.refuses_renewals.filter(|_| renews);
        judging.refuses.or(of_renewals)
    }

    /// A boot of two releases.
    fn judge(&self, body: &str) -> Vec<u8> {
        let mut judging = self.judging.lock().unwrap();
        judging.handed_in.push(serde_json::from_str(body).unwrap());
        if let Some(problem) = judging.refuses_boot {
            return refusal(problem);
        }
        let accepted = json!({
            "base": "ab".repeat(48), "base_version": 3, "bundle": "cd".repeat(48), "bundle_version": 4,
            "phase": "hypervisor", "quoted": false, "firmware": null,
        });
        with_length("200 OK", accepted.to_string().as_bytes())
    }

    /// By the present CA; from then on it tells of that one, where it has not before.
    fn enroll(&self, body: &str) -> Value {
        let wish: Value = serde_json::from_str(body).unwrap();
        let csr = B64.decode(wish["csr"].as_str().unwrap()).unwrap();
        let key = csr::verify(&csr).unwrap();
        let certificate = self.fleet.certify_card(&key, fresh());
        self.told.lock().unwrap().lineage = self.lineage.clone();
        json!({ "chain": [B64.encode(certificate)] })
    }

    fn reply(&self, head: &str, body: &str) -> Value {
        let fleet = &self.fleet;
        let told = self.told.lock().unwrap().clone();
        let revoked = self.revoked.lock().unwrap().clone();
        if head.starts_with("POST /v1/hosts/succeed ") && !self.certifies.load(Ordering::SeqCst) {
            return json!({ "chain": [] });
        }
        if head.starts_with("POST /v1/hosts/succeed ") {
            let wish: Value = serde_json::from_str(body).unwrap();
            let known = fleet.ca().with_lineage(&told.lineage).unwrap();
            let signed = B64.decode(wish["succession"].as_str().unwrap()).unwrap();
            let verified = succession::verify(&signed, &known, now()).unwrap();
            let certificate = fleet.certify_card_as(verified.card, &verified.next, fresh());
            return json!({ "chain": [B64.encode(certificate)] });
        }
        if head.starts_with("POST /v1/hosts/counter ") {
            return json!({ "counter": 1, "mark": B64.encode([7; 32]) });
        }
        if head.starts_with("GET /v1/fleet-ca ") {
            self.asked_for_cas.fetch_add(1, Ordering::SeqCst);
            return json!(told.lineage);
        }
        if head.starts_with("GET /v1/token-certificates ") {
            let chains: Vec<_> = told.tokens.iter().map(|leaf| [B64.encode(leaf)]).collect();
            return json!({ "token_certificates": chains });
        }
        let operator = head.strip_prefix("GET /v1/operators/");
        let (operator, _) = operator.unwrap().split_once("/standing ").unwrap();
        json!({ "revoked": revoked.iter().any(|name| name == operator) })
    }
}
