//! Requests that were loaded beforehand and are sent when told: whoever times them on the host times the exchanges
//! and nothing else. A guest's own clock stops while it is measured.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use vsock::VsockStream;

use super::{HOST, MAX_ANSWER};

/// How long the host may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Most connections at once.
const MAX_CONNECTIONS: usize = 64;

/// What is loaded, and what came back.
#[derive(Default)]
pub(crate) struct Volley {
    port: u32,
    requests: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
}

/// One connection to the host.
struct Link {
    reader: BufReader<VsockStream>,
    writer: VsockStream,
}

impl Volley {
    /// Keeps requests, in base64url, for a port of the host.
    pub(crate) fn load(&mut self, port: u32, requests: &[String]) -> Result<()> {
        self.port = port;
        self.requests = requests
            .iter()
            .map(|request| Ok(B64.decode(request)?))
            .collect::<Result<_>>()?;
        self.answers.clear();
        Ok(())
    }

    /// Sends all over so many connections at once. Either each request has a connection of its own, which the host
    /// ends, or connections are kept and the answers are HTTP with a content-length.
    pub(crate) fn fire(&mut self, connections: usize, kept: bool) -> Result<()> {
        ensure!(
            (1..=MAX_CONNECTIONS).contains(&connections),
            "1 to {MAX_CONNECTIONS} connections"
        );
        let next = AtomicUsize::new(0);
        let send = || sender(self.port, &self.requests, &next, kept);
        let mut answers = if connections == 1 {
            send()?
        } else {
            thread::scope(|scope| -> Result<Vec<_>> {
                let senders: Vec<_> = (0..connections).map(|_| scope.spawn(send)).collect();
                let mut answers = Vec::with_capacity(self.requests.len());
                for sender in senders {
                    let sent = sender.join();
                    answers.extend(sent.map_err(|_| anyhow::anyhow!("a sender panicked"))??);
                }
                Ok(answers)
            })?
        };
        answers.sort_by_key(|(number, _)| *number);
        self.answers = answers.into_iter().map(|(_, answer)| answer).collect();
        Ok(())
    }

    /// Hands out the answers, in the order of the requests, in base64url.
    pub(crate) fn collect(&mut self) -> Vec<String> {
        let answers = std::mem::take(&mut self.answers);
        answers.iter().map(|answer| B64.encode(answer)).collect()
    }
}

/// Takes one request after the other until none is left.
fn sender(
    port: u32,
    requests: &[Vec<u8>],
    next: &AtomicUsize,
    kept: bool,
) -> Result<Vec<(usize, Vec<u8>)>> {
    let mut answers = Vec::new();
    let mut open = None;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(request) = requests.get(number) else {
            return Ok(answers);
        };
        let mut link = match open.take() {
            Some(link) => link,
            None => Link::open(port)?,
        };
        link.writer.write_all(request)?;
        if kept {
            answers.push((number, link.one_answer()?));
            open = Some(link);
        } else {
            let mut answer = Vec::new();
            link.reader.take(MAX_ANSWER).read_to_end(&mut answer)?;
            answers.push((number, answer));
        }
    }
}

impl Link {
    fn open(port: u32) -> Result<Self> {
        let writer = VsockStream::connect_with_cid_port(HOST, port)?;
        writer.set_read_timeout(Some(SILENCE))?;
        writer.set_write_timeout(Some(SILENCE))?;
        let reader = BufReader::new(writer.try_clone()?);
        Ok(Self { reader, writer })
    }

    /// One HTTP answer, head and body.
    fn one_answer(&mut self) -> Result<Vec<u8>> {
        let mut answer = Vec::new();
        let mut length = None;
        loop {
            let begin = answer.len();
            let read = self
                .reader
                .by_ref()
                .take(MAX_ANSWER)
                .read_until(b'\n', &mut answer)?;
            ensure!(read > 0, "the host closed the connection");
            let line = String::from_utf8_lossy(answer.get(begin..).unwrap_or_default());
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<u64>()?);
            }
        }
        let length = length.context("an answer without content-length")?;
        ensure!(length <= MAX_ANSWER, "an answer of {length} bytes");
        let body = self.reader.by_ref().take(length).read_to_end(&mut answer)?;
        ensure!(body as u64 == length, "an answer ended early");
        Ok(answer)
    }
}
