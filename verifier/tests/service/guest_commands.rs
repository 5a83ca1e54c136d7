//! Commands to enclaves: done at once, or once the enclave is back; nobody but an administrator orders any.

use std::num::NonZeroU64;

use axum::http::StatusCode;
use bartizan_attestation::certificates::Role;
use bartizan_channel::https::Connection;
use bartizan_stream::client::Connected;
use bartizan_stream::message::{CommandKind, CommandOutcome, Detail, Down, Guest, Hello, Up};
use bartizan_stream::{Code, StreamError};
use bartizan_verifier::clock::now_s;
use bartizan_verifier::peer::Peer;
use serde_json::{Value, json};

use crate::bench::{Bench, operator, peer, problem};
use crate::connections::{Stack, start};
use crate::enclave::{NEW, enclave_client, next, open};
use crate::host::Host;
use crate::process::{connect, exchange, operator_client};
use crate::streams::until;

const ROUTE: &str = "/v1/guest-commands";

fn wish(guest: &str, command: &str) -> Value {
    json!({ "guest": guest, "command": command, "reason": "scans its neighbours" })
}

async fn order(ann: &mut Connection, wish: Value) -> (u16, Value) {
    exchange(ann, "POST", ROUTE, wish).await.unwrap()
}

async fn listed(ann: &mut Connection) -> Vec<Value> {
    let (status, answer) = exchange(ann, "GET", ROUTE, Value::Null).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    answer["commands"].as_array().unwrap().clone()
}

async fn command(enclave: &mut Connected) -> (NonZeroU64, CommandKind, Guest) {
    match next(enclave).await.unwrap() {
        Down::Command {
            number,
            kind,
            guest,
        } => (number, kind, guest),
        other => panic!("{other:?}"),
    }
}

async fn answer(enclave: &Connected, number: NonZeroU64, outcome: CommandOutcome) {
    let said = Up::CommandDone {
        number,
        outcome,
        detail: Detail::cut("so it is"),
    };
    enclave.up.send(said).await.unwrap();
}

/// The URN of a VM of the host's, in whichever boot.
fn vm(host: &Host) -> String {
    let urn = host.guest(1, 4).identity.to_string();
    urn.rsplit_once(':').unwrap().0.to_owned()
}

#[tokio::test]
async fn an_enclave_that_is_there_answers_and_who_orders_hears_what() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let host = Host::enrolled(&vault.fleet);
    let mut enclave = known(&vault.fleet, &host, verifier.address).await;
    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    until(&mut ann, |host| host["connected"] == true).await;
    let before_s = now_s();
    for (outcome, state, boot) in [
        (CommandOutcome::Done, "done", None),
        (CommandOutcome::NoGuest, "no-guest", Some(4)),
        (CommandOutcome::Failed, "failed", None),
    ] {
        let mut guest = vm(&host);
        if let Some(boot) = boot {
            guest += &format!(":{boot}");
        }
        let ordering = order(&mut ann, wish(&guest, "isolate"));
        let doing = async {
            let (number, kind, of) = command(&mut enclave).await;
            let due = Guest {
                vm: [1; 16],
                boot: boot.unwrap_or(0),
            };
            assert_eq!((kind, of), (CommandKind::Isolate, due));
            assert!(number.get() >= before_s, "{number}");
            answer(&enclave, number, outcome).await;
            number
        };
        let ((status, said), number) = tokio::join!(ordering, doing);
        assert_eq!((status, &said["state"]), (200, &json!(state)), "{said}");
        assert_eq!(said["guest"], guest);
        assert_eq!(
            (&said["operator"], &said["detail"]),
            (&json!("ann"), &json!("so it is"))
        );
        assert!(said["answered_at_ms"].as_u64() >= said["ordered_at_ms"].as_u64());
        assert!(number.get() > 0);
    }
    let states: Vec<_> = listed(&mut ann).await;
    let states: Vec<_> = states
        .iter()
        .map(|of| of["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["failed", "no-guest", "done"]);
}

/// Devices are away for longer than an enclave may take for a set: its stream goes on, and the command is ordered once.
#[tokio::test]
async fn a_command_that_takes_long_is_waited_for() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("limits: {stream_answer_s: 1}");
    let host = Host::enrolled(&vault.fleet);
    let mut enclave = known(&vault.fleet, &host, verifier.address).await;
    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    until(&mut ann, |host| host["connected"] == true).await;
    let guest = vm(&host);
    let ordering = order(&mut ann, wish(&guest, "isolate"));
    let doing = async {
        let (number, ..) = command(&mut enclave).await;
        // Nothing is said meanwhile, as the stream would break off, or order it again.
        let patience = std::time::Duration::from_millis(2500);
        let said = tokio::time::timeout(patience, next(&mut enclave)).await;
        assert!(said.is_err(), "{said:?}");
        answer(&enclave, number, CommandOutcome::Done).await;
    };
    let ((status, said), ()) = tokio::join!(ordering, doing);
    assert_eq!((status, &said["state"]), (200, &json!("done")), "{said}");
}

