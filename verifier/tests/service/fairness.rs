//! Clients who take more than their part, and those who shall not notice.

use std::time::{Duration, Instant};

use axum::http::Method;
use bartizan_channel::{Connector, TlsStream};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::{Answer, Bench, operator, peer, problem, submission};
use crate::connections::{Stack, start};
use crate::fleet::Authority;
use crate::host::Host;
use crate::process::{
    DEADLINE, attest, connect, exchange, host_client, operator_client, stream_from, tcp_from,
};

const MIB: usize = 1 << 20;

/// The head of a request whose body does not follow.
fn announce(path: &str, bytes: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n")
}

async fn answer(stream: &mut TlsStream<TcpStream>) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer));
    let _closed = read.await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits until the verifier has granted so much memory that this is left of it.
async fn await_memory(stack: &Stack, left: impl Fn(u64) -> bool) {
    let mut as_ann = connect(&operator_client(&stack.vault.fleet), stack.verifier.address).await;
    let until = Instant::now() + DEADLINE;
    loop {
        let request = bartizan_channel::https::Request {
            method: "GET",
            path: "/metrics".into(),
            body: Vec::new(),
        };
        let response = as_ann.send(request, MIB, DEADLINE).await.unwrap();
        let text = String::from_utf8(response.body).unwrap();
        let free = (text.lines())
            .find_map(|line| line.strip_prefix("bartizan_verifier_request_memory_free_bytes "))
            .unwrap();
        if left(free.parse().unwrap()) {
            return;
        }
        assert!(Instant::now() < until, "{text}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_host_that_announces_much_and_sends_nothing_stalls_nobody_else() {
    let stack = start("limits: {body_grace_s: 60, memory_wait_s: 60}");
    let fleet = &stack.vault.fleet;
    let (greedy, modest) = (Host::enrolled(fleet), Host::enrolled(fleet));
    let connector = host_client(fleet, &greedy);
    let mut stalled = Vec::new();
    for _ in 0..16 {
        let tcp = TcpStream::connect(stack.verifier.address).await.unwrap();
        let mut stream = connector.connect("127.0.0.1", tcp).await.unwrap();
        let head = announce("/v1/reports", 33 * MIB);
        stream.write_all(head.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    await_memory(&stack, |free| free < 330 << 20).await;
    let guest = modest.guest(1, 1);
    let mut as_modest = connect(&host_client(fleet, &modest), stack.verifier.address).await;
    for _ in 0..3 {
        let (status, judged) = attest(&mut as_modest, &guest).await.unwrap();
        assert_eq!(status, 200, "{judged}");
    }
    // All of it while the greedy one still stalls, with half of the memory at most.
    await_memory(&stack, |free| (256 << 20..330 << 20).contains(&free)).await;
}

#[tokio::test]
async fn a_host_with_too_much_under_way_is_told_to_come_again() {
    let stack = start("limits: {body_grace_s: 60, memory_wait_s: 1}");
    let host = Host::enrolled(&stack.vault.fleet);
    let connector = host_client(&stack.vault.fleet, &host);
    let mut streams = Vec::new();
    for _ in 0..3 {
        let tcp = TcpStream::connect(stack.verifier.address).await.unwrap();
        let mut stream = connector.connect("127.0.0.1", tcp).await.unwrap();
        let head = announce("/v1/reports", 33 * MIB);
        stream.write_all(head.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    // Two of them are granted; whichever came last is not.
    let mut answers = tokio::task::JoinSet::new();
    for mut stream in streams {
        answers.spawn(async move {
            let mut part = [0; 4096];
            let length = stream.read(&mut part).await.unwrap_or(0);
            String::from_utf8_lossy(part.get(..length).unwrap()).into_owned()
        });
    }
    let first = tokio::time::timeout(DEADLINE, answers.join_next()).await;
    let refused = first.unwrap().unwrap().unwrap();
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    assert!(refused.contains("retry-after: 1"), "{refused}");
    assert!(refused.contains("client-memory-exhausted"), "{refused}");
}

#[tokio::test]
async fn a_body_that_stalls_or_trickles_is_cut_off_early() {
    let stack = start("limits: {body_grace_s: 1, request_s: 60}");
    let host = Host::enrolled(&stack.vault.fleet);
    let connector = host_client(&stack.vault.fleet, &host);
    let tcp = TcpStream::connect(stack.verifier.address).await.unwrap();
    let mut stream = connector.connect("127.0.0.1", tcp).await.unwrap();
    let begun = Instant::now();
    let head = announce("/v1/reports", 33 * MIB);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b' '; 64]).await.unwrap();
    let answer = answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("body-too-slow"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_request_that_could_be_read_as_two_is_refused() {
    let stack = start("");
    let connector = Connector::anonymous(stack.vault.fleet.ca().der()).unwrap();
    let second = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let coded = "Transfer-Encoding: chunked\r\n";
    for (line, fields, body, expected) in [
        (
            "POST /v1/hosts",
            format!("Content-Length: 5\r\n{coded}"),
            "0\r\n\r\n",
            "411",
        ),
        (
            "POST /v1/hosts",
            format!("{coded}Content-Length: 5\r\n"),
            "0\r\n\r\n",
            "411",
        ),
        ("GET /healthz", coded.to_owned(), "0\r\n\r\n", "411"),
        (
            "POST /v1/hosts",
            "Content-Length: 0\r\nContent-Length: 40\r\n".into(),
            "",
            "400",
        ),
        ("POST /v1/hosts", "Content-Length: +0\r\n".into(), "", "400"),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}{second}");
        let tcp = TcpStream::connect(stack.verifier.address).await.unwrap();
        let mut stream = connector.connect("127.0.0.1", tcp).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = answer(&mut stream).await;
        let refusal = format!("HTTP/1.1 {expected}");
        assert!(answer.starts_with(&refusal), "{request}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{request}: {answer}");
    }
}

#[tokio::test]
async fn strangers_keep_neither_hosts_nor_operators_out() {
    let stack = start(
        "limits: {handshakes: 4, handshakes_per_address: 2, stranger_connections: 4, \
         connections_per_address: 2, handshake_s: 60, stranger_memory_bytes: 1048576}",
    );
    let (address, fleet) = (stack.verifier.address, &stack.vault.fleet);
    let anonymous = Connector::anonymous(fleet.ca().der()).unwrap();
    // All places of strangers, from several addresses, each with a body that does not come.
    let mut flood = Vec::new();
    for number in 1..=4 {
        for _ in 0..2 {
            let stream = stream_from(&anonymous, [127, 0, 1, number], address).await;
            let mut stream = stream.unwrap();
            let head = announce("/v1/hosts", 60_000);
            stream.write_all(head.as_bytes()).await.unwrap();
            flood.push(stream);
        }
    }
    // And all places for handshakes, by connections that never begin one.
    let mut mute = Vec::new();
    for number in 0..12 {
        mute.push(tcp_from([127, 0, 2, 1 + number % 6], address).await);
    }
    let host = Host::enrolled(fleet);
    let guest = host.guest(1, 1);
    let mut as_host = connect(&host_client(fleet, &host), address).await;
    assert_eq!(attest(&mut as_host, &guest).await.unwrap().0, 200);
    let mut as_ann = connect(&operator_client(fleet), address).await;
    let listed = exchange(&mut as_ann, "GET", "/v1/verdicts", Value::Null).await;
    assert_eq!(listed.unwrap().0, 200);
    // Even a stranger finds a place: one is taken from whoever has two.
    let mut newcomer = stream_from(&anonymous, [127, 0, 3, 1], address)
        .await
        .unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    newcomer.write_all(request.as_bytes()).await.unwrap();
    let answer = answer(&mut newcomer).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    drop((flood, mute));
}

/// Goes on with a request until the vault holds so many results.
async fn until_held(bench: &Bench, asked: impl Future<Output = Answer>, held: usize) {
    bench.until_waiting(&bench.vault.results, asked, held).await;
}

#[tokio::test]
async fn memory_stays_charged_until_the_work_is_done_though_the_client_went_away() {
    let bench = Bench::start().await;
    let host = Host::enrolled(&bench.vault.fleet);
    let guest = host.guest(1, 1);
    let report = guest.attest(bench.nonce(&host, &guest).await, "nginx");
    let whole = bench.service.memory.free();
    bench.vault.results.hold(true);
    // Given up by the client while the vault is at it.
    until_held(&bench, bench.submit(&host, &guest, &report), 1).await;
    assert!(bench.service.memory.free() < whole);
    bench.vault.results.hold(false);
    let until = Instant::now() + DEADLINE;
    while bench.service.memory.free() < whole {
        assert!(Instant::now() < until, "the memory does not come back");
        tokio::task::yield_now().await;
    }
    // What was begun was ended: the verdict is there.
    let (_, listed) = bench.get(&operator(), "/v1/verdicts").await;
    assert_eq!(listed["verdicts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn large_reports_of_one_host_leave_memory_for_another() {
    let limits =
        "limits: {report_body_bytes: 65536, profile_body_bytes: 65536, boot_body_bytes: 32768, \
                  policy_body_bytes: 26000,
                  request_memory_bytes: 1048576, memory_wait_s: 1}";
    let bench = Bench::start_with(Authority::fleet(), limits).await;
    let (greedy, modest) = (
        Host::enrolled(&bench.vault.fleet),
        Host::enrolled(&bench.vault.fleet),
    );
    let large = async |host: &Host| {
        let guest = host.guest(1, 1);
        let report = guest.attest(bench.nonce(host, &guest).await, "nginx");
        // The same JSON in almost as many bytes as there may be.
        format!("{:60000}", submission(&report, &guest.chain).to_string())
    };
    let submit = |host: &Host, body: String| {
        let (bench, host) = (&bench, peer(host));
        async move {
            bench
                .call_raw(&host, Method::POST, "/v1/reports", body)
                .await
        }
    };
    bench.vault.results.hold(true);
    // A body is charged three times its size: two are as much as one host gets.
    for held in 1..=2 {
        until_held(&bench, submit(&greedy, large(&greedy).await), held).await;
    }
    let refused = submit(&greedy, large(&greedy).await).await;
    assert_eq!(problem(&refused), "client-memory-exhausted");
    until_held(&bench, submit(&modest, large(&modest).await), 3).await;
    bench.vault.results.hold(false);
}
