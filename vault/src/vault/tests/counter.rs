//! The counter by which a copy is noticed.

use std::fs;

use bartizan_attestation::vault_counter::{FIRST_MARK, Machine, Statement};

use super::*;

fn state(vault: &Vault) -> VaultReply {
    let machine = Machine::new("rack1-07".into(), [5; 16]).unwrap();
    vault.answer(VaultRequest::StateCounter { machine }, NOW)
}

/// What it states, as the verifier reads it.
fn stated(vault: &Vault, ca: &FleetCa) -> Statement {
    match state(vault) {
        VaultReply::Statement(signed) => {
            Statement::verify(&signed, guest(vault).card, ca, NOW).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn take(vault: &Vault, counter: u64, mark: u8) -> VaultReply {
    let mark = [mark; 32];
    vault.answer(VaultRequest::TakeMark { counter, mark }, NOW)
}

#[test]
fn a_statement_is_repeated_until_it_is_answered() {
    let (_, host, ca) = fleet();
    let first = stated(&host.vault, &ca);
    assert_eq!((first.counter, first.mark), (1, FIRST_MARK));
    assert_eq!(first.machine.name(), "rack1-07");
    assert_eq!(stated(&host.vault, &ca), first);
    // After a crash, too: it may have left.
    let vault = again(Role::Host, &host.folder);
    assert_eq!(stated(&vault, &ca), first);
    assert_eq!(take(&vault, 1, 11), VaultReply::Done);
    // The answer to this was lost.
    assert_eq!(take(&vault, 1, 11), VaultReply::Done);
    let vault = again(Role::Host, &host.folder);
    let second = stated(&vault, &ca);
    assert_eq!((second.counter, second.mark), (2, [11; 32]));
    assert_ne!(second.random, first.random);
}

#[test]
fn a_mark_of_another_statement_is_not_taken() {
    let (_, host, ca) = fleet();
    let is_refused = |reply| matches!(refusal(reply), VaultRefusal::NotSignable(_));
    assert!(is_refused(take(&host.vault, 1, 11)), "nothing was stated");
    assert!(is_refused(take(&host.vault, 0, 0)), "there is no such");
    stated(&host.vault, &ca);
    assert!(is_refused(take(&host.vault, 2, 11)));
    assert_eq!(take(&host.vault, 1, 11), VaultReply::Done);
    assert!(is_refused(take(&host.vault, 1, 12)), "it has its mark");
    assert_eq!(stated(&host.vault, &ca).mark, [11; 32]);
}

#[test]
fn a_copy_goes_on_from_what_the_other_used_up() {
    let (_, host, ca) = fleet();
    stated(&host.vault, &ca);
    assert_eq!(take(&host.vault, 1, 11), VaultReply::Done);
    let copied = tempfile::tempdir().unwrap();
    for file in ["keys", "root.key"] {
        fs::copy(host.folder.path().join(file), copied.path().join(file)).unwrap();
    }
    let copy = again(Role::Host, &copied);
    let [one, other] = [&host.vault, &copy].map(|vault| stated(vault, &ca));
    assert_eq!((one.counter, one.mark), (other.counter, other.mark));
    assert_ne!(one.random, other.random);
}

#[test]
fn only_a_hosts_vault_with_an_identity_states_anything() {
    let (verifier, ..) = fleet();
    let wrong = refusal(state(&verifier.vault));
    assert!(matches!(wrong, VaultRefusal::WrongRole { .. }), "{wrong}");
    let wrong = refusal(state(&open(Role::Host).vault));
    assert!(matches!(wrong, VaultRefusal::NoKey { .. }), "{wrong}");
}
