//! Streams of enclaves, over TLS to the real binary.

use std::num::NonZeroU64;

use bartizan_channel::Connector;
use bartizan_channel::https::Connection;
use bartizan_stream::message::{
    Detail, Down, Evidence, HeldSet, Hello, RefusalReason, Said, Span, Trust, Up, write_up,
};
use bartizan_stream::{Bytes, Code, StreamError};
use serde_json::{Value, json};

use crate::author::{TestAuthor, applied, policy};
use crate::connections::{Stack, start};
use crate::enclave::{
    NEW, RawEnclave, acknowledge, enclave_client, enclave_identity, next, next_set, open,
};
use crate::fleet::Authority;
use crate::host::Host;
use crate::process::{
    Verifier, attest, client, configure, connect, exchange, host_client, operator_client,
};
use crate::stand_in_vault::StandInVault;

async fn put(ann: &mut Connection, signed: &[u8]) -> u64 {
    let (status, answer) = exchange(ann, "PUT", "/v1/policies", applied(signed))
        .await
        .unwrap();
    assert_eq!(status, 200, "{answer}");
    answer["number"].as_u64().unwrap()
}

/// What is said of the only host, once `is` it.
pub(crate) async fn until(ann: &mut Connection, is: impl Fn(&Value) -> bool) -> Value {
    let until = tokio::time::Instant::now() + crate::process::DEADLINE;
    loop {
        let asked = exchange(ann, "GET", "/v1/policy-set/in-force", Value::Null);
        let (status, answer) = asked.await.unwrap();
        assert_eq!(status, 200, "{answer}");
        if answer["hosts"].get(0).is_some_and(&is) {
            return answer["hosts"][0].clone();
        }
        assert!(
            tokio::time::Instant::now() < until,
            "it never is so: {answer}"
        );
        tokio::task::yield_now().await;
    }
}

