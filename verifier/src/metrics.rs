//! Counters for operators, in Prometheus' text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bartizan_attestation::appraisal::Status;

/// What is counted. Labels come from fixed sets only, so that no client can make the numbers grow in kind.
#[derive(Debug, Default)]
pub struct Metrics {
    responses: Mutex<BTreeMap<u16, u64>>,
    problems: Mutex<BTreeMap<&'static str, u64>>,
    verdicts: Mutex<BTreeMap<&'static str, u64>>,
    connections: AtomicU64,
    refused_connections: AtomicU64,
    failed_handshakes: AtomicU64,
}

impl Metrics {
    /// A response was sent; `problem` if it was a problem document.
    pub fn responded(&self, status: u16, problem: Option<&'static str>) {
        increment(&self.responses, status);
        if let Some(kind) = problem {
            increment(&self.problems, kind);
        }
    }

    /// A verdict became durable.
    pub fn judged(&self, status: Status) {
        increment(&self.verdicts, status_word(status));
    }

    /// A connection was accepted.
    pub fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was closed because there were too many: at once, or to make room for another client.
    pub fn refused_connection(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A TLS handshake failed or took too long.
    pub fn failed_handshake(&self) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// All counters as text; `gauges` are added as they are at this moment.
    #[must_use]
    pub fn render(&self, gauges: &[(&str, u64)]) -> String {
        let mut text = String::new();
        let single = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        family(&mut text, "responses_total", "code", &self.responses);
        family(&mut text, "problems_total", "type", &self.problems);
        family(&mut text, "verdicts_total", "status", &self.verdicts);
        for (name, value) in [
            ("connections_total", single(&self.connections)),
            (
                "refused_connections_total",
                single(&self.refused_connections),
            ),
            ("failed_handshakes_total", single(&self.failed_handshakes)),
        ] {
            plain(&mut text, name, "counter", value);
        }
        for (name, value) in gauges {
            plain(&mut text, name, "gauge", *value);
        }
        text
    }
}

/// The word for a status in EAR, the database and the metrics.
#[must_use]
pub const fn status_word(status: Status) -> &'static str {
    match status {
        Status::None => "none",
        Status::Affirming => "affirming",
        Status::Warning => "warning",
        Status::Contraindicated => "contraindicated",
    }
}

fn increment<K: Ord>(counts: &Mutex<BTreeMap<K, u64>>, key: K) {
    *counts
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(key)
        .or_default() += 1;
}

fn family<K: std::fmt::Display>(
    text: &mut String,
    name: &str,
    label: &str,
    counts: &Mutex<BTreeMap<K, u64>>,
) {
    // INVARIANT: writing to a String cannot fail.
    let _ = writeln!(text, "# TYPE bartizan_verifier_{name} counter");
    for (key, count) in &*counts.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = writeln!(
            text,
            "bartizan_verifier_{name}{{{label}=\"{key}\"}} {count}"
        );
    }
}

fn plain(text: &mut String, name: &str, kind: &str, value: u64) {
    let _ = writeln!(
        text,
        "# TYPE bartizan_verifier_{name} {kind}\nbartizan_verifier_{name} {value}"
    );
}
