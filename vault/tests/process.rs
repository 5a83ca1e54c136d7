//! Real vault processes, asked over their sockets.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "process/daemon.rs"]
mod daemon;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_attestation::keys::{
    KeyDescription, Purpose, VaultKind, VaultRefusal, VaultReply, VaultRequest,
};
use bartizan_attestation::measurement::Digest;
use bartizan_local::read_frame;
use daemon::{Daemon, Folder};

const HOUR_S: u64 = 3600;

/// A fleet of one host: the verifier's vault, the host's, and the fleet CA certificate.
struct Fleet {
    verifier: Daemon,
    host: Daemon,
    fleet_ca: Vec<u8>,
}

fn fleet() -> Fleet {
    let (verifier, host) = (
        Daemon::start(Folder::new("verifier")),
        Daemon::start(Folder::new("host")),
    );
    let found = VaultRequest::CreateFleetCa {
        name: "test fleet".into(),
    };
    let fleet_ca = verifier.certificates(&found).remove(0);
    let VaultReply::Csr(csr) = host.ask(&VaultRequest::CreateCardIdentity) else {
        panic!("no CSR");
    };
    let name = "host-1".into();
    let chain = verifier.certificates(&VaultRequest::IssueHost {
        csr,
        name,
        vault: VaultKind::Software,
    });
    host.certificates(&VaultRequest::InstallCardIdentity {
        chain: chain.into_iter().map(Into::into).collect(),
        fleet_ca: fleet_ca.clone(),
    });
    Fleet {
        verifier,
        host,
        fleet_ca,
    }
}

fn keys(daemon: &Daemon) -> Vec<KeyDescription> {
    match daemon.ask(&VaultRequest::Describe) {
        VaultReply::Description { keys, .. } => keys,
        other => panic!("{other:?}"),
    }
}

fn guest(host: &Daemon) -> GuestIdentity {
    GuestIdentity {
        card: CardId(*keys(host)[0].id),
        vm: [7; 16],
        boot: 1,
    }
}

fn sign_tls(certificate: Vec<u8>) -> VaultRequest {
    let context = b"TLS 1.3, client CertificateVerify\0";
    VaultRequest::SignTls {
        purpose: Purpose::TlsClient,
        certificate,
        message: [&[0x20; 64], context.as_slice(), &[7; 48]].concat(),
    }
}

