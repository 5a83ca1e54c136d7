//! Bounds on what clients may use.

use std::time::Duration;

use bartizan_attestation::boot::Bundle;
use bartizan_stream::limits::MAX_SET;
use serde::Deserialize;

use super::Range;
use crate::memory::MemoryBudget;

/// Bounds on what clients may use. Hosts, operators and strangers have connections and memory of their
/// own each, so that none of them can take what the others need; within each, no one can take it all.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once whose client is not known yet.
    pub handshakes: usize,
    /// Of these from one IPv4 address or IPv6 subnet.
    pub handshakes_per_address: usize,
    /// Connections of hosts at once.
    pub connections: usize,
    /// Connections at once of one host.
    pub connections_per_host: usize,
    /// Connections of operators at once.
    pub operator_connections: usize,
    /// Connections at once of one operator.
    pub connections_per_operator: usize,
    /// Connections of strangers at once.
    pub stranger_connections: usize,
    /// Connections of strangers at once from one IPv4 address or IPv6 subnet.
    pub connections_per_address: usize,
    /// Seconds for a TLS handshake.
    pub handshake_s: u64,
    /// Seconds for a request's head to arrive, from the answer before: also how long a connection may
    /// be idle.
    pub head_s: u64,
    /// Seconds for a request from its head to its answer, beyond what its body may take to arrive.
    pub request_s: u64,
    /// Seconds after which a connection is closed with its next answer.
    pub connection_s: u64,
    /// Seconds that a body may take to begin, or stand still.
    pub body_grace_s: u64,
    /// Bytes a second at which a body must arrive, on the whole.
    pub body_bytes_per_s: u64,
    /// Seconds that a request may wait for its share of the memory.
    pub memory_wait_s: u64,
    /// Bytes of a request's body, save those below.
    pub body_bytes: usize,
    /// Bytes of the body of a `POST /v1/reports`; a report of 24 MiB, the largest there is, has 32 MiB
    /// of base64url.
    pub report_body_bytes: usize,
    /// Bytes of the body of a `PUT /v1/profiles/{application}`.
    pub profile_body_bytes: usize,
    /// Bytes of the body of a `POST /v1/hosts/boot` or `POST /v1/releases`; an event log of 2 MiB, the largest there is,
    /// has 2.7 MiB of base64url.
    pub boot_body_bytes: usize,
    /// Bytes of the body of a `PUT /v1/policies`; a signed policy of 4 MiB, the largest there is, has 5.4 MiB of base64url.
    pub policy_body_bytes: usize,
    /// Bytes of memory for all requests of hosts and operators that are read or judged at once.
    pub request_memory_bytes: usize,
    /// Bytes of memory for all requests of strangers that are read or answered at once.
    pub stranger_memory_bytes: usize,
    /// Bundles that are served at once, each to another host, in at most 3 MiB of memory each.
    pub bundles: usize,
    /// Streams of enclaves at once, one of each host.
    pub streams: usize,
    /// Bytes of memory for all streams of enclaves: each takes 0.5 MiB, and a set of policies twice its size until it is answered.
    pub stream_memory_bytes: usize,
    /// Seconds for an enclave to say what became of a set of policies, or to take anything else that it is sent.
    pub stream_answer_s: u64,
    /// Outstanding nonces of one guest.
    pub nonces_per_guest: usize,
    /// Outstanding nonces of the guests of one host.
    pub nonces_per_host: usize,
    /// Nonces issued altogether within one nonce lifetime.
    pub nonces: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 256,
            handshakes_per_address: 32,
            connections: 1024,
            connections_per_host: 128,
            operator_connections: 64,
            connections_per_operator: 16,
            stranger_connections: 128,
            connections_per_address: 16,
            handshake_s: 10,
            head_s: 30,
            request_s: 60,
            connection_s: 600,
            body_grace_s: 5,
            body_bytes_per_s: 1 << 20,
            memory_wait_s: 5,
            body_bytes: 64 << 10,
            report_body_bytes: 34 << 20,
            profile_body_bytes: 16 << 20,
            boot_body_bytes: 3 << 20,
            policy_body_bytes: 6 << 20,
            request_memory_bytes: 512 << 20,
            stranger_memory_bytes: 16 << 20,
            bundles: 64,
            streams: 1024,
            stream_memory_bytes: 1 << 30,
            stream_answer_s: 60,
            nonces_per_guest: 1024,
            nonces_per_host: 65_536,
            nonces: 262_144,
        }
    }
}

impl Limits {
    /// How many times its body's size a report takes in memory while it is judged: the body itself,
    /// then the report in it (3/4), what is read of that (3/4), and copies of its parts.
    pub const REPORT_EXPANSION: usize = 3;
    /// How many times its body's size a profile takes in memory while it is put: the body, the profile,
    /// its text, and the answer.
    pub const PROFILE_EXPANSION: usize = 4;

