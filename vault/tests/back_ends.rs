//! Real vault processes whose keys are in a device: confined, they serve, and find a device again that went and came back.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "process/daemon.rs"]
#[expect(dead_code, reason = "the other tests of processes need more of it")]
mod daemon;
#[path = "conformance/programs.rs"]
mod programs;
#[path = "conformance/swtpm/simulator.rs"]
#[expect(dead_code, reason = "the conformance suite needs more of it")]
mod simulator;
#[path = "conformance/softhsm/tokens.rs"]
mod tokens;

use std::fs;

use bartizan_attestation::keys::{VaultKind, VaultRefusal, VaultReply, VaultRequest};
use daemon::{Daemon, Folder};
use simulator::Simulator;
use tokens::{MODULE, Tokens};

fn seal(folder: &Folder, sealing: &str) {
    folder.configure(|text| {
        let lines = text.lines().map(|line| {
            if line.starts_with("sealing:") {
                format!("sealing: {sealing}")
            } else {
                line.to_owned()
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    });
}

/// Makes the fleet's keys, or the next ones: keys are made, sign, are stored and destroyed.
fn rotate(daemon: &Daemon) {
    let rotate = VaultRequest::RotateTlsServer {
        names: vec!["verifier.test".into()],
        lifetime_s: 3600,
    };
    // One more than may overlap.
    for _ in 0..33 {
        daemon.certificates(&rotate);
    }
}

fn serves(daemon: &Daemon, kind: VaultKind) {
    let found = VaultRequest::CreateFleetCa {
        name: "test fleet".into(),
    };
    daemon.certificates(&found);
    rotate(daemon);
    let VaultReply::Description { kind: said, .. } = daemon.ask(&VaultRequest::Describe) else {
        panic!("no description")
    };
    assert_eq!(said, kind);
}

fn is_confined(daemon: &Daemon) {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    assert!(status.contains("Seccomp:\t2"), "{status}");
}

fn refuses(daemon: &Daemon) {
    let rotate = VaultRequest::RotateToken { lifetime_s: 3600 };
    for _ in 0..2 {
        match daemon.ask(&rotate) {
            VaultReply::Refused(VaultRefusal::Store(why)) => {
                assert!(why.contains("is away"), "{why}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_confined_vault_finds_its_tpm_again() {
    let folder = Folder::new("verifier");
    let mut tpm = Simulator::start(&folder.path().join("tpm"));
    seal(&folder, &format!("{{tpm2: {{tcti: '{}'}}}}", tpm.tcti()));
    let daemon = Daemon::start(folder);
    serves(&daemon, VaultKind::Tpm2);
    tpm.kill();
    refuses(&daemon);
    tpm.resume();
    rotate(&daemon);
    // And after a restart of the vault.
    let daemon = Daemon::start(daemon.kill());
    rotate(&daemon);
    is_confined(&daemon);
}

#[test]
fn a_confined_vault_finds_its_token_again() {
    let folder = Folder::new("verifier");
    let tokens = Tokens::make(folder.path());
    tokens.add("bartizan");
    let token = format!(
        "module: {MODULE}, token: bartizan, pin: {{file: {}}}, reads: [{}], writes: [{}]",
        tokens.pin().display(),
        folder.path().join("softhsm2.conf").display(),
        tokens.folder().display(),
    );
    seal(&folder, &format!("{{pkcs11: {{{token}}}}}"));
    let daemon = Daemon::start(folder);
    serves(&daemon, VaultKind::Pkcs11);
    tokens.take_away();
    refuses(&daemon);
    tokens.put_back();
    rotate(&daemon);
    let daemon = Daemon::start(daemon.kill());
    rotate(&daemon);
    is_confined(&daemon);
}
