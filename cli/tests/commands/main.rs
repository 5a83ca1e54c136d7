//! The command line as its users and their programs see it: exit codes, JSON, what it hands to other programs.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod flow;

use std::fs::{self, Permissions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use bartizan_attestation::boot::{Phase, Sha384};
use bartizan_attestation::cose::{MessageType, Unverified};
use bartizan_attestation::host::{
    AcceptedBoot, AcceptedRelease, KeysShown, MAX_FRAME, OperationReply, OperationRequest,
    OperatorRefusal, OperatorReply, RenewedCertificate, ReportKeyRotated,
};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{
    KeyDescription, KeyEvent, KeyEventKind, KeyKind, Purpose, VaultKind,
};
use bartizan_attestation::operation::{Operation, OperationRefusal, Order, RotatableKey};
use bartizan_local::{read_frame, write_frame};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
};
use rustls_pki_types::CertificateSigningRequestDer;
use serde_json::Value;

const CODE: &str = "-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYm";

/// The program in a folder of its own, beside others that only note how they were called.
struct Installed {
    folder: tempfile::TempDir,
}

impl Installed {
    fn new() -> Self {
        let built = Path::new(env!("CARGO_BIN_EXE_bartizan"));
        let folder = tempfile::tempdir_in(built.parent().unwrap()).unwrap();
        fs::hard_link(built, folder.path().join("bartizan")).unwrap();
        Self { folder }
    }

