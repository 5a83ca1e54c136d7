//! The coordinator's first stage has the card fetch a bundle.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_attestation::boot::{Bundle, BundleRefusal, BundleReply, BundleRequest};
use bartizan_card::Config;
use bartizan_card::service::Card;
use bartizan_local::{FrameError, read_frame, write_frame};

use crate::fleet::{Authority, fresh};
use crate::stand_in_vault::{Signing, StandInVault};
use crate::stand_in_verifier::{Served, StandInVerifier};
use crate::{DEADLINE, configure};

/// Of no key that anybody has.
const RELEASE_KEY: [u8; 32] = [7; 32];

/// A host whose card runs; killed when dropped.
struct Scene {
    card: Option<Child>,
    vault: StandInVault,
    verifier: Option<StandInVerifier>,
    configuration: PathBuf,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(mut card) = self.card.take() {
            let _ended = card.kill();
            let _reaped = card.wait();
        }
    }
}

impl Scene {
    /// Not running yet; that user may ask.
    fn new(allowed_uid: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fleet = Arc::new(Authority::fleet());
        let vault = StandInVault::start(directory.path(), fleet.card(fresh()), fleet.der.clone());
        let verifier = StandInVerifier::start(fleet);
        let socket = directory.path().join("coordinator.sock");
        let extra = format!(
            "coordinator: {{socket: {}, allowed_uids: [{allowed_uid}]}}",
            socket.display()
        );
        let configuration = configure(directory.path(), &vault.socket, &verifier, &extra);
        Self {
            card: None,
            vault,
            verifier: Some(verifier),
            configuration,
            socket,
            _directory: directory,
        }
    }

    fn run(mut self) -> Self {
        let card = Command::new(env!("CARGO_BIN_EXE_bartizan-card"))
            .args(["run", "--config"])
            .arg(&self.configuration)
            .env_remove("NOTIFY_SOCKET")
            .stderr(Stdio::null())
            .spawn();
        self.card = Some(card.unwrap());
        let deadline = Instant::now() + DEADLINE;
        while UnixStream::connect(&self.socket).is_err() {
            assert!(Instant::now() < deadline, "the card does not serve");
            std::thread::yield_now();
        }
        self
    }

    fn serve(&self, served: Served) {
        self.verifier.as_ref().unwrap().serve(served);
    }

    fn ask(&self) -> UnixStream {
        let mut link = UnixStream::connect(&self.socket).unwrap();
        link.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = BundleRequest::Newest {
            release_key: RELEASE_KEY,
        };
        write_frame(&mut link, &request, BundleRequest::MAX_FRAME).unwrap();
        link
    }

    /// The bytes that were handed over, or why there are none.
    fn fetch(&self) -> Result<Vec<u8>, BundleRefusal> {
        let mut link = self.ask();
        match answer(&mut link).unwrap() {
            BundleReply::Follows { size } => {
                let mut bytes = Vec::new();
                link.read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes.len(), size as usize);
                Ok(bytes)
            }
            BundleReply::Refused(refusal) => Err(refusal),
        }
    }

    /// The same, once this host's card has noticed its identity.
    fn fetch_enrolled(&self) -> Result<Vec<u8>, BundleRefusal> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.fetch() {
                Err(BundleRefusal::NotEnrolled) if Instant::now() < deadline => {
                    std::thread::yield_now();
                }
                fetched => return fetched,
            }
        }
    }
}

fn answer(link: &mut UnixStream) -> Result<BundleReply, FrameError> {
    read_frame(link, BundleRequest::MAX_FRAME)
}

/// More than a pipe or a socket holds.
fn bytes() -> Vec<u8> {
    (0..3_000_000_u32).map(|at| at.to_le_bytes()[0]).collect()
}

#[test]
fn a_bundle_is_handed_over_as_the_verifier_serves_it() {
    let scene = Scene::new(0).run();
    scene.serve(Served::Bytes(bytes()));
    assert!(scene.fetch_enrolled() == Ok(bytes()));
    // Whatever it is: the stage has the key to say.
    for other in [b"no bundle".to_vec(), Vec::new(), bytes()] {
        scene.serve(Served::Bytes(other.clone()));
        assert!(scene.fetch() == Ok(other));
    }
}

