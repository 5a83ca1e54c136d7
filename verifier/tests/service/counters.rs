//! Hosts report in; a vault that goes on twice is refused until an operator clears it.

use axum::http::{Method, StatusCode};
use bartizan_attestation::vault_counter::{FIRST_MARK, Machine, Mark, Statement};
use bartizan_verifier::binary::Binary;
use bartizan_verifier::peer::Peer;
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, operator, peer, problem};
use crate::host::Host;

/// A statement of a host's vault, as it is handed in.
pub(crate) fn statement(host: &Host, name: &str, counter: u64, mark: Mark) -> Value {
    let statement = Statement {
        version: Statement::VERSION,
        card: host.card,
        counter,
        mark,
        random: [u8::try_from(name.len()).unwrap(); 32],
        machine: Machine::new(name.into(), [1; 16]).unwrap(),
    };
    let authority = &host.authority;
    let chain = [authority.der.clone()];
    let signed = statement.sign(&chain, &authority.key).unwrap();
    json!({ "statement": Binary::encode(&signed) })
}

pub(crate) async fn report(bench: &Bench, host: &Host, statement: &Value) -> Answer {
    let path = "/v1/hosts/counter";
    bench.post(&peer(host), path, statement.clone()).await
}

fn mark(answer: &Answer) -> Mark {
    assert_eq!(answer.0, StatusCode::OK, "{answer:?}");
    let mark = Binary::decode(answer.1["mark"].as_str().unwrap());
    mark.unwrap().try_into().unwrap()
}

#[tokio::test]
async fn a_copied_vault_is_named_and_both_are_refused() {
    let bench = Bench::start().await;
    let host = Host::enrolled(&bench.vault.fleet);
    let first = statement(&host, "original", 1, FIRST_MARK);
    let given = mark(&report(&bench, &host, &first).await);
    assert_eq!(
        mark(&report(&bench, &host, &first).await),
        given,
        "once more"
    );
    let second = statement(&host, "original", 2, given);
    let due = mark(&report(&bench, &host, &second).await);

    let refused = report(&bench, &host, &statement(&host, "copy", 2, given)).await;
    assert_eq!(
        (refused.0, problem(&refused)),
        (StatusCode::FORBIDDEN, "vault-forked")
    );
    let guest = json!({ "guest": host.guest(1, 1).identity.to_string() });
    let third = statement(&host, "original", 3, due);
    for answer in [
        bench.post(&peer(&host), "/v1/nonces", guest.clone()).await,
        report(&bench, &host, &third).await,
        refused,
    ] {
        assert_eq!(problem(&answer), "vault-forked", "{answer:?}");
        let said = answer.1["detail"].as_str().unwrap();
        for named in ["`original`", "`copy`", "192.0.2.7"] {
            assert!(said.contains(named), "{said}");
        }
    }
    let other = Host::enrolled(&bench.vault.fleet);
    bench.nonce(&other, &other.guest(1, 1)).await;

    let path = format!("/v1/hosts/{}/fork", host.card);
    let clear = async |peer: Peer| {
        let cleared = bench.call(&peer, Method::DELETE, &path, Value::Null);
        cleared.await
    };
    assert_eq!(problem(&clear(peer(&other)).await), "wrong-role");
    assert_eq!(clear(operator()).await.0, StatusCode::NO_CONTENT);
    let again = clear(operator()).await;
    assert_eq!(
        (again.0, problem(&again)),
        (StatusCode::NOT_FOUND, "no-fork")
    );
    bench.nonce(&host, &host.guest(1, 1)).await;
    mark(&report(&bench, &host, &third).await);
}

#[tokio::test]
async fn only_its_own_vault_speaks_for_a_host() {
    let bench = Bench::start().await;
    let [host, other] = [(); 2].map(|()| Host::enrolled(&bench.vault.fleet));
    let of_other = statement(&other, "other", 1, FIRST_MARK);
    for wrong in [of_other, json!({ "statement": Binary::encode(b"nothing") })] {
        let refused = report(&bench, &host, &wrong).await;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
        assert_eq!(problem(&refused), "vault-statement-refused");
    }
    mark(&report(&bench, &host, &statement(&host, "host", 1, FIRST_MARK)).await);
}