#[test]
fn openssl_accepts_every_chain_for_what_it_is_made_for() {
    let fleet = fleet();
    let csr = || EphemeralKey::generate().unwrap().csr().unwrap();
    let (guest, launch_measurement) = (guest(&fleet.host), Digest(vec![9; 48]));
    let lifetime_s = HOUR_S;
    let names = vec!["verifier.test".into(), "127.0.0.1".into()];
    let chains = [
        (
            "sslserver",
            fleet
                .verifier
                .certificates(&VaultRequest::RotateTlsServer { names, lifetime_s }),
        ),
        (
            "any",
            fleet
                .verifier
                .certificates(&VaultRequest::RotateToken { lifetime_s }),
        ),
        (
            "sslclient",
            fleet.verifier.certificates(&VaultRequest::IssueOperator {
                csr: csr(),
                name: "alice".into(),
            }),
        ),
        (
            "sslclient",
            fleet
                .host
                .certificates(&VaultRequest::RotateTlsClient { lifetime_s }),
        ),
        (
            "any",
            fleet.host.certificates(&VaultRequest::CertifyReportKey {
                csr: csr(),
                guest,
                launch_measurement: launch_measurement.clone(),
                lifetime_s,
            }),
        ),
        (
            "any",
            fleet.host.certificates(&VaultRequest::CertifyGuestKey {
                csr: csr(),
                guest,
                launch_measurement,
                lifetime_s,
            }),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let root = pem(folder.path(), "root", &fleet.fleet_ca);
    for (purpose, chain) in chains {
        let leaf = pem(folder.path(), "leaf", &chain[0]);
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-x509_strict", "-check_ss_sig", "-purpose"]);
        verify.arg(purpose).arg("-CAfile").arg(&root);
        if let Some(issuer) = chain.get(1) {
            verify
                .arg("-untrusted")
                .arg(pem(folder.path(), "issuer", issuer));
        }
        let output = verify.arg(&leaf).output().unwrap();
        assert!(output.status.success(), "{purpose}: {output:?}");
    }
}

/// A certificate as a PEM file, converted by openssl, which so reads our DER too.
fn pem(folder: &Path, name: &str, der: &[u8]) -> PathBuf {
    let (source, path) = (folder.join("der"), folder.join(name));
    fs::write(&source, der).unwrap();
    let converted = Command::new("openssl")
        .args(["x509", "-inform", "DER", "-in"])
        .arg(&source)
        .arg("-out")
        .arg(&path)
        .output()
        .unwrap();
    assert!(converted.status.success(), "{converted:?}");
    path
}

#[test]
fn keys_survive_kill_9() {
    let fleet = fleet();
    let rotate = VaultRequest::RotateTlsClient { lifetime_s: HOUR_S };
    let before = fleet.host.certificates(&rotate).remove(0);
    let known = keys(&fleet.host);
    let host = Daemon::start(fleet.host.kill());
    assert_eq!(keys(&host), known);
    // The old key goes on until its certificate ends, beside a new one.
    let after = host.certificates(&rotate).remove(0);
    for certificate in [before, after] {
        let reply = host.ask(&sign_tls(certificate));
        assert!(matches!(reply, VaultReply::Signature(_)), "{reply:?}");
    }
}

/// By the confined process, which replaces its key file, and reads its passphrase again.
#[test]
fn the_sealing_key_is_rotated_and_survives_kill_9() {
    let Fleet { verifier, host, .. } = fleet();
    let rotate = VaultRequest::RotateTlsClient { lifetime_s: HOUR_S };
    let certificate = host.certificates(&rotate).remove(0);
    let folder = host.kill();
    let of =
        |folder: &Folder| [folder.root_key(), folder.store()].map(|file| fs::read(file).unwrap());
    let [former_key, former_store] = of(&folder);
    let host = Daemon::start(folder);
    assert_eq!(host.ask(&VaultRequest::RotateSealing), VaultReply::Done);
    let folder = host.kill();
    let [key, store] = of(&folder);
    assert_ne!(key, former_key);
    // Whoever has the former key file opens what it has sealed, and nothing that was sealed since.
    fs::write(folder.root_key(), &former_key).unwrap();
    let (_, said) = folder.start_in_vain();
    assert!(said.contains("the root key is another one"), "{said}");
    fs::write(folder.store(), former_store).unwrap();
    let folder = Daemon::start(folder).kill();
    fs::write(folder.root_key(), key).unwrap();
    fs::write(folder.store(), store).unwrap();
    let host = Daemon::start(folder);
    let reply = host.ask(&sign_tls(certificate));
    assert!(matches!(reply, VaultReply::Signature(_)), "{reply:?}");
    drop(verifier);

    let folder = Folder::new("verifier");
    let passphrase = folder.path().join("passphrase");
    fs::write(&passphrase, "correct horse battery").unwrap();
    fs::set_permissions(&passphrase, PermissionsExt::from_mode(0o600)).unwrap();
    let (from, to) = (
        format!("key_file: {}", folder.root_key().display()),
        format!("passphrase_file: {}", passphrase.display()),
    );
    folder.configure(|text| text.replace(&from, &to));
    let vault = Daemon::start(folder);
    vault.certificates(&VaultRequest::CreateFleetCa { name: "f".into() });
    assert_eq!(vault.ask(&VaultRequest::RotateSealing), VaultReply::Done);
    let known = keys(&vault);
    let vault = Daemon::start(vault.kill());
    assert_eq!(keys(&vault), known);
}

#[test]
fn what_is_not_of_the_purpose_is_refused() {
    let fleet = fleet();
    let certificate = fleet
        .host
        .certificates(&VaultRequest::RotateTlsClient { lifetime_s: HOUR_S })
        .remove(0);
    let VaultRequest::SignTls { message, .. } = sign_tls(Vec::new()) else {
        panic!("another request");
    };
    let as_server = VaultRequest::SignTls {
        purpose: Purpose::TlsServer,
        certificate: certificate.clone(),
        message,
    };
    let report = VaultRequest::SignTls {
        purpose: Purpose::TlsClient,
        certificate,
        message: b"a report that nobody measured".to_vec(),
    };
    let rotated = fleet
        .verifier
        .certificates(&VaultRequest::RotateToken { lifetime_s: HOUR_S });
    let claims = VaultRequest::SignToken {
        claims: r#"{"sub":"me"}"#.into(),
        certificate: rotated[0].to_vec(),
    };
    let refused = |daemon: &Daemon, request| match daemon.ask(&request) {
        VaultReply::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        refused(&fleet.host, as_server),
        VaultRefusal::WrongRole { .. }
    ));
    assert!(matches!(
        refused(&fleet.host, report),
        VaultRefusal::NotSignable(_)
    ));
    assert!(matches!(
        refused(&fleet.verifier, claims),
        VaultRefusal::NotSignable(_)
    ));
}

#[test]
fn an_altered_store_or_another_root_key_stops_the_start() {
    let folder = Daemon::start(Folder::new("host")).kill();
    let mut bytes = fs::read(folder.store()).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(folder.store(), &bytes).unwrap();
    let (_, said) = folder.start_in_vain();
    assert!(said.contains("was altered"), "{said}");
    bytes[last] ^= 1;
    fs::write(folder.store(), &bytes).unwrap();
    // Not made up anew: the store's keys would be lost without a word.
    fs::remove_file(folder.root_key()).unwrap();
    let (_, said) = folder.start_in_vain();
    assert!(said.contains("root.key"), "{said}");
    assert!(!folder.root_key().exists());
}

#[test]
fn a_mistyped_configuration_is_refused_before_the_socket_is_there() {
    let folder = Folder::new("host");
    folder.configure(|text| text.replace("allowed_uids", "alowed_uids"));
    let (_, said) = folder.start_in_vain();
    assert!(said.contains("alowed_uids"), "{said}");
    assert!(!folder.socket().exists());
}

#[test]
fn another_user_is_turned_away_unheard() {
    let folder = Folder::new("host");
    folder.configure(|text| text.replace("allowed_uids: [", "allowed_uids: [1"));
    let daemon = Daemon::start(folder);
    let mut link = daemon.connect();
    // Already closed, or closed with the request unread: an end or a reset, never an answer.
    let _sent = bartizan_local::write_frame(&mut link, &VaultRequest::Describe, 1 << 16);
    let answer: Result<VaultReply, _> = read_frame(&mut link, VaultRequest::MAX_FRAME);
    assert!(answer.is_err(), "{answer:?}");
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let daemon = Daemon::start(Folder::new("host"));
    let hostile: [&[u8]; 4] = [
        &[0xff; 64],
        &[0, 0, 0, 3, 0xff, 0xff, 0xff],
        &[0, 0, 0, 5, 0x9b, 0xff, 0xff, 0xff, 0xff],
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for bytes in hostile {
        let mut link = daemon.connect();
        link.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // An end or a reset.
        let _end = link.read_to_end(&mut answer);
        assert_eq!(answer, b"");
    }
    assert_eq!(keys(&daemon), []);
}

#[test]
fn idle_connections_do_not_outnumber_the_threads_for_ever() {
    let daemon = Daemon::start(Folder::new("host"));
    let idle: Vec<_> = (0..40).map(|_| daemon.connect()).collect();
    drop(idle);
    assert_eq!(keys(&daemon), []);
}

#[test]
fn every_thread_is_confined() {
    let daemon = Daemon::start(Folder::new("host"));
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let mut threads = 0;
    for task in tasks {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        for line in ["Seccomp:\t2", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{line} is not in {status}");
        }
        threads += 1;
    }
    assert!(threads > 1);
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    assert!(core.is_some_and(|line| line.split_whitespace().nth(4) == Some("0")));
}
