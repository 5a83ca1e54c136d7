use std::fs;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use bartizan_attestation::keys::{StateKey, VaultRefusal};
use bartizan_local::{read_frame, write_frame};
use tempfile::TempDir;

use super::*;

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recording {
    Recorded,
    /// The machine lost power before.
    Lost,
    /// And before the answer left.
    Unanswered,
}

/// A card's state folder, and a vault.
struct Rig {
    folder: TempDir,
    kept: KeptState,
    record: Arc<Mutex<Option<StateRecord>>>,
    recording: Arc<Mutex<Recording>>,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("vault.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let record = Arc::new(Mutex::new(None));
        let recording = Arc::new(Mutex::new(Recording::Recorded));
        let (records, becomes) = (Arc::clone(&record), Arc::clone(&recording));
        std::thread::spawn(move || {
            for link in listener.incoming() {
                let mut link = link.unwrap();
                while let Ok(request) = read_frame(&mut link, VaultRequest::MAX_FRAME) {
                    let becomes = *becomes.lock().unwrap();
                    let Some(reply) = answer(&records, becomes, request) else {
                        break;
                    };
                    write_frame(&mut link, &reply, VaultRequest::MAX_FRAME).unwrap();
                }
            }
        });
        Self {
            kept: KeptState::new(folder.path(), Vault::new(socket)),
            folder,
            record,
            recording,
        }
    }

    fn becomes(&self, recording: Recording) {
        *self.recording.lock().unwrap() = recording;
    }

    /// What an enclave that starts now is given.
    fn loaded(&self) -> (u64, Option<Vec<u8>>) {
        let loaded = self.kept.load().unwrap();
        assert_eq!(loaded.key, key());
        assert_eq!(loaded.record, *self.record.lock().unwrap());
        let number = loaded.record.map_or(0, |record| record.number);
        (number, loaded.sealed.map(|sealed| sealed.to_vec()))
    }

    fn file(&self, number: u64) -> PathBuf {
        self.folder
            .path()
            .join(format!("enclave-state.{}", number % 2))
    }
}

fn key() -> StateKey {
    StateKey::new([9; 32])
}

fn answer(
    record: &Mutex<Option<StateRecord>>,
    becomes: Recording,
    request: VaultRequest,
) -> Option<VaultReply> {
    let mut record = record.lock().unwrap();
    Some(match request {
        VaultRequest::EnclaveState => VaultReply::EnclaveState(EnclaveState {
            key: key(),
            record: *record,
        }),
        VaultRequest::RecordEnclaveState(asked) => {
            if *record != Some(asked) {
                assert_eq!(StateRecord::next_after(record.as_ref()), Some(asked.number));
            }
            match becomes {
                Recording::Lost => {
                    return Some(VaultReply::Refused(VaultRefusal::DeviceAway("".into())));
                }
                Recording::Unanswered => {
                    *record = Some(asked);
                    return None;
                }
                Recording::Recorded => *record = Some(asked),
            }
            VaultReply::Done
        }
        VaultRequest::ResetEnclaveState => {
            *record = None;
            VaultReply::Done
        }
        other => panic!("{other:?}"),
    })
}

#[test]
fn the_newest_is_what_is_loaded() {
    let rig = Rig::new();
    assert_eq!(rig.loaded(), (0, None));
    for number in 1..5 {
        let sealed = format!("state {number}");
        rig.kept.store(number, sealed.as_bytes()).unwrap();
        // The answer was lost.
        rig.kept.store(number, sealed.as_bytes()).unwrap();
        assert_eq!(rig.loaded(), (number, Some(sealed.into())));
    }
}

#[test]
fn what_does_not_come_next_is_refused_and_overwrites_nothing() {
    let rig = Rig::new();
    rig.kept.store(1, b"one").unwrap();
    rig.kept.store(2, b"two").unwrap();
    for number in [0, 1, 2, 4, u64::MAX] {
        let refused = rig.kept.store(number, b"other");
        let order = CardRefusal::StateOrder {
            recorded: 2,
            asked: number,
        };
        assert_eq!(refused, Err(order));
        assert_eq!(rig.loaded(), (2, Some(b"two".to_vec())));
    }
    let large = vec![0; StateRecord::MAX_SEALED + 1];
    let refused = rig.kept.store(3, &large);
    assert!(matches!(refused, Err(CardRefusal::State(_))), "{refused:?}");
    assert_eq!(rig.loaded(), (2, Some(b"two".to_vec())));
}

