//! Real vault processes whose keys are in a device: confined, they serve, and find a device again that went and came back.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "process/daemon.rs"]
mod daemon;
#[path = "conformance/programs.rs"]
mod programs;
#[path = "conformance/served/server.rs"]
mod server;
#[path = "conformance/swtpm/simulator.rs"]
#[expect(dead_code, reason = "the conformance suite needs more of it")]
mod simulator;
#[path = "conformance/softhsm/tokens.rs"]
mod tokens;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bartizan_attestation::keys::{VaultKind, VaultRefusal, VaultReply, VaultRequest};
use daemon::{Daemon, Folder};
use programs::demand;
use server::Server;
use simulator::Simulator;
use tokens::{MODULE, PIN, Tokens};

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
            VaultReply::Refused(VaultRefusal::DeviceAway(why)) => {
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

/// A vault's folder, its keys to be in a token.
fn with_token(role: &str) -> (Folder, Tokens) {
    let folder = Folder::new(role);
    let tokens = Tokens::make(folder.path());
    tokens.add("bartizan");
    let token = format!(
        "module: {MODULE}, reads: [{}], writes: [{}]",
        folder.path().join("softhsm2.conf").display(),
        tokens.folder().display(),
    );
    keep_in_token(&folder, &tokens, &token);
    (folder, tokens)
}

fn keep_in_token(folder: &Folder, tokens: &Tokens, by: &str) {
    let token = format!(
        "token: bartizan, pin: {{file: {}}}, {by}",
        tokens.pin().display()
    );
    seal(folder, &format!("{{pkcs11: {{{token}}}}}"));
}

/// How many private keys of a purpose the token has, by an independent program.
fn keys_in_token(folder: &Path, purpose: &str) -> usize {
    let mut list = Command::new("pkcs11-tool");
    list.env("SOFTHSM2_CONF", folder.join("softhsm2.conf"));
    list.args(["--module", MODULE, "--token-label", "bartizan"]);
    list.args([
        "--login",
        "--pin",
        PIN,
        "--list-objects",
        "--type",
        "privkey",
    ]);
    demand(&mut list).matches(purpose).count()
}

#[test]
fn a_confined_vault_finds_its_token_again() {
    let (folder, tokens) = with_token("verifier");
    let path = folder.path().to_owned();
    let daemon = Daemon::start(folder);
    serves(&daemon, VaultKind::Pkcs11);
    // The 33rd was one too many.
    assert_eq!(keys_in_token(&path, "tls-server"), 32);
    tokens.take_away();
    refuses(&daemon);
    tokens.put_back();
    rotate(&daemon);
    let daemon = Daemon::start(daemon.kill());
    rotate(&daemon);
    is_confined(&daemon);
}

#[test]
fn a_confined_vault_finds_the_process_again_that_has_its_token() {
    let (folder, tokens) = with_token("verifier");
    let by = format!("module: {}, connects: unix", server::MODULE);
    keep_in_token(&folder, &tokens, &by);
    let path = folder.path().to_owned();
    let mut server = Server::start(&path);
    let daemon = Daemon::start(folder);
    serves(&daemon, VaultKind::Pkcs11);
    assert_eq!(keys_in_token(&path, "tls-server"), 32);
    server.kill();
    refuses(&daemon);
    server.start_again();
    rotate(&daemon);
    let daemon = Daemon::start(daemon.kill());
    rotate(&daemon);
    is_confined(&daemon);
}

/// The same command at a terminal of its own, where somebody types.
fn at_a_terminal(vault: &mut Command) {
    let words = [vault.get_program()].into_iter().chain(vault.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &words.join(" ")]);
    script.arg("/dev/null");
    for (name, value) in vault.get_envs() {
        script.env(name, value.unwrap());
    }
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    *vault = script;
}

/// What is shown until then, and a line that comes after it.
fn types(terminal: &mut Child, after: &str, line: &str) -> String {
    let mut shown = Vec::new();
    let output = terminal.stdout.as_mut().unwrap();
    while !shown.ends_with(after.as_bytes()) {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        shown.extend(byte);
    }
    writeln!(terminal.stdin.as_mut().unwrap(), "{line}").unwrap();
    String::from_utf8(shown).unwrap()
}

#[test]
fn a_pin_is_asked_for_at_the_terminal_and_not_shown() {
    let (folder, tokens) = with_token("verifier");
    let file = format!("{{file: {}}}", tokens.pin().display());
    folder.configure(|text| text.replace(&file, "prompt"));
    let mut terminal = None;
    let daemon = Daemon::start_by(folder, at_a_terminal, |vault| {
        let shown = types(vault, "PIN of token bartizan: ", PIN);
        assert!(!shown.contains(PIN), "{shown}");
        terminal = vault.stdout.take();
    });
    serves(&daemon, VaultKind::Pkcs11);
    drop(daemon);
    let mut shown = String::new();
    terminal.unwrap().read_to_string(&mut shown).unwrap();
    assert!(!shown.contains(PIN), "{shown}");
}

/// Whoever starts vaults again would lock the token.
#[test]
fn a_wrong_pin_is_told_apart() {
    let (folder, tokens) = with_token("verifier");
    fs::write(tokens.pin(), "wrong-horse\n").unwrap();
    assert_eq!(folder.start_in_vain().0, Some(78));
    fs::write(tokens.pin(), format!("{PIN}\n")).unwrap();
    Daemon::start(folder);
}

#[test]
fn keys_that_are_not_certified_do_not_fill_the_token() {
    let (folder, _tokens) = with_token("host");
    let path = folder.path().to_owned();
    let daemon = Daemon::start(folder);
    for _ in 0..3 {
        // The host has no identity yet.
        let reply = daemon.ask(&VaultRequest::RotateTlsClient { lifetime_s: 60 });
        let VaultReply::Refused(VaultRefusal::NoKey { .. }) = reply else {
            panic!("{reply:?}")
        };
    }
    assert_eq!(keys_in_token(&path, "bartizan-vault"), 0);
}
