//! The enclave's state: its key and its newest number, over restarts, rotations and what is put back.

use std::fs;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::keys::{EnclaveState, StateRecord};
use bartizan_attestation::vault_counter::{Machine, Statement};

use super::*;

fn state(vault: &Vault) -> EnclaveState {
    match vault.answer(VaultRequest::EnclaveState, NOW) {
        VaultReply::EnclaveState(state) => state,
        other => panic!("{other:?}"),
    }
}

fn numbered(number: u64, blob: &[u8]) -> StateRecord {
    let digest = Sha384::of(blob);
    StateRecord { number, digest }
}

fn record(vault: &Vault, record: StateRecord) -> VaultReply {
    vault.answer(VaultRequest::RecordEnclaveState(record), NOW)
}

fn order(reply: VaultReply) -> (u64, u64) {
    match refusal(reply) {
        VaultRefusal::StateOrder { recorded, asked } => (recorded, asked),
        other => panic!("{other}"),
    }
}

#[test]
fn numbers_go_up_by_one_and_survive_a_restart() {
    let (_, host, _) = fleet();
    let vault = &host.vault;
    let first = state(vault);
    assert_eq!(first.record, None);
    assert_eq!(state(vault).key, first.key, "it is drawn once");
    let one = numbered(1, b"one");
    assert_eq!(order(record(vault, numbered(2, b"one"))), (0, 2));
    assert_eq!(order(record(vault, numbered(0, b"one"))), (0, 0));
    assert_eq!(record(vault, one), VaultReply::Done);
    // The answer was lost.
    assert_eq!(record(vault, one), VaultReply::Done);
    assert_eq!(order(record(vault, numbered(1, b"other"))), (1, 1));
    assert_eq!(order(record(vault, numbered(3, b"three"))), (1, 3));
    let vault = again(Role::Host, &host.folder);
    let (key, kept) = (first.key, Some(one));
    assert_eq!(state(&vault), EnclaveState { key, record: kept });
    assert_eq!(record(&vault, numbered(2, b"two")), VaultReply::Done);
    assert_eq!(order(record(&vault, one)), (2, 1), "a step back");
    let last = numbered(u64::MAX, b"last");
    assert_eq!(order(record(&vault, last)), (2, u64::MAX));
}

/// Nobody has a number before the key: whoever records one has asked for what it is sealed with.
#[test]
fn nothing_is_recorded_before_it_was_begun() {
    let (_, host, _) = fleet();
    assert_eq!(order(record(&host.vault, numbered(1, b"one"))), (0, 1));
    assert_eq!(state(&host.vault).record, None);
}

#[test]
fn the_key_outlasts_rotations_and_differs_between_hosts() {
    let (_, host, _) = fleet();
    let before = state(&host.vault);
    record(&host.vault, numbered(1, b"one"));
    let in_file = || fs::read(host.folder.path().join("keys")).unwrap();
    assert!(!contains(&in_file(), before.key.bytes()));
    for _ in 0..2 {
        let rotated = host.vault.answer(VaultRequest::RotateSealing, NOW);
        assert_eq!(rotated, VaultReply::Done);
        assert_eq!(state(&host.vault).key, before.key);
    }
    let vault = again(Role::Host, &host.folder);
    assert_eq!(state(&vault).key, before.key);
    assert_eq!(state(&vault).record, Some(numbered(1, b"one")));
    let (_, other, _) = fleet();
    assert_ne!(state(&other.vault).key, before.key);
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|part| part == needle)
}

#[test]
fn a_reset_forgets_the_state_and_its_key() {
    let (_, host, _) = fleet();
    let before = state(&host.vault);
    record(&host.vault, numbered(1, b"one"));
    record(&host.vault, numbered(2, b"two"));
    let reset = host.vault.answer(VaultRequest::ResetEnclaveState, NOW);
    assert_eq!(reset, VaultReply::Done);
    let vault = again(Role::Host, &host.folder);
    let after = state(&vault);
    assert_eq!(after.record, None);
    assert_ne!(
        after.key, before.key,
        "what was sealed before is opened again"
    );
    assert_eq!(order(record(&vault, numbered(3, b"three"))), (0, 3));
    assert_eq!(record(&vault, numbered(1, b"anew")), VaultReply::Done);
}

/// An enclave that has begun with no state seals its first one by the key that it was handed.
#[test]
fn a_reset_of_nothing_leaves_the_key() {
    let (_, host, _) = fleet();
    let before = state(&host.vault);
    let reset = host.vault.answer(VaultRequest::ResetEnclaveState, NOW);
    assert_eq!(reset, VaultReply::Done);
    assert_eq!(record(&host.vault, numbered(1, b"one")), VaultReply::Done);
    assert_eq!(state(&host.vault).key, before.key);
}

#[test]
fn only_a_hosts_vault_with_an_identity_keeps_one() {
    let (verifier, ..) = fleet();
    for request in [
        VaultRequest::EnclaveState,
        VaultRequest::RecordEnclaveState(numbered(1, b"one")),
        VaultRequest::ResetEnclaveState,
    ] {
        let wrong = refusal(verifier.vault.answer(request.clone(), NOW));
        assert!(matches!(wrong, VaultRefusal::WrongRole { .. }), "{wrong}");
        let wrong = refusal(open(Role::Host).vault.answer(request, NOW));
        assert!(matches!(wrong, VaultRefusal::NoKey { .. }), "{wrong}");
    }
}

/// A store of before, as a whole, knows an older state, and is noticed as every copy is: it goes on from a statement that was answered.
#[test]
fn an_older_store_that_is_put_back_goes_on_from_what_was_used_up() {
    let (_, host, ca) = fleet();
    let stated = |vault: &Vault| {
        let machine = Machine::new("rack1-07".into(), [5; 16]).unwrap();
        match vault.answer(VaultRequest::StateCounter { machine }, NOW) {
            VaultReply::Statement(signed) => {
                Statement::verify(&signed, guest(vault).card, &ca, NOW).unwrap()
            }
            other => panic!("{other:?}"),
        }
    };
    state(&host.vault);
    record(&host.vault, numbered(1, b"one"));
    let store = host.folder.path().join("keys");
    let older = fs::read(&store).unwrap();
    record(&host.vault, numbered(2, b"two"));
    let first = stated(&host.vault);
    let (counter, mark) = (first.counter, [11; 32]);
    let taken = host
        .vault
        .answer(VaultRequest::TakeMark { counter, mark }, NOW);
    assert_eq!(taken, VaultReply::Done);
    fs::write(&store, &older).unwrap();
    let vault = again(Role::Host, &host.folder);
    assert_eq!(state(&vault).record, Some(numbered(1, b"one")));
    let second = stated(&vault);
    assert_eq!(second.counter, first.counter);
    assert_ne!(second.random, first.random);
    // Altered, rather than older: it is not opened at all.
    let mut altered = older;
    let at = altered
        .windows(48)
        .position(|part| part == Sha384::of(b"one").0)
        .unwrap();
    altered[at] ^= 1;
    fs::write(&store, altered).unwrap();
    let root = RootKey::from_file(&host.folder.path().join("root.key")).unwrap();
    let opened = StoredKeyring::read(&store).unwrap();
    opened.open(Arc::new(Software::new(root))).err().unwrap();
}