    /// How many times its body's size an event log or a manifest takes in memory: the body, the log (3/4), its records and
    /// its events, each at most twice that.
    pub const BOOT_EXPANSION: usize = 5;

    /// How many times its body's size a policy takes in memory while it is applied: the body, the signed policy (3/4), its text, and
    /// what is read of that, which the number of its values bounds (SPECIFICATION.md, "Limits").
    pub const POLICY_EXPANSION: usize = 20;

    /// What a stream takes in memory as long as it is open: a message that is read, what is under way to it, and what is sent.
    pub(crate) const STREAM: usize = 512 << 10;

    /// How long a request may take whose body is so large.
    pub(crate) fn request_time(&self, body: usize) -> Duration {
        let arrival_ms = (body as u64).saturating_mul(1000) / self.body_bytes_per_s.max(1);
        Duration::from_secs(self.request_s).saturating_add(Duration::from_millis(arrival_ms))
    }

    /// How long one with the largest body there may be.
    pub(crate) fn longest_request(&self) -> Duration {
        self.request_time(self.largest_body())
    }

    /// Bytes of the largest body that any route takes.
    pub(crate) fn largest_body(&self) -> usize {
        Bundle::MAX_LEN
            .max(self.report_body_bytes)
            .max(self.profile_body_bytes)
            .max(self.boot_body_bytes)
            .max(self.policy_body_bytes)
            .max(self.body_bytes)
    }

    pub(super) fn ranges(&self) -> impl Iterator<Item = Range> {
        let count = |field, count: usize| (field, count as u64, 1, 1 << 20);
        let seconds = |field, seconds| (field, seconds, 1, 600);
        let body = |field, bytes: usize| (field, bytes as u64, 1024, 1 << 30);
        let nonces = |field, nonces: usize| (field, nonces as u64, 1, 1 << 24);
        let largest = (self.report_body_bytes * Self::REPORT_EXPANSION)
            .max(self.profile_body_bytes * Self::PROFILE_EXPANSION)
            .max(self.boot_body_bytes * Self::BOOT_EXPANSION)
            .max(self.policy_body_bytes * Self::POLICY_EXPANSION);
        // What no share can hold could never be taken.
        let memory = |field, bytes: usize, largest: usize| {
            let least = largest.saturating_mul(2).max(1 << 20);
            debug_assert!(MemoryBudget::largest_share(least) >= largest);
            (field, bytes as u64, least as u64, 1 << 40)
        };
        [
            count("limits.handshakes", self.handshakes),
            count("limits.handshakes_per_address", self.handshakes_per_address),
            count("limits.connections", self.connections),
            count("limits.connections_per_host", self.connections_per_host),
            count("limits.operator_connections", self.operator_connections),
            count(
                "limits.connections_per_operator",
                self.connections_per_operator,
            ),
            count("limits.stranger_connections", self.stranger_connections),
            count(
                "limits.connections_per_address",
                self.connections_per_address,
            ),
            seconds("limits.handshake_s", self.handshake_s),
            seconds("limits.head_s", self.head_s),
            seconds("limits.request_s", self.request_s),
            ("limits.connection_s", self.connection_s, 1, 86_400),
            seconds("limits.body_grace_s", self.body_grace_s),
            (
                "limits.body_bytes_per_s",
                self.body_bytes_per_s,
                1024,
                1 << 40,
            ),
            seconds("limits.memory_wait_s", self.memory_wait_s),
            body("limits.body_bytes", self.body_bytes),
            body("limits.report_body_bytes", self.report_body_bytes),
            body("limits.profile_body_bytes", self.profile_body_bytes),
            body("limits.boot_body_bytes", self.boot_body_bytes),
            body("limits.policy_body_bytes", self.policy_body_bytes),
            memory(
                "limits.request_memory_bytes",
                self.request_memory_bytes,
                largest.max(self.body_bytes),
            ),
            memory(
                "limits.stranger_memory_bytes",
                self.stranger_memory_bytes,
                self.body_bytes,
            ),
            count("limits.bundles", self.bundles),
            count("limits.streams", self.streams),
            memory(
                "limits.stream_memory_bytes",
                self.stream_memory_bytes,
                Self::STREAM + 2 * MAX_SET,
            ),
            seconds("limits.stream_answer_s", self.stream_answer_s),
            nonces("limits.nonces_per_guest", self.nonces_per_guest),
            nonces("limits.nonces_per_host", self.nonces_per_host),
            nonces("limits.nonces", self.nonces),
        ]
        .into_iter()
    }
}
