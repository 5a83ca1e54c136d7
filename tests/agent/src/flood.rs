//! A hostile guest: garbage, half requests, connections that stall and requests that cost, all at once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use vsock::VsockStream;

use super::HOST;

/// The attestation API's port.
const API: u32 = 1027;
/// Threads that send.
const SENDERS: u64 = 8;
/// Connections that send one byte and stay; together with the senders' fewer than a guest may have.
const STALLED: u64 = 16;
/// How long an answer is awaited.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 << 10;

/// What came of it.
#[derive(Default, Serialize)]
struct Flood {
    /// Requests of all kinds.
    sent: u64,
    /// Answers by HTTP status.
    answered: BTreeMap<String, u64>,
    /// Requests whose connection ended or fell silent without an answer.
    unanswered: u64,
    /// Stalled connections that the host ended.
    stalled_ended: u64,
}

/// Sends so many requests at full speed and prints what came of it as JSON.
pub(crate) fn run(requests: u64) -> Result<()> {
    let next = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let stalled_ended = AtomicU64::new(0);
    let mut flood = thread::scope(|scope| {
        for _ in 0..STALLED {
            scope.spawn(|| stall(&over, &stalled_ended));
        }
        let send = || {
            let mut flood = Flood::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return flood;
                }
                flood.book(&exchange(number).unwrap_or_default());
            }
        };
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
        let mut total = Flood::default();
        for sender in senders {
            total.add(sender.join().unwrap_or_default());
        }
        over.store(true, Ordering::Relaxed);
        total
    });
    flood.stalled_ended = stalled_ended.into_inner();
    let mut output = io::stdout();
    serde_json::to_writer(&mut output, &flood)?;
    Ok(output.flush()?)
}

impl Flood {
    fn book(&mut self, answer: &[u8]) {
        self.sent += 1;
        match status(answer) {
            Some(status) => *self.answered.entry(status).or_default() += 1,
            None => self.unanswered += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.unanswered += other.unanswered;
        for (status, count) in other.answered {
            *self.answered.entry(status).or_default() += count;
        }
    }
}

/// One byte of a request, and then nothing, again and again.
fn stall(over: &AtomicBool, ended: &AtomicU64) {
    while !over.load(Ordering::Relaxed) {
        let stalled = connect().and_then(|mut link| {
            link.write_all(b"P")?;
            link.take(MAX_ANSWER).read_to_end(&mut Vec::new())
        });
        if stalled.is_ok() {
            ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One request of one of the kinds, each in turn; what was answered until the connection failed or ended.
fn exchange(number: u64) -> io::Result<Vec<u8>> {
    let garbage = random(1 + usize::try_from(number * 131 % 4096).unwrap_or(0))?;
    let cose = "content-type: application/cose\r\nconnection: close\r\n";
    let mut link = connect()?;
    let mut ends_early = false;
    let request = match number % 5 {
        0 => {
            ends_early = true;
            garbage
        }
        1 => {
            ends_early = true;
            let head = format!(
                "POST /attest_guest_memory HTTP/1.1\r\nhost: h\r\n{cose}content-length: 60000\r\n\r\n"
            );
            [head.as_bytes(), &garbage].concat()
        }
        2 => {
            let head = format!(
                "POST /attest_guest_memory HTTP/1.1\r\nhost: h\r\n{cose}content-length: {}\r\n\r\n",
                garbage.len()
            );
            [head.as_bytes(), &garbage].concat()
        }
        3 => {
            let endless = "x".repeat(20 << 10);
            format!("POST /attestation_nonce HTTP/1.1\r\nhost: h\r\nx: {endless}").into_bytes()
        }
        // A valid one: the card, the verifier and its database have to work for it.
        _ => b"POST /attestation_nonce HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            .to_vec(),
    };
    // The host may well have closed before it has read all; its answer is read nevertheless.
    link.write_all(&request).ok();
    if ends_early {
        link.shutdown(Shutdown::Write).ok();
    }
    let mut answer = Vec::new();
    link.take(MAX_ANSWER).read_to_end(&mut answer).ok();
    Ok(answer)
}

fn connect() -> io::Result<VsockStream> {
    let link = VsockStream::connect_with_cid_port(HOST, API)?;
    link.set_read_timeout(Some(PATIENCE))?;
    link.set_write_timeout(Some(PATIENCE))?;
    Ok(link)
}

fn random(size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The status code of an HTTP answer.
fn status(answer: &[u8]) -> Option<String> {
    let line = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    String::from_utf8(line.to_vec()).ok()
}