/// An open stream of a host that the verifier knows of by what its enclave has said.
async fn known(
    fleet: &crate::fleet::Authority,
    host: &Host,
    address: std::net::SocketAddr,
) -> Connected {
    let held = bartizan_stream::message::HeldSet {
        number: NonZeroU64::MIN,
        digest: [7; 48],
    };
    let hello = Hello {
        in_force: Some(held),
        ..NEW
    };
    open(&enclave_client(fleet, host), address, hello)
        .await
        .unwrap()
}

/// The host is known, and its enclave is gone.
async fn away(
    fleet: &crate::fleet::Authority,
    host: &Host,
    address: std::net::SocketAddr,
    ann: &mut Connection,
) {
    let enclave = known(fleet, host, address).await;
    until(ann, |host| host["connected"] == true).await;
    drop(enclave);
    until(ann, |host| host["connected"] == false).await;
}

#[tokio::test]
async fn what_is_ordered_while_the_enclave_is_away_waits_for_it_and_is_done_once_in_order() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let host = Host::enrolled(&vault.fleet);
    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    let nobody = order(&mut ann, wish(&vm(&host), "isolate")).await;
    assert_eq!(nobody.0, 404, "{}", nobody.1);
    away(&vault.fleet, &host, verifier.address, &mut ann).await;
    for command in ["isolate", "release", "isolate"] {
        let (status, said) = order(&mut ann, wish(&vm(&host), command)).await;
        assert_eq!((status, &said["state"]), (202, &json!("queued")), "{said}");
    }
    let mut enclave = known(&vault.fleet, &host, verifier.address).await;
    let (first, kind, _) = command(&mut enclave).await;
    assert_eq!(kind, CommandKind::Isolate);
    // The answer does not arrive: the same comes again, to an enclave that does nothing twice.
    drop(enclave);
    let mut enclave = known(&vault.fleet, &host, verifier.address).await;
    let (again, kind, _) = command(&mut enclave).await;
    assert_eq!((again, kind), (first, CommandKind::Isolate));
    answer(&enclave, again, CommandOutcome::Done).await;
    for due in [CommandKind::Release, CommandKind::Isolate] {
        let (number, kind, _) = command(&mut enclave).await;
        assert_eq!(kind, due);
        assert!(number > first);
        answer(&enclave, number, CommandOutcome::Done).await;
    }
    let until = tokio::time::Instant::now() + crate::process::DEADLINE;
    while listed(&mut ann)
        .await
        .iter()
        .any(|of| of["state"] != "done")
    {
        assert!(tokio::time::Instant::now() < until, "they are never done");
    }
    // Known attack: an enclave answers for what it was not sent.
    answer(&enclave, first, CommandOutcome::Failed).await;
    let end = next(&mut enclave).await.unwrap_err();
    let refused = matches!(
        &end,
        StreamError::Ended {
            code: Code::InvalidArgument,
            ..
        }
    );
    assert!(refused, "{end}");
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let host = Host::enrolled(&vault.fleet);
    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    away(&vault.fleet, &host, verifier.address, &mut ann).await;
    let mut queued = 0;
    let refused = loop {
        let (status, said) = order(&mut ann, wish(&vm(&host), "isolate")).await;
        if status != 202 {
            break (status, said);
        }
        queued += 1;
        assert!(queued < 1000, "nothing bounds it");
    };
    assert_eq!(refused.0, 409, "{}", refused.1);
    assert_eq!(queued, 64);
    assert_eq!(listed(&mut ann).await.len(), 64);
}

#[tokio::test]
async fn nobody_but_an_administrator_orders_and_what_is_none_is_refused() {
    let bench = Bench::start().await;
    let host = Host::enrolled(&bench.vault.fleet);
    let guest = vm(&host);
    let observer = Peer::Operator {
        name: "eve".into(),
        role: Role::Observer,
        not_after: now_s() + 60,
    };
    let refused = bench.post(&observer, ROUTE, wish(&guest, "isolate")).await;
    assert_eq!(problem(&refused), "role-insufficient");
    let (status, _) = bench.get(&observer, ROUTE).await;
    assert_eq!(status, StatusCode::OK);
    let stranger = bench
        .post(&Peer::Anonymous, ROUTE, wish(&guest, "isolate"))
        .await;
    assert_eq!(problem(&stranger), "client-certificate-required");
    let of_host = bench
        .post(&peer(&host), ROUTE, wish(&guest, "isolate"))
        .await;
    assert_eq!(problem(&of_host), "wrong-role");
    let no_guest = wish("urn:bartizan:guest:x", "isolate");
    let no_reason = json!({ "guest": guest, "command": "isolate", "reason": "" });
    let reasonless = json!({ "guest": guest, "command": "isolate" });
    for (wrong, kind) in [
        (no_guest, "field-out-of-range"),
        (wish(&guest, "pause"), "body-malformed"),
        (no_reason, "field-out-of-range"),
        (reasonless, "body-malformed"),
        (wish(&guest, "isolate"), "no-host"),
    ] {
        let refused = bench.post(&operator(), ROUTE, wrong).await;
        assert_eq!(problem(&refused), kind, "{refused:?}");
    }
}
