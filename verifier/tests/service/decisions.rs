//! What administrators decide of who is refused is done, written down and logged as a whole, whoever goes away meanwhile.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Instant;

use axum::http::{Method, StatusCode};
use bartizan_attestation::certificates::Role;
use bartizan_attestation::vault_counter::FIRST_MARK;
use bartizan_verifier::clock::now_s;
use bartizan_verifier::peer::Peer;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::bench::{Answer, Bench, operator};
use crate::counters::{report, statement};
use crate::host::Host;
use crate::process::DEADLINE;

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    /// How often ann did so.
    fn lines(&self, message: &str) -> usize {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let is_hers = |line: &&str| line.contains(message) && line.contains("operator=\"ann\"");
        log.lines().filter(is_hers).count()
    }
}

fn bob() -> Peer {
    Peer::Operator {
        name: "bob".into(),
        role: Role::Administrator,
        not_after: now_s() + 60,
    }
}

async fn history(bench: &Bench) -> Vec<Value> {
    let (status, listed) = bench.get(&operator(), "/v1/revocations/history").await;
    assert_eq!(status, StatusCode::OK, "{listed}");
    listed["decisions"].as_array().unwrap().clone()
}

/// Goes on with a request until it has been woken so many times; then the client goes away.
async fn hanging_up(asked: impl Future<Output = Answer>, wakes: usize) -> Option<Answer> {
    let mut asked = pin!(asked);
    let mut polls = 0;
    std::future::poll_fn(|context| {
        if polls == wakes {
            return Poll::Ready(None);
        }
        polls += 1;
        asked.as_mut().poll(context).map(Some)
    })
    .await
}

/// Ann asks, and goes away at each point in turn at which that can be; then bob asks for the same. What was ann's doing is logged, also
/// where she was not there any more.
async fn every_hang_up(
    bench: &Bench,
    decision: &str,
    message: &str,
    prepare: impl AsyncFn(),
    ask: impl AsyncFn(Peer) -> Answer,
) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let deadline = Instant::now() + DEADLINE;
    let (mut wakes, mut answered) = (0, 0);
    for round in 1.. {
        prepare().await;
        let answer = hanging_up(ask(operator()), wakes).await;
        let _whoever_was_first = ask(bob()).await;
        let decisions = history(bench).await;
        let by = |who: &str| {
            let by = |told: &&Value| told["decision"] == decision && told["operator"] == who;
            decisions.iter().filter(by).count()
        };
        let done = by("ann");
        assert_eq!(done + by("bob"), round, "{decisions:?}");
        while log.lines(message) != done {
            assert!(Instant::now() < deadline, "not logged");
            tokio::task::yield_now().await;
        }
        wakes += 1;
        if let Some(answer) = answer {
            assert_eq!(answer.0, StatusCode::NO_CONTENT, "{}", answer.1);
            (wakes, answered) = (0, answered + 1);
            if done > answered {
                return;
            }
        }
        assert!(Instant::now() < deadline, "done for none who went away");
    }
}

const SUBJECT: &str = "/v1/revocations?kind=application&subject=nginx";

async fn revoke(bench: &Bench, peer: Peer) -> Answer {
    let wish = json!({"kind": "application", "subject": "nginx", "reason": "stolen"});
    bench.post(&peer, "/v1/revocations", wish).await
}

async fn reinstate(bench: &Bench, peer: Peer) -> Answer {
    bench
        .call(&peer, Method::DELETE, SUBJECT, Value::Null)
        .await
}

#[tokio::test]
async fn a_revocation_leaves_its_trace() {
    let bench = Bench::start().await;
    let prepare = async || {
        reinstate(&bench, bob()).await;
    };
    let ask = async |peer| revoke(&bench, peer).await;
    every_hang_up(&bench, "revoked", "revoked", prepare, ask).await;
}

#[tokio::test]
async fn a_revocation_that_is_taken_back_leaves_its_trace() {
    let bench = Bench::start().await;
    let prepare = async || {
        revoke(&bench, bob()).await;
    };
    let ask = async |peer| reinstate(&bench, peer).await;
    let message = "revocation taken back";
    every_hang_up(&bench, "reinstated", message, prepare, ask).await;
}

#[tokio::test]
async fn a_fork_that_is_cleared_leaves_its_trace() {
    let bench = Bench::start().await;
    let host = Host::enrolled(&bench.vault.fleet);
    let prepare = async || {
        for name in ["original", "copy"] {
            report(&bench, &host, &statement(&host, name, 1, FIRST_MARK)).await;
        }
    };
    let path = format!("/v1/hosts/{}/fork", host.card);
    let clear = async |peer: Peer| bench.call(&peer, Method::DELETE, &path, Value::Null).await;
    every_hang_up(&bench, "fork-cleared", "fork cleared", prepare, clear).await;
}

#[tokio::test]
async fn the_history_is_told_to_operators_in_pages() {
    let bench = Bench::start().await;
    revoke(&bench, operator()).await;
    reinstate(&bench, bob()).await;
    let told = history(&bench).await;
    let words = |told: &[Value]| -> Vec<_> {
        let word =
            |told: &Value| [&told["operator"], &told["decision"], &told["why"]].map(Value::clone);
        told.iter().map(word).collect()
    };
    let expected = [
        [json!("bob"), json!("reinstated"), Value::Null],
        [json!("ann"), json!("revoked"), json!("stolen")],
    ];
    assert_eq!(words(&told), expected);
    for decision in &told {
        assert_eq!(decision["kind"], "application");
        assert_eq!(decision["subject"], "nginx");
    }
    let path = "/v1/revocations/history?limit=1";
    let (_, first) = bench.get(&operator(), path).await;
    assert_eq!(first["decisions"], json!([told[0]]));
    let next = first["next"].as_str().unwrap();
    let (_, second) = bench
        .get(&operator(), &format!("{path}&after={next}"))
        .await;
    assert_eq!(second, json!({"decisions": [told[1]], "next": null}));
    let refused = bench.get(&operator(), &format!("{path}&after=x")).await;
    assert_eq!(crate::bench::problem(&refused), "field-out-of-range");
    let host = Host::enrolled(&bench.vault.fleet);
    let refused = bench.get(&crate::bench::peer(&host), path).await;
    assert_eq!(crate::bench::problem(&refused), "wrong-role");
}
