//! What was answered survives a kill; what was in memory does not come back.
//!
//! A kill takes the process alone: what it wrote is in the kernel's hands, and would be there without a single
//! flush. That it survives a power cut rests on SQLite's `synchronous=FULL`, of which the storage's own tests see
//! that it is set, and on a disk that flushes when it says so.

use std::sync::{Arc, Mutex};

use bartizan_verifier::binary::Binary;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::bench::submission;
use crate::fleet::Authority;
use crate::host::Host;
use crate::process::{
    Verifier, attest, configure, connect, exchange, host_client, operator_client,
};
use crate::stand_in_vault::StandInVault;

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_verdict_is_lost_by_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let vault = StandInVault::start(directory.path(), Authority::fleet());
    let configuration = configure(directory.path(), &vault.socket, "");
    let host = Arc::new(Host::enrolled(&vault.fleet));
    let verifier = Verifier::start(&configuration);

    let (acknowledged, enough) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
    let connector = host_client(&vault.fleet, &host);
    let mut hosts = tokio::task::JoinSet::new();
    for vm in 0..8 {
        let (acknowledged, enough) = (Arc::clone(&acknowledged), Arc::clone(&enough));
        let mut connection = connect(&connector, verifier.address).await;
        let guest = host.guest(vm, 1);
        hosts.spawn(async move {
            while let Ok((status, answer)) = attest(&mut connection, &guest).await {
                assert_eq!(status, 200, "{answer}");
                let mut acknowledged = acknowledged.lock().unwrap();
                acknowledged.push(answer["verdict"].as_str().unwrap().to_owned());
                if acknowledged.len() == 60 {
                    enough.notify_one();
                }
            }
        });
    }
    enough.notified().await;
    // In the middle of all that is under way.
    verifier.kill();
    hosts.join_all().await;

    let verifier = Verifier::start(&configuration);
    let mut as_ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    let path = "/v1/verdicts?limit=1000";
    let (_, listed) = exchange(&mut as_ann, "GET", path, Value::Null)
        .await
        .unwrap();
    let kept: Vec<_> = listed["verdicts"].as_array().unwrap().iter().collect();
    let acknowledged = acknowledged.lock().unwrap();
    assert!(acknowledged.len() >= 60);
    for id in acknowledged.iter() {
        assert!(
            kept.iter().any(|verdict| verdict["id"] == **id),
            "{id} is lost"
        );
    }
}

#[tokio::test]
async fn nonces_of_before_a_restart_are_forgotten_and_boots_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let vault = StandInVault::start(directory.path(), Authority::fleet());
    let configuration = configure(directory.path(), &vault.socket, "");
    let host = Host::enrolled(&vault.fleet);
    let connector = host_client(&vault.fleet, &host);
    let (old, new) = (host.guest(1, 1), host.guest(1, 2));

    let verifier = Verifier::start(&configuration);
    let mut connection = connect(&connector, verifier.address).await;
    assert_eq!(attest(&mut connection, &new).await.unwrap().0, 200);
    let wish = json!({"guest": new.identity.to_string()});
    let (_, answer) = exchange(&mut connection, "POST", "/v1/nonces", wish)
        .await
        .unwrap();
    let nonce = Binary::decode(answer["nonce"].as_str().unwrap())
        .unwrap()
        .try_into()
        .unwrap();
    verifier.kill();

    let verifier = Verifier::start(&configuration);
    let mut connection = connect(&connector, verifier.address).await;
    let report = submission(&new.attest(nonce, "nginx"), &new.chain);
    let (status, refusal) = exchange(&mut connection, "POST", "/v1/reports", report)
        .await
        .unwrap();
    assert_eq!(
        (status, &refusal["type"]),
        (403, &json!("urn:bartizan:problem:nonce-unknown"))
    );
    let wish = json!({"guest": old.identity.to_string()});
    let (status, refusal) = exchange(&mut connection, "POST", "/v1/nonces", wish)
        .await
        .unwrap();
    assert_eq!(
        (status, &refusal["type"]),
        (403, &json!("urn:bartizan:problem:guest-superseded"))
    );
    assert_eq!(attest(&mut connection, &new).await.unwrap().0, 200);
}