fn refused(outcome: Result<bartizan_stream::client::Connected, StreamError>) -> Code {
    match outcome {
        Err(StreamError::Ended { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_enclave_gets_the_set_at_once_and_each_change_and_is_shown_with_what_it_says() {
    let author = TestAuthor::new();
    let Stack {
        verifier,
        vault,
        _directory,
    } = start(&author.configuration());
    let host = Host::enrolled(&vault.fleet);
    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    let web = author.sign("net/web", 1);
    let first = put(&mut ann, &web).await;

    let mut enclave = open(&enclave_client(&vault.fleet, &host), verifier.address, NEW)
        .await
        .unwrap();
    let (set, signed) = next_set(&mut enclave).await;
    assert_eq!((set.number.get(), signed), (first, vec![web.clone()]));
    acknowledge(&enclave, set).await;
    let shown = until(&mut ann, |host| host["in_force"]["number"] == first).await;
    assert_eq!(
        (&shown["connected"], &shown["card"], &shown["refused"]),
        (&json!(true), &json!(host.card.to_string()), &Value::Null)
    );

    let db = author.sign("net/db", 1);
    let second = put(&mut ann, &db).await;
    let (set, signed) = next_set(&mut enclave).await;
    assert_eq!((set.number.get(), signed), (second, vec![db, web]));
    let said = enclave.up.send(Up::PolicyRefused {
        number: set.number,
        reason: RefusalReason::Author,
        detail: Detail::cut("nobody is known by that key"),
    });
    said.await.unwrap();
    let shown = until(&mut ann, |host| host["refused"]["number"] == second).await;
    assert_eq!(shown["refused"]["reason"], "author");
    assert_eq!(shown["in_force"]["number"], first);

    // What was refused is not sent again; the next one is, and takes the refusal away.
    let third = put(&mut ann, &author.sign("net/db", 2)).await;
    let (set, _) = next_set(&mut enclave).await;
    assert_eq!(set.number.get(), third);
    acknowledge(&enclave, set).await;
    let shown = until(&mut ann, |host| host["in_force"]["number"] == third).await;
    assert_eq!(shown["refused"], Value::Null);

    drop(enclave);
    until(&mut ann, |host| host["connected"] == false).await;
}

/// A host that is slow to put one set in force is not kept from the next.
#[tokio::test]
async fn the_newest_set_goes_out_though_the_one_before_is_not_answered_for() {
    let author = TestAuthor::new();
    let Stack {
        verifier,
        vault,
        _directory,
    } = start(&author.configuration());
    let host = Host::enrolled(&vault.fleet);
    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    let first = put(&mut ann, &author.sign("net/web", 1)).await;
    let mut enclave = open(&enclave_client(&vault.fleet, &host), verifier.address, NEW)
        .await
        .unwrap();
    assert_eq!(next_set(&mut enclave).await.0.number.get(), first);
    let second = put(&mut ann, &author.sign("net/web", 2)).await;
    let (set, _) = next_set(&mut enclave).await;
    assert_eq!(set.number.get(), second);
    acknowledge(&enclave, set).await;
    until(&mut ann, |host| host["in_force"]["number"] == second).await;
    // The first was settled with it: nothing is awaited, and the next goes out as ever.
    let third = put(&mut ann, &author.sign("net/web", 3)).await;
    assert_eq!(next_set(&mut enclave).await.0.number.get(), third);
}

#[tokio::test]
async fn a_verifier_that_was_killed_goes_on_where_it_was() {
    let author = TestAuthor::new();
    let directory = tempfile::tempdir().unwrap();
    let vault = StandInVault::start(directory.path(), Authority::fleet());
    let configuration = configure(directory.path(), &vault.socket, &author.configuration());
    let verifier = Verifier::start(&configuration);
    let host = Host::enrolled(&vault.fleet);
    let connector = enclave_client(&vault.fleet, &host);
    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    let number = put(&mut ann, &author.sign("net/web", 1)).await;
    let mut enclave = open(&connector, verifier.address, NEW).await.unwrap();
    assert_eq!(enclave.kept, 0);
    let (set, _) = next_set(&mut enclave).await;
    acknowledge(&enclave, set).await;
    for sequence in 1..=3 {
        enclave.up.send(evidence(sequence)).await.unwrap();
        assert_eq!(
            next(&mut enclave).await.unwrap(),
            Down::EvidenceKept(sequence)
        );
    }
    verifier.kill();
    assert!(next(&mut enclave).await.is_err());

    let verifier = Verifier::start(&configuration);
    let span = Span::new(2.try_into().unwrap(), 6.try_into().unwrap()).unwrap();
    let hello = Hello {
        span,
        in_force: Some(set),
        ..NEW
    };
    let mut enclave = open(&connector, verifier.address, hello).await.unwrap();
    assert_eq!(enclave.kept, 3);
    // What it has is not kept twice; what follows is.
    for (sequence, kept) in [(3, 3), (4, 4)] {
        enclave.up.send(evidence(sequence)).await.unwrap();
        assert_eq!(next(&mut enclave).await.unwrap(), Down::EvidenceKept(kept));
    }
    // It is not sent what is in force with it: the next set that it hears of is another one.
    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    until(&mut ann, |host| host["in_force"]["number"] == number).await;
    let next_number = put(&mut ann, &author.sign("net/web", 2)).await;
    let (set, _) = next_set(&mut enclave).await;
    assert!(next_number > number);
    assert_eq!(set.number.get(), next_number);
}

fn evidence(sequence: u64) -> Up {
    let signed = Bytes::from(format!("evidence {sequence}"));
    Up::Evidence(Evidence::new(sequence.try_into().unwrap(), signed).unwrap())
}

#[tokio::test]
async fn evidence_with_gaps_and_an_enclave_that_went_back_are_refused() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let host = Host::enrolled(&vault.fleet);
    let connector = enclave_client(&vault.fleet, &host);
    let mut enclave = open(&connector, verifier.address, NEW).await.unwrap();
    enclave.up.send(evidence(1)).await.unwrap();
    assert_eq!(next(&mut enclave).await.unwrap(), Down::EvidenceKept(1));
    enclave.up.send(evidence(3)).await.unwrap();
    let end = next(&mut enclave).await.unwrap_err();
    assert!(
        matches!(
            end,
            StreamError::Ended {
                code: Code::DataLoss,
                ..
            }
        ),
        "{end}"
    );
    // One whose next number was kept before.
    assert_eq!(
        refused(open(&connector, verifier.address, NEW).await),
        Code::DataLoss
    );
    // One that has dropped what was not kept: that is lost, and it goes on.
    let five = NonZeroU64::new(5).unwrap();
    let hello = Hello {
        span: Span::empty(five),
        ..NEW
    };
    assert_eq!(
        open(&connector, verifier.address, hello)
            .await
            .unwrap()
            .kept,
        4
    );
}

#[tokio::test]
async fn nobody_but_an_enclave_holds_a_stream_open() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let host = Host::enrolled(&vault.fleet);
    let stranger = Connector::anonymous(vault.fleet.ca().der()).unwrap();
    assert_eq!(
        refused(open(&stranger, verifier.address, NEW).await),
        Code::Unauthenticated
    );
    for client in [
        host_client(&vault.fleet, &host),
        operator_client(&vault.fleet),
    ] {
        assert_eq!(
            refused(open(&client, verifier.address, NEW).await),
            Code::PermissionDenied
        );
    }
    // And an enclave gets nothing of the API.
    let mut enclave = connect(&enclave_client(&vault.fleet, &host), verifier.address).await;
    for (path, due) in [
        ("/v1/policies", 403),
        ("/v1/nonces", 405),
        ("/healthz", 204),
    ] {
        let (status, _) = exchange(&mut enclave, "GET", path, Value::Null)
            .await
            .unwrap();
        assert_eq!(status, due, "{path}");
    }
    let wish = json!({"guest": host.guest(1, 1).identity.to_string()});
    let (status, _) = exchange(&mut enclave, "POST", "/v1/nonces", wish)
        .await
        .unwrap();
    assert_eq!(status, 403);
}

#[tokio::test]
async fn a_card_that_is_revoked_loses_its_stream_and_gets_no_other() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let host = Host::enrolled(&vault.fleet);
    let connector = enclave_client(&vault.fleet, &host);
    let mut enclave = open(&connector, verifier.address, NEW).await.unwrap();
    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    let wish = json!({"kind": "host", "subject": host.card.to_string(), "reason": "stolen"});
    let (status, _) = exchange(&mut ann, "POST", "/v1/revocations", wish)
        .await
        .unwrap();
    assert_eq!(status, 204);
    let end = next(&mut enclave).await.unwrap_err();
    assert!(
        end.is_refusal() && end.to_string().contains("revoked"),
        "{end}"
    );
    assert_eq!(
        refused(open(&connector, verifier.address, NEW).await),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn a_newer_stream_of_a_card_takes_the_place_of_the_older() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let (host, other) = (Host::enrolled(&vault.fleet), Host::enrolled(&vault.fleet));
    let connector = enclave_client(&vault.fleet, &host);
    let mut older = open(&connector, verifier.address, NEW).await.unwrap();
    let mut others = open(&enclave_client(&vault.fleet, &other), verifier.address, NEW)
        .await
        .unwrap();
    let mut newer = open(&connector, verifier.address, NEW).await.unwrap();
    let end = next(&mut older).await.unwrap_err();
    assert!(
        matches!(
            end,
            StreamError::Ended {
                code: Code::Aborted,
                ..
            }
        ),
        "{end}"
    );
    for alive in [&mut newer, &mut others] {
        alive.up.send(evidence(1)).await.unwrap();
        assert_eq!(next(alive).await.unwrap(), Down::EvidenceKept(1));
    }
}

#[tokio::test]
async fn an_enclave_that_does_not_answer_for_a_set_is_cut() {
    let author = TestAuthor::new();
    let extra = format!("{}\nlimits: {{stream_answer_s: 1}}", author.configuration());
    let Stack {
        verifier,
        vault,
        _directory,
    } = start(&extra);
    let host = Host::enrolled(&vault.fleet);
    let connector = enclave_client(&vault.fleet, &host);
    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    put(&mut ann, &author.sign("net/web", 1)).await;
    let mut enclave = open(&connector, verifier.address, NEW).await.unwrap();
    next_set(&mut enclave).await;
    let end = next(&mut enclave).await.unwrap_err();
    assert!(
        matches!(
            end,
            StreamError::Ended {
                code: Code::DeadlineExceeded,
                ..
            }
        ),
        "{end}"
    );
    // Nor is one that answers for what it was not sent.
    let mut enclave = open(&connector, verifier.address, NEW).await.unwrap();
    let (set, _) = next_set(&mut enclave).await;
    acknowledge(
        &enclave,
        HeldSet {
            digest: [0; 48],
            ..set
        },
    )
    .await;
    let end = next(&mut enclave).await.unwrap_err();
    assert!(
        matches!(
            end,
            StreamError::Ended {
                code: Code::InvalidArgument,
                ..
            }
        ),
        "{end}"
    );
}

#[tokio::test]
async fn a_verdict_on_a_guest_reaches_its_enclave_now_and_when_it_connects() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let host = Host::enrolled(&vault.fleet);
    let guest = host.guest(1, 4);
    let connector = enclave_client(&vault.fleet, &host);
    let mut enclave = open(&connector, verifier.address, NEW).await.unwrap();
    let mut as_host = connect(&host_client(&vault.fleet, &host), verifier.address).await;
    assert_eq!(attest(&mut as_host, &guest).await.unwrap().0, 200);
    // Nothing is registered that the application would have to be.
    let due = Down::Appraisal {
        guest: bartizan_stream::message::Guest {
            vm: [1; 16],
            boot: 4,
        },
        trust: Trust::None,
    };
    assert_eq!(next(&mut enclave).await.unwrap(), due);
    let mut again = open(&connector, verifier.address, NEW).await.unwrap();
    assert_eq!(next(&mut again).await.unwrap(), due);
}

#[tokio::test]
async fn a_message_that_is_too_large_or_none_ends_the_stream() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let host = Host::enrolled(&vault.fleet);
    let connector = enclave_client(&vault.fleet, &host);
    let invalid = (Code::InvalidArgument as i32).to_string();
    for wrong in [vec![1; 300 << 10], vec![1; 30], Vec::new()] {
        let raw = RawEnclave::send(&connector, verifier.address, &wrong, 1 << 16).await;
        assert_eq!(raw.status().await, invalid);
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_and_its_memory_comes_back() {
    let author = TestAuthor::new();
    let extra = format!("{}\nlimits: {{stream_answer_s: 1}}", author.configuration());
    let Stack {
        verifier,
        vault,
        _directory,
    } = start(&extra);
    let host = Host::enrolled(&vault.fleet);
    let connector = enclave_client(&vault.fleet, &host);
    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    put(
        &mut ann,
        &author.sign_text(&policy("net/web", 1, &"x".repeat(2 << 20))),
    )
    .await;
    let hello = write_up(&Said::Hello(NEW));
    let raw = RawEnclave::send(&connector, verifier.address, &hello, 1024).await;
    raw.until_cut().await;
    let all = "bartizan_verifier_stream_memory_free_bytes 1073741824";
    until_counted(&mut ann, all).await;
    until_counted(&mut ann, "bartizan_verifier_enclave_streams 0").await;
    // And who reads is served.
    let mut enclave = open(&connector, verifier.address, NEW).await.unwrap();
    next_set(&mut enclave).await;
    until_counted(&mut ann, "bartizan_verifier_enclave_streams 1").await;
}

/// Waits until a line is among the counters.
async fn until_counted(ann: &mut Connection, line: &str) {
    let until = tokio::time::Instant::now() + crate::process::DEADLINE;
    loop {
        let request = bartizan_channel::https::Request {
            method: "GET",
            path: "/metrics".into(),
            body: Vec::new(),
        };
        let answer = ann
            .send(request, 1 << 20, crate::process::DEADLINE)
            .await
            .unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        if text.lines().any(|counted| counted == line) {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "{line}: {text}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_asks_for_no_stream_over_http_2_is_cut_off() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("limits: {head_s: 1}");
    let host = Host::enrolled(&vault.fleet);
    let connector = client(&vault.fleet, enclave_identity(&host)).with_http2();
    let tcp = tokio::net::TcpStream::connect(verifier.address)
        .await
        .unwrap();
    let mut stream = connector.connect("127.0.0.1", tcp).await.unwrap();
    let mut read = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut read);
    assert!(
        tokio::time::timeout(crate::process::DEADLINE, reading)
            .await
            .is_ok()
    );
}