#[test]
fn a_crash_before_the_record_leaves_the_state_before() {
    let rig = Rig::new();
    for lost in [1, 2, 3] {
        rig.becomes(Recording::Lost);
        for remnant in [b"a remnant".as_slice(), b"another"] {
            let refused = rig.kept.store(lost, remnant).unwrap_err();
            assert!(matches!(refused, CardRefusal::VaultAway(_)), "{refused}");
            let before = format!("state {}", lost - 1).into_bytes();
            let before = (lost > 1).then_some(before);
            assert_eq!(rig.loaded(), (lost - 1, before));
        }
        rig.becomes(Recording::Recorded);
        let sealed = format!("state {lost}");
        rig.kept.store(lost, sealed.as_bytes()).unwrap();
    }
}

#[test]
fn a_crash_after_the_record_leaves_the_new_state() {
    let rig = Rig::new();
    rig.kept.store(1, b"one").unwrap();
    rig.becomes(Recording::Unanswered);
    let unanswered = rig.kept.store(2, b"two").unwrap_err();
    assert!(
        matches!(unanswered, CardRefusal::VaultAway(_)),
        "{unanswered}"
    );
    assert_eq!(rig.loaded(), (2, Some(b"two".to_vec())));
    // It is told of again, and goes on.
    rig.becomes(Recording::Recorded);
    rig.kept.store(2, b"two").unwrap();
    rig.kept.store(3, b"three").unwrap();
    assert_eq!(rig.loaded(), (3, Some(b"three".to_vec())));
}

#[test]
fn files_that_are_gone_altered_or_older_fit_nothing() {
    let rig = Rig::new();
    for number in 1..=4 {
        let sealed = format!("state {number}");
        rig.kept.store(number, sealed.as_bytes()).unwrap();
    }
    let newest = rig.file(4);
    let good = fs::read(&newest).unwrap();
    // Known attack: the state of before, which was good once, in either place.
    for older in ["state 2", "state 3", "state 4 "] {
        fs::write(&newest, older).unwrap();
        assert_eq!(rig.loaded(), (4, None));
    }
    fs::rename(&newest, rig.folder.path().join("elsewhere")).unwrap();
    assert_eq!(rig.loaded(), (4, None));
    fs::write(&newest, vec![0; StateRecord::MAX_SEALED + 1]).unwrap();
    assert_eq!(rig.loaded(), (4, None));
    fs::write(&newest, good).unwrap();
    assert_eq!(rig.loaded(), (4, Some(b"state 4".to_vec())));
    // The enclave that has it may have it kept again.
    fs::remove_file(&newest).unwrap();
    rig.kept.store(4, b"state 4").unwrap();
    assert_eq!(rig.loaded(), (4, Some(b"state 4".to_vec())));
}

#[test]
fn a_reset_begins_with_none() {
    let rig = Rig::new();
    rig.kept.store(1, b"one").unwrap();
    rig.kept.store(2, b"two").unwrap();
    rig.kept.reset().unwrap();
    assert_eq!(rig.loaded(), (0, None));
    assert!(!rig.file(1).exists() && !rig.file(2).exists());
    rig.kept.reset().unwrap();
    let stale = rig.kept.store(3, b"three");
    assert!(
        matches!(stale, Err(CardRefusal::StateOrder { .. })),
        "{stale:?}"
    );
    rig.kept.store(1, b"anew").unwrap();
    assert_eq!(rig.loaded(), (1, Some(b"anew".to_vec())));
}

#[tokio::test(start_paused = true)]
async fn states_without_end_wait_for_their_turns() {
    let rig = Rig::new();
    let begun = Instant::now();
    for _ in 0..AT_ONCE {
        rig.kept.turn().await;
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    for _ in 0..10 {
        rig.kept.turn().await;
    }
    // The clock of this test goes only where somebody waits.
    assert!(begun.elapsed() >= PAUSE * 9);
    tokio::time::advance(PAUSE * AT_ONCE * 2).await;
    let rested = Instant::now();
    for _ in 0..AT_ONCE {
        rig.kept.turn().await;
    }
    assert_eq!(rested.elapsed(), Duration::ZERO);
}
