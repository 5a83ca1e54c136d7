//! A real process whose disk takes no more.

use std::process::Command;

use serde_json::Value;

use crate::fleet::Authority;
use crate::host::Host;
use crate::process::{
    Verifier, attest, configure, connect, exchange, host_client, operator_client,
};
use crate::stand_in_vault::StandInVault;

/// The verifier, whose files cannot grow beyond so many KiB: a write that would is refused (EFBIG), as
/// on a full disk.
fn limited(kib: u64) -> Command {
    let mut command = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kib * 2);
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_bartizan-verifier")])
        .env_remove("RUST_LOG")
        .env_remove("NOTIFY_SOCKET");
    command
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_what_was_acknowledged_stays() {
    let directory = tempfile::tempdir().unwrap();
    let vault = StandInVault::start(directory.path(), Authority::fleet());
    let configuration = configure(directory.path(), &vault.socket, "");
    let host = Host::enrolled(&vault.fleet);
    let (connector, guest) = (host_client(&vault.fleet, &host), host.guest(1, 1));

    let verifier = Verifier::start_as(limited(720), &configuration);
    let mut connection = connect(&connector, verifier.address).await;
    let mut acknowledged = Vec::new();
    let refusal = loop {
        let (status, answer) = attest(&mut connection, &guest).await.unwrap();
        if status != 200 {
            assert_eq!(status, 503, "{answer}");
            break answer;
        }
        acknowledged.push(answer["verdict"].as_str().unwrap().to_owned());
        assert!(acknowledged.len() < 500, "the disk does not fill");
    };
    assert_eq!(refusal["type"], "urn:bartizan:problem:storage-unavailable");
    assert!(refusal.get("token").is_none());
    assert!(acknowledged.len() > 3);
    // And it goes on refusing, rather than answering what is not written.
    let (status, _) = attest(&mut connection, &guest).await.unwrap();
    assert_eq!(status, 503);
    verifier.kill();

    let verifier = Verifier::start(&configuration);
    let mut as_ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    let path = "/v1/verdicts?limit=1000";
    let (_, listed) = exchange(&mut as_ann, "GET", path, Value::Null)
        .await
        .unwrap();
    let kept: Vec<_> = (listed["verdicts"].as_array().unwrap().iter())
        .map(|verdict| verdict["id"].as_str().unwrap())
        .collect();
    for id in &acknowledged {
        assert!(kept.contains(&id.as_str()), "{id} is lost");
    }
    let mut connection = connect(&connector, verifier.address).await;
    assert_eq!(attest(&mut connection, &guest).await.unwrap().0, 200);
}