    /// A program that prints something and ends with a code.
    fn beside(&self, name: &str, prints: &str, code: u8) {
        let path = self.path(name);
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >\"$0.arguments\"\nenv >\"$0.environment\"\ncat >\"$0.stdin\"\n\
             echo '{prints}'\nexit {code}\n"
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn noted(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(self.path("bartizan"))
            .args(arguments)
            .env("BARTIZAN_OPERATOR", self.path("operator"))
            .env_remove("BARTIZAN_VERIFIER")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // One that does not read it is no failure.
        stdin.write_all(input.as_bytes()).ok();
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    fn enroll(&self, more: &[&str], input: &str) -> Output {
        let arguments = ["--json", "host", "enroll", "--config", "card.yaml"];
        let arguments = [&arguments[..], &["--name", "rack1-07"], more].concat();
        self.run(&[&arguments[..], &["--fleet-ca", "ca.pem"]].concat(), input)
    }

    /// Credentials of an operator, and a fleet CA.
    fn certify_operator(&self) {
        assert_eq!(
            self.run(&["operator", "request"], "").status.code(),
            Some(0)
        );
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let ca = CertifiedIssuer::self_signed(params, key).unwrap();
        let csr = fs::read(self.path("operator/operator.csr")).unwrap();
        let csr = CertificateSigningRequestDer::from(csr);
        let csr = CertificateSigningRequestParams::from_der(&csr).unwrap();
        let operator = csr.signed_by(&ca).unwrap();
        fs::write(self.path("operator/operator.pem"), operator.pem()).unwrap();
        fs::write(self.path("operator/fleet-ca.pem"), ca.pem()).unwrap();
    }
}

/// The one JSON value that was printed.
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_join_code_goes_to_the_card_through_standard_input_alone() {
    let installed = Installed::new();
    installed.beside("bartizan-card", r#"{"card":"abcd"}"#, 0);
    let file = installed.path("code");
    fs::write(&file, CODE).unwrap();
    let file = file.to_str().unwrap();
    for (more, input) in [
        (&[][..], CODE),
        (&["--join-code-file", "-"], CODE),
        (&["--join-code-file", file], ""),
    ] {
        let output = installed.enroll(more, input);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(
            json(&output),
            serde_json::json!({ "ok": true, "card": "abcd" })
        );
        assert_eq!(installed.noted("bartizan-card.stdin"), CODE);
        for seen_by_others in ["bartizan-card.arguments", "bartizan-card.environment"] {
            let seen = installed.noted(seen_by_others);
            assert!(!seen.is_empty() && !seen.contains(CODE), "{seen}");
        }
    }
    let missing = installed.enroll(&["--join-code-file", "nowhere"], "");
    assert_eq!(missing.status.code(), Some(1));
    // Nor is there an option by which it could be an argument.
    let refused = installed.enroll(&["--join-code", CODE], "");
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn exit_codes_of_other_programs_are_passed_on() {
    let installed = Installed::new();
    for code in [1, 2, 69] {
        installed.beside("bartizan-card", "", code);
        installed.beside("bartizan-verifier", "", code);
        let enroll = installed.enroll(&[], CODE);
        let init = [
            "--json", "service", "init", "--config", "c", "--name", "ann",
        ];
        let init = installed.run(&init, "");
        for output in [enroll, init] {
            assert_eq!(output.status.code(), Some(code.into()), "{output:?}");
            assert_eq!(json(&output)["ok"], false);
        }
    }
}

#[test]
fn the_beginning_of_a_fleet_is_one_json_object() {
    let installed = Installed::new();
    installed.beside("bartizan-verifier", "words for people", 0);
    let init = [
        "--json", "service", "init", "--config", "c", "--name", "ann",
    ];
    let output = installed.run(&init, "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let printed = json(&output);
    assert!(
        printed["ok"] == true && printed["operator"] == "ann",
        "{printed}"
    );
}

#[test]
fn an_outage_a_stranger_and_a_wrong_address_have_codes_of_their_own() {
    let installed = Installed::new();
    installed.certify_operator();
    let list = |verifier: &str| {
        let output = installed.run(&["--json", "host", "list", "--verifier", verifier], "");
        assert_eq!(json(&output)["ok"], false);
        output.status.code()
    };
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap().to_string();
    let answers = std::thread::spawn(move || {
        let (mut link, _) = stranger.accept().unwrap();
        link.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    assert_eq!(list(&address), Some(1));
    answers.join().unwrap();
    // Nobody listens there any more.
    assert_eq!(list(&address), Some(69));
    assert_eq!(list("localhost"), Some(2));
    assert_eq!(list("localhost:https"), Some(2));
}

#[test]
fn a_key_that_others_may_read_is_not_used() {
    let installed = Installed::new();
    installed.certify_operator();
    let key = installed.path("operator/operator.pk8");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let output = installed.run(&["host", "list"], "");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("chmod 600"), "{said}");
}

/// A card that says who it is, and answers orders with this; tells what it was ordered.
fn card(socket: &Path, answer: OperationReply) -> JoinHandle<(Order, Vec<Vec<u8>>)> {
    card_that_shows(socket, [answer])
}

/// The same, with answers piece by piece, for as long as they are read.
fn card_that_shows(
    socket: &Path,
    answers: impl IntoIterator<Item = OperationReply> + Send + 'static,
) -> JoinHandle<(Order, Vec<Vec<u8>>)> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (mut link, _) = listener.accept().unwrap();
        loop {
            let signed = match read_frame(&mut link, MAX_FRAME).unwrap() {
                OperationRequest::Describe => {
                    let host = OperationReply::Host(CardId([7; 32]));
                    write_frame(&mut link, &host, MAX_FRAME).unwrap();
                    continue;
                }
                OperationRequest::Perform(signed) => signed,
            };
            for answer in answers {
                if write_frame(&mut link, &answer, MAX_FRAME).is_err() {
                    break;
                }
            }
            let message = Unverified::parse(&signed, MessageType::Operation).unwrap();
            let order = Order::decode(message.unverified_payload()).unwrap();
            return (order, message.chain().to_vec());
        }
    })
}

#[test]
fn an_order_names_the_host_that_the_operator_named_or_was_shown() {
    let installed = Installed::new();
    installed.certify_operator();
    let socket = installed.path("card.sock");
    let at = ["--card", socket.to_str().unwrap()];
    let done = || OperationReply::Guests(OperatorReply::Done);
    let named = "08".repeat(32);
    let mut nonces = Vec::new();
    for (more, host) in [(&[][..], [7; 32]), (&["--host", &named], [8; 32])] {
        let serving = card(&socket, done());
        let stop = [&["vm", "stop", "web", "--force"][..], &at, more].concat();
        let output = installed.run(&stop, "");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let shown = String::from_utf8_lossy(&output.stderr).contains(&"07".repeat(32));
        assert_eq!(shown, more.is_empty(), "{output:?}");
        let (order, chain) = serving.join().unwrap();
        assert_eq!(order.host, CardId(host));
        let (vm, force) = ("web".to_owned(), true);
        assert_eq!(order.operation, Operation::StopGuest { vm, force });
        assert!(order.expires_at - order.issued_at <= Order::MAX_LIFETIME_S);
        assert_eq!(chain.len(), 1);
        nonces.push(order.nonce);
        fs::remove_file(&socket).unwrap();
    }
    assert!(nonces[0] != nonces[1] && nonces[0].len() == 32);
}

#[test]
fn keys_are_rotated_where_they_are() {
    let installed = Installed::new();
    installed.certify_operator();
    let socket = installed.path("card.sock");
    let at = ["--card", socket.to_str().unwrap(), "--json"];
    let [tls, identity] = [RotatableKey::TlsClient, RotatableKey::Card];
    let rotated = ReportKeyRotated {
        new: [5; 32].into(),
        destroyed: Some([4; 32].into()),
    };
    let (vm, reply) = ("web".to_owned(), OperatorReply::ReportKeyRotated(rotated));
    for (arguments, ordered, answer) in [
        (
            &["key", "rotate", "tls-client"][..],
            Operation::RotateKeys { key: tls },
            OperationReply::Done,
        ),
        (
            &["key", "rotate", "card"],
            Operation::RotateKeys { key: identity },
            OperationReply::Done,
        ),
        (
            &["key", "rotate", "report", "--vm", "web"],
            Operation::RotateReportKey { vm },
            OperationReply::Guests(reply),
        ),
    ] {
        let serving = card(&socket, answer);
        let output = installed.run(&[arguments, &at[..]].concat(), "");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(json(&output)["ok"], true);
        assert_eq!(serving.join().unwrap().0.operation, ordered);
        if arguments.contains(&"report") {
            assert_eq!(json(&output)["id"], "05".repeat(32));
            assert_eq!(json(&output)["destroyed"], "04".repeat(32));
        }
        fs::remove_file(&socket).unwrap();
    }
    let elsewhere = ["--verifier", "localhost:1"];
    for (arguments, code) in [
        (&["key", "rotate", "report"][..], 2),
        (&["key", "rotate", "all"], 2),
        (&["key", "rotate", "fleet-ca"], 69),
        (&["key", "list", "guest"], 2),
        (&["key", "history", "host", "--kind", "all"], 2),
        (&["key", "revoke", "tls-client", "x"], 2),
        (&["key", "rotate", "token"], 69),
        (&["key", "list", "verifier"], 69),
    ] {
        let output = installed.run(&[arguments, &elsewhere].concat(), "");
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
    }
}

#[test]
fn a_hosts_keys_and_what_became_of_them_are_shown() {
    let installed = Installed::new();
    installed.certify_operator();
    let socket = installed.path("card.sock");
    let at = ["--card", socket.to_str().unwrap(), "--json"];
    let key = |id: u8| KeyDescription {
        purpose: Purpose::TlsClient,
        id: [id; 32].into(),
        chain: vec![vec![1; 8].into()],
    };
    let shown = KeysShown {
        vault: VaultKind::Tpm2,
        keys: vec![key(1), key(2)],
    };
    let serving = card(&socket, OperationReply::Keys(shown));
    let listed = installed.run(&[&["key", "list", "host"], &at[..]].concat(), "");
    assert_eq!(serving.join().unwrap().0.operation, Operation::ListKeys);
    let listed = json(&listed);
    let current = [&listed[0]["current"], &listed[1]["current"]];
    assert_eq!(current, [false, true]);
    // What does not hold under the operator's fleet CA has no validity.
    assert!(listed[0]["refused"].is_string() && listed[0]["not_after"].is_null());
    fs::remove_file(&socket).unwrap();

    let event = |number, kind, what| KeyEvent {
        number,
        at_s: 60,
        kind,
        id: [3; 32].into(),
        what,
    };
    let events = vec![
        event(0, KeyKind::TlsClient, KeyEventKind::Made),
        event(1, KeyKind::Report, KeyEventKind::not_destroyed(&"away")),
    ];
    let serving = card(&socket, OperationReply::KeyHistory(events));
    let history = ["key", "history", "host", "--kind", "report"];
    let told = json(&installed.run(&[&history, &at[..]].concat(), ""));
    assert_eq!(serving.join().unwrap().0.operation, Operation::KeyHistory);
    let expected = serde_json::json!([{"number": 1, "at_s": 60, "at": "1970-01-01T00:01:00Z", "kind": "report",
        "id": "03".repeat(32), "event": "not-destroyed", "why": "away"}]);
    assert_eq!(told, expected);
}

#[test]
fn what_the_verifier_said_of_a_hosts_boot_is_told_from_no_answer() {
    let installed = Installed::new();
    installed.certify_operator();
    let socket = installed.path("card.sock");
    let attest = ["--json", "host", "attest", "--card"];
    let attest = [&attest[..], &[socket.to_str().unwrap()]].concat();
    let release = AcceptedRelease {
        manifest: Sha384::of(b"a manifest"),
        version: 7,
    };
    let accepted = AcceptedBoot {
        base: release.clone(),
        bundle: release,
        phase: Phase::Hypervisor,
        quoted: false,
        firmware: None,
    };
    let refused = OperationRefusal::HostRefused {
        kind: "boot-release-unknown".into(),
        detail: "version 7 of the base".into(),
    };
    for (answer, code, judged) in [
        (OperationReply::Attested(accepted), 0, Value::Bool(true)),
        (OperationReply::Refused(refused), 1, Value::Bool(false)),
        (
            OperationReply::Refused(OperationRefusal::NotAttested("x".into())),
            1,
            Value::Null,
        ),
        (
            OperationReply::Refused(OperationRefusal::VerifierUnclear("x".into())),
            1,
            Value::Null,
        ),
        (
            OperationReply::Refused(OperationRefusal::VerifierAway("x".into())),
            69,
            Value::Null,
        ),
        (OperationReply::Done, 1, Value::Null),
    ] {
        let serving = card(&socket, answer);
        let output = installed.run(&attest, "");
        assert_eq!(serving.join().unwrap().0.operation, Operation::AttestHost);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = json(&output);
        assert_eq!(
            (&said["ok"], &said["accepted"]),
            (&(code == 0).into(), &judged)
        );
        match code {
            0 => assert_eq!(
                (&said["releases"][0]["version"], &said["phase"]),
                (&7.into(), &4.into())
            ),
            _ if judged == false => assert_eq!(said["problem"], "boot-release-unknown"),
            _ => assert!(said["error"].is_string(), "{said}"),
        }
        fs::remove_file(&socket).unwrap();
    }
}

#[test]
fn a_host_is_certified_anew_by_an_order() {
    let installed = Installed::new();
    installed.certify_operator();
    let socket = installed.path("card.sock");
    let renew = ["--json", "host", "renew", "--card"];
    let renew = [&renew[..], &[socket.to_str().unwrap()]].concat();
    let renewed = RenewedCertificate {
        key: [5; 32].into(),
        not_after: 60,
    };
    let refused = |refusal| OperationReply::Refused(refusal);
    let (kind, detail) = ("card-key-superseded".to_owned(), "another".to_owned());
    for (answer, code) in [
        (OperationReply::Renewed(renewed), 0),
        (refused(OperationRefusal::NotRenewed("x".into())), 1),
        (refused(OperationRefusal::HostRefused { kind, detail }), 1),
        (refused(OperationRefusal::RenewalUnknown("x".into())), 69),
        (refused(OperationRefusal::VerifierAway("x".into())), 69),
        (refused(OperationRefusal::VerifierBusy("x".into())), 69),
    ] {
        let serving = card(&socket, answer);
        let output = installed.run(&renew, "");
        let ordered = serving.join().unwrap().0.operation;
        assert_eq!(ordered, Operation::RenewCertificate);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = json(&output);
        assert_eq!(said["ok"], code == 0);
        if code == 0 {
            assert_eq!(said["key"], "05".repeat(32));
            assert_eq!(said["valid_until"], "1970-01-01T00:01:00Z");
        }
        fs::remove_file(&socket).unwrap();
    }
}

#[test]
fn the_enclaves_state_is_reset_by_an_order() {
    let installed = Installed::new();
    installed.certify_operator();
    let socket = installed.path("card.sock");
    let reset = ["--json", "enclave", "reset-state", "--card"];
    let reset = [&reset[..], &[socket.to_str().unwrap()]].concat();
    let refused = |refusal| OperationReply::Refused(refusal);
    for (answer, code) in [
        (OperationReply::Done, 0),
        (refused(OperationRefusal::NotReset("x".into())), 1),
        (refused(OperationRefusal::ResetUnknown("x".into())), 69),
        (refused(OperationRefusal::VaultAway("x".into())), 69),
    ] {
        let serving = card(&socket, answer);
        let output = installed.run(&reset, "");
        let ordered = serving.join().unwrap().0.operation;
        assert_eq!(ordered, Operation::ResetEnclaveState);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(json(&output)["ok"], code == 0);
        fs::remove_file(&socket).unwrap();
    }
}

#[test]
fn refusals_of_the_card_and_of_the_hypervisor_have_codes_of_their_own() {
    let installed = Installed::new();
    installed.certify_operator();
    let socket = installed.path("card.sock");
    let list = ["--json", "vm", "list", "--card", socket.to_str().unwrap()];
    let away = installed.run(&list, "");
    assert_eq!(
        (away.status.code(), &json(&away)["ok"]),
        (Some(69), &false.into())
    );
    let unknown = OperatorRefusal::UnknownVm("web".into());
    for (answer, code) in [
        (OperationReply::Refused(OperationRefusal::Replayed), 1),
        (
            OperationReply::Refused(OperationRefusal::StandingUnknown("down".into())),
            69,
        ),
        (
            OperationReply::Refused(OperationRefusal::HypervisorUnreached("down".into())),
            69,
        ),
        (OperationReply::Guests(OperatorReply::Refused(unknown)), 1),
        (OperationReply::Done, 1),
    ] {
        let serving = card(&socket, answer);
        let output = installed.run(&list, "");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        serving.join().unwrap();
        fs::remove_file(&socket).unwrap();
    }
    let wrong = installed.run(&["vm", "list", "--host", "here"], "");
    assert_eq!(wrong.status.code(), Some(2));
}