#[test]
fn the_largest_bundle_is_handed_over_and_a_larger_one_is_not() {
    let scene = Scene::new(0).run();
    let mut largest = vec![7; Bundle::MAX_LEN];
    scene.serve(Served::Bytes(largest.clone()));
    assert!(scene.fetch_enrolled().unwrap() == largest);
    largest.push(7);
    scene.serve(Served::Bytes(largest));
    assert_eq!(scene.fetch(), Err(BundleRefusal::TooLarge));
}

#[test]
fn the_stage_is_told_why_there_is_none() {
    let mut scene = Scene::new(0).run();
    assert_eq!(scene.fetch_enrolled(), Err(BundleRefusal::NotPublished));
    scene.serve(Served::Raw(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()));
    let unclear = scene.fetch();
    assert!(
        matches!(unclear, Err(BundleRefusal::VerifierUnclear(_))),
        "{unclear:?}"
    );
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort";
    for broken_off in [&cut[..], b""] {
        scene.serve(Served::Raw(broken_off.to_vec()));
        let away = scene.fetch();
        assert!(
            matches!(away, Err(BundleRefusal::VerifierAway(_))),
            "{away:?}"
        );
    }
    scene.serve(Served::Bytes(bytes()));
    scene.vault.sign(Signing::Refuses);
    let unusable = scene.fetch();
    assert!(
        matches!(unusable, Err(BundleRefusal::LinkUnusable(_))),
        "{unusable:?}"
    );
    scene.vault.sign(Signing::Signs);
    drop(scene.verifier.take());
    let away = scene.fetch();
    assert!(
        matches!(away, Err(BundleRefusal::VerifierAway(_))),
        "{away:?}"
    );
}

#[test]
fn a_host_that_is_not_enrolled_is_told_so_and_served_once_it_is() {
    let scene = Scene::new(0);
    scene.vault.enrol(false);
    let scene = scene.run();
    assert_eq!(scene.fetch(), Err(BundleRefusal::NotEnrolled));
    scene.serve(Served::Bytes(bytes()));
    scene.vault.enrol(true);
    assert!(scene.fetch_enrolled() == Ok(bytes()));
}

#[test]
fn one_bundle_is_fetched_at_a_time_and_none_for_who_has_gone() {
    let scene = Scene::new(0).run();
    scene.serve(Served::Bytes(bytes()));
    scene.fetch_enrolled().unwrap();
    scene.serve(Served::Silence);
    // Whichever of two the card takes a turn for, the other one is told to come again.
    let mut two = [scene.ask(), scene.ask()];
    for link in &two {
        link.set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
    }
    let deadline = Instant::now() + DEADLINE;
    let said = loop {
        assert!(Instant::now() < deadline, "two are fetched at once");
        if let Some(said) = two.iter_mut().find_map(|link| answer(link).ok()) {
            break said;
        }
    };
    assert_eq!(said, BundleReply::Refused(BundleRefusal::Busy));
    drop(two);
    scene.serve(Served::Bytes(bytes()));
    while scene.fetch() == Err(BundleRefusal::Busy) {
        assert!(Instant::now() < deadline, "one is fetched for nobody");
    }
}

#[test]
fn another_user_and_what_is_no_request_get_no_answer() {
    let scene = Scene::new(1).run();
    let mut link = UnixStream::connect(&scene.socket).unwrap();
    link.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(link.read(&mut [0]).unwrap(), 0);
    let scene = Scene::new(0).run();
    let mut link = UnixStream::connect(&scene.socket).unwrap();
    link.set_read_timeout(Some(DEADLINE)).unwrap();
    write_frame(&mut link, &"what", BundleRequest::MAX_FRAME).unwrap();
    assert!(answer(&mut link).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_takes_too_long_is_not_waited_for() {
    let scene = Scene::new(0);
    scene.serve(Served::Silence);
    let config = Config::load(&scene.configuration).unwrap();
    let card = tokio::task::spawn_blocking(move || Card::open(&config).unwrap());
    let verifier = card.await.unwrap().verifier();
    let deadline = Duration::from_millis(1200);
    let late = verifier.newest_bundle(&RELEASE_KEY, deadline).await;
    assert_eq!(late, Err(BundleRefusal::TooSlow { seconds: 1 }));
}
