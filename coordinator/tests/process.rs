//! Both stages as processes of their own, confined as always, by a test that is launcher and card.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../src/stand_in/key.rs"]
mod key;
#[path = "process/stage.rs"]
mod stage;
#[path = "process/unconfined.rs"]
mod unconfined;

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use bartizan_boot::{
    Bundle, BundleRefusal, BundleReply, BundleRequest, CoordinatorAnswer, CoordinatorStep, Phase,
    Refusal,
};
use bartizan_local::{read_frame, write_frame};
use key::Key;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use stage::{PATIENCE, Stage};

/// A host's folder, in which the stages are started, with the release key and a socket of the card's.
struct Host {
    key: Key,
    card: UnixListener,
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let (key, folder) = (Key::generate(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("release.pub"), key.public().spki_der()).unwrap();
        let card = UnixListener::bind(folder.path().join("card.sock")).unwrap();
        // Not for ever, where the stage has died.
        set_socket_timeout(&card, Timeout::Recv, Some(PATIENCE)).unwrap();
        Self { key, card, folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All paths are relative to the folder.
    fn first_stage(&self, arguments: &str) -> Stage {
        let mut command = Stage::command("stage1");
        command
            .current_dir(&self.folder)
            .args(["--release-key", "release.pub"])
            .args(arguments.split_whitespace());
        Stage::start(command)
    }

    /// Takes the stage's next question to the card.
    fn asked(&self) -> UnixStream {
        let (mut link, _) = self.card.accept().unwrap();
        let BundleRequest::Newest { release_key } =
            read_frame(&mut link, BundleRequest::MAX_FRAME).unwrap();
        assert_eq!(release_key, self.key.public().sha256());
        link
    }
}

fn answer(mut link: &UnixStream, reply: &BundleReply) {
    write_frame(&mut link, reply, BundleRequest::MAX_FRAME).unwrap();
}

/// A bundle that is about as large as one may be: its manifest is one's, its file is not looked at by the first stage.
fn large(bundle: &[u8]) -> Vec<u8> {
    let mut bundle = Bundle::from_bytes(bundle).unwrap();
    for file in &mut bundle.files {
        file.contents = vec![7; Bundle::MAX_LEN - (64 << 10)].into();
    }
    bundle.to_bytes()
}

#[test]
fn the_first_stage_brings_the_bundle_of_its_file() {
    let host = Host::new();
    let bundle = large(&host.key.bundle(1));
    fs::write(host.at("bundle.release"), &bundle).unwrap();
    let mut stage = host.first_stage("--bundle bundle.release");
    assert!(stage.says() == CoordinatorStep::Bundle(bundle));
    stage.is_confined();
    stage.hears(&CoordinatorAnswer::Done);
    stage.succeeds();
}

#[test]
fn the_first_stage_brings_the_verifiers_bundle() {
    let host = Host::new();
    let bundle = large(&host.key.bundle(1));
    let mut stage = host.first_stage("--from verifier --card card.sock");
    let mut link = host.asked();
    stage.is_confined();
    let size = u32::try_from(bundle.len()).unwrap();
    answer(&link, &BundleReply::Follows { size });
    std::io::Write::write_all(&mut link, &bundle).unwrap();
    assert!(stage.says() == CoordinatorStep::Bundle(bundle));
    stage.hears(&CoordinatorAnswer::Done);
    stage.succeeds();
}

#[test]
fn a_file_that_is_replaced_while_the_verifier_is_waited_for_is_found() {
    let host = Host::new();
    for absent_at_first in [false, true] {
        let file = host.at("bundle.release");
        if absent_at_first {
            fs::remove_file(&file).unwrap();
        } else {
            fs::write(&file, host.key.bundle(1)).unwrap();
        }
        let arguments = "--from verifier-then-file --card card.sock --bundle bundle.release";
        let mut stage = host.first_stage(arguments);
        let away = BundleRefusal::VerifierAway("no route".into());
        answer(&host.asked(), &BundleReply::Refused(away));
        // It has slept, and asks again: what it may reach was settled long ago.
        let link = host.asked();
        let newer = host.key.bundle(2);
        fs::write(host.at("newer"), &newer).unwrap();
        fs::rename(host.at("newer"), &file).unwrap();
        answer(&link, &BundleReply::Refused(BundleRefusal::NotPublished));
        assert_eq!(stage.says(), CoordinatorStep::Bundle(newer));
        stage.hears(&CoordinatorAnswer::Done);
        stage.succeeds();
    }
}

#[test]
fn a_file_that_is_absent_or_no_bundle_is_refused() {
    let host = Host::new();
    fs::write(host.at("base.release"), host.key.base()).unwrap();
    fs::write(host.at("forged.release"), Key::generate().bundle(1)).unwrap();
    for (file, why) in [
        ("bundle.release", "cannot be read"),
        ("nowhere/bundle.release", "cannot be read"),
        ("release.pub/nowhere/bundle.release", "cannot be read"),
        ("base.release", "is a release of the base"),
        ("forged.release", "is not signed by"),
    ] {
        let stage = host.first_stage(&format!("--bundle {file}"));
        stage.refuses(&[file, why]);
    }
}

#[test]
fn the_second_stage_has_both_phases_launched() {
    let mut stage = Stage::start(Stage::command("stage2"));
    assert_eq!(stage.says(), CoordinatorStep::Launch(Phase::Hypervisor));
    stage.is_confined();
    stage.hears(&CoordinatorAnswer::Done);
    assert_eq!(stage.says(), CoordinatorStep::Launch(Phase::Enclave));
    stage.hears(&CoordinatorAnswer::Nothing);
    let said = stage.succeeds();
    assert!(said.contains("no enclave"), "{said}");
}

#[test]
fn the_second_stage_ends_with_a_boot_that_is_stopped() {
    let mut stage = Stage::start(Stage::command("stage2"));
    stage.says();
    let why = Refusal::Manifest("another hypervisor".into());
    stage.hears(&CoordinatorAnswer::Stopped(why));
    let said = stage.fails();
    assert!(said.contains("another hypervisor"), "{said}");
}
