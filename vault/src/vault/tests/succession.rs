//! A card's identity goes from one key to the next, and the host stays who it is.

use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::thread;

use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::keys::{BegunSuccession, KeyKind};
use bartizan_attestation::succession::Successor;
use bartizan_attestation::vault_counter::{Machine, Statement};

use super::watched::Watched;
use super::*;

pub(super) fn begin(vault: &Vault, next: NextKey, now: u64) -> VaultReply {
    vault.answer(VaultRequest::BeginSuccession { next }, now)
}

pub(super) fn begun(vault: &Vault, next: NextKey, now: u64) -> BegunSuccession {
    match begin(vault, next, now) {
        VaultReply::Succession(begun) => begun,
        other => panic!("{other:?}"),
    }
}

fn issue(verifier: &Vault, succession: Vec<u8>, now: u64) -> VaultReply {
    verifier.answer(VaultRequest::IssueSuccessor { succession }, now)
}

fn install(host: &Vault, chain: Vec<Vec<u8>>, fleet_ca: &[u8], now: u64) -> VaultReply {
    let install = VaultRequest::InstallCardIdentity {
        chain: chain.into_iter().map(ByteVec::from).collect(),
        fleet_ca: fleet_ca.to_vec(),
    };
    host.answer(install, now)
}

/// Goes all the way; answers the new certificate.
fn succeed(verifier: &Vault, host: &Vault, ca: &FleetCa, next: NextKey, now: u64) -> Vec<u8> {
    let begun = begun(host, next, now);
    let chain = certificates(issue(verifier, begun.signed.to_vec(), now));
    certificates(install(host, chain, ca.der(), now)).remove(0)
}

/// The card identity keys of a vault, and whether each has its certificate.
fn identities(vault: &Vault) -> Vec<([u8; 32], bool)> {
    let VaultReply::Description { keys, .. } = vault.answer(VaultRequest::Describe, NOW) else {
        panic!("no description");
    };
    let identities = (keys.into_iter()).filter(|key| key.purpose == Purpose::CardIdentity);
    identities
        .map(|key| (*key.id, !key.chain.is_empty()))
        .collect()
}

/// What became of a card identity key.
fn told(vault: &Vault, id: &[u8; 32]) -> Vec<&'static str> {
    let VaultReply::History(events) = vault.answer(VaultRequest::History, NOW) else {
        panic!("no history");
    };
    let of_it = (events.iter()).filter(|event| event.kind == KeyKind::Card && *event.id == *id);
    of_it.map(|event| event.what.word()).collect()
}

fn report_key(vault: &Vault, now: u64) -> VaultReply {
    let certify = VaultRequest::CertifyReportKey {
        csr: EphemeralKey::generate().unwrap().csr().unwrap(),
        guest: guest(vault),
        launch_measurement: Digest(vec![1; 48]),
        lifetime_s: 60,
    };
    vault.answer(certify, now)
}

fn is_refused(reply: VaultReply) -> bool {
    matches!(refusal(reply), VaultRefusal::NotSignable(_))
}

#[test]
fn a_host_stays_who_it_is_and_its_former_key_is_destroyed() {
    let (verifier, host, ca) = fleet();
    let (before, first) = (guest(&host.vault), identities(&host.vault)[0].0);
    let begun = begun(&host.vault, NextKey::New, NOW);
    let waiting = identities(&host.vault)[1];
    assert!(!waiting.1);
    // The former one goes on signing until the next has its certificate.
    let chain = certificates(report_key(&host.vault, NOW));
    let by_first = verify_chain(&chain, &ca, NOW, Usage::ReportKey).unwrap();
    assert_eq!(by_first.card_key, Some(first));

    let next = certificates(issue(&verifier.vault, begun.signed.to_vec(), NOW));
    let issued = verify_chain(&next, &ca, NOW, Usage::Card).unwrap();
    assert_eq!(
        (issued.card, issued.card_key),
        (Some(before.card), Some(waiting.0))
    );
    assert_eq!(issued.common_name, "host-1");
    assert_eq!(issued.vault, Some(VaultKind::Software));
    certificates(install(&host.vault, next, ca.der(), NOW));
    assert_eq!(identities(&host.vault), [(waiting.0, true)]);
    assert_eq!(guest(&host.vault), before, "the card is the same");
    let first_told = told(&host.vault, &first);
    assert_eq!(first_told, ["made", "certified", "superseded", "destroyed"]);
    assert_eq!(told(&host.vault, &waiting.0), ["made", "certified"]);

    // What the next one certifies is of the same card, after a restart, too.
    let Opened { vault, folder } = host;
    drop(vault);
    let vault = again(Role::Host, &folder);
    let chain = certificates(report_key(&vault, NOW));
    let by_next = verify_chain(&chain, &ca, NOW, Usage::ReportKey).unwrap();
    assert_eq!(
        (by_next.card, by_next.card_key),
        (Some(before.card), Some(waiting.0))
    );
}

#[test]
fn an_identity_goes_from_key_to_key() {
    let (verifier, host, ca) = fleet();
    let before = guest(&host.vault).card;
    let mut keys = vec![identities(&host.vault)[0].0];
    for turn in 1..=5 {
        let certificate = succeed(&verifier.vault, &host.vault, &ca, NextKey::New, NOW + turn);
        let verified = verify_chain(&[certificate], &ca, NOW + turn, Usage::Card).unwrap();
        assert_eq!(verified.card, Some(before));
        keys.extend(verified.card_key);
    }
    let made = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), made, "a key came twice");
    assert_eq!(identities(&host.vault).len(), 1);
}

#[test]
fn an_identity_is_renewed_with_the_key_that_it_has() {
    let (verifier, host, ca) = fleet();
    // The first key, and one that came after it: whose certificate does not name it by its hash.
    for half in [NOW + YEAR_S / 2, NOW + YEAR_S] {
        let (before, key) = (guest(&host.vault), identities(&host.vault));
        let stale = begun(&host.vault, NextKey::Same, half);
        let stale = certificates(issue(&verifier.vault, stale.signed.to_vec(), half - 60));
        let renewed = succeed(&verifier.vault, &host.vault, &ca, NextKey::Same, half);
        assert_eq!(guest(&host.vault), before, "the card is the same");
        assert_eq!(identities(&host.vault), key, "so is its key");
        let earlier = install(&host.vault, stale, ca.der(), half);
        assert!(is_refused(earlier), "an earlier end");
        let verified = verify_chain(&[renewed], &ca, half, Usage::Card).unwrap();
        assert_eq!(verified.not_after, half + YEAR_S);
        succeed(&verifier.vault, &host.vault, &ca, NextKey::New, half + 1);
    }
    // What the card certifies when the first certificate has ended, and after a restart.
    let Opened { vault, folder } = host;
    drop(vault);
    let (vault, late) = (again(Role::Host, &folder), NOW + YEAR_S + YEAR_S / 2);
    let rotate = VaultRequest::RotateTlsClient { lifetime_s: 60 };
    let chain = certificates(vault.answer(rotate, late));
    verify_chain(&chain, &ca, late, Usage::TlsClient).unwrap();
}

#[test]
fn what_was_begun_is_resumed_and_never_piles_up() {
    let (verifier, host, ca) = fleet();
    let named = |begun: &BegunSuccession| {
        let signed = begun.signed.to_vec();
        let verified = bartizan_attestation::succession::verify(&signed, &ca, NOW);
        verified.unwrap().next
    };
    let first = begun(&host.vault, NextKey::New, NOW);
    let next = named(&first);
    for wish in [NextKey::New, NextKey::Same] {
        let again = begun(&host.vault, wish, NOW);
        assert_eq!(named(&again), next, "another key");
    }
    // After a crash, too.
    let Opened { vault, folder } = host;
    drop(vault);
    let vault = again(Role::Host, &folder);
    let resumed = begun(&vault, NextKey::New, NOW);
    assert_eq!(named(&resumed), next);
    assert_eq!(identities(&vault).len(), 2);
    // An answer to any of the messages will do.
    let chain = certificates(issue(&verifier.vault, first.signed.to_vec(), NOW));
    certificates(install(&vault, chain, ca.der(), NOW));
    assert_eq!(identities(&vault), [(next.sha256(), true)]);
}

#[test]
fn where_the_key_in_use_names_none_no_key_waits() {
    let (_verifier, host, _ca) = fleet();
    let Opened { vault, folder } = host;
    drop(vault);
    let (vault, watched) = Watched::again(Role::Host, &folder);
    let before = identities(&vault);
    // The next key's own signature is the first, that of the key in use the second.
    for signs in 0..2 {
        watched.signs.store(signs, Ordering::SeqCst);
        let refused = refusal(begin(&vault, NextKey::New, NOW));
        assert!(matches!(refused, VaultRefusal::DeviceAway(_)), "{refused}");
        assert_eq!(identities(&vault), before);
        assert_eq!(watched.destroyed.load(Ordering::SeqCst), signs + 1);
    }
    watched.signs.store(usize::MAX, Ordering::SeqCst);
    begun(&vault, NextKey::New, NOW);
    assert_eq!(identities(&vault).len(), 2);
}

#[test]
fn a_device_that_is_away_refuses_nothing_for_what_was_asked() {
    let (verifier, host, _ca) = fleet();
    drop((verifier.vault, host.vault));
    let (verifier, of_verifier) = Watched::again(Role::Verifier, &verifier.folder);
    let (host, of_host) = Watched::again(Role::Host, &host.folder);
    of_host.signs.store(0, Ordering::SeqCst);
    for reply in [
        report_key(&host, NOW),
        begin(&host, NextKey::Same, NOW),
        host.answer(
            VaultRequest::StateCounter {
                machine: Machine::new("host-1".into(), [5; 16]).unwrap(),
            },
            NOW,
        ),
    ] {
        let refused = refusal(reply);
        assert!(matches!(refused, VaultRefusal::DeviceAway(_)), "{refused}");
    }
    of_host.signs.store(usize::MAX, Ordering::SeqCst);
    let begun = begun(&host, NextKey::Same, NOW);
    of_verifier.signs.store(0, Ordering::SeqCst);
    let refused = refusal(issue(&verifier, begun.signed.to_vec(), NOW));
    assert!(matches!(refused, VaultRefusal::DeviceAway(_)), "{refused}");
}

#[test]
fn only_a_hosts_vault_with_an_identity_begins() {
    let host = open(Role::Host);
    let no_identity = |reply| matches!(refusal(reply), VaultRefusal::NoKey { .. });
    for next in [NextKey::Same, NextKey::New] {
        assert!(no_identity(begin(&host.vault, next, NOW)));
    }
    host.vault.answer(VaultRequest::CreateCardIdentity, NOW);
    for next in [NextKey::Same, NextKey::New] {
        let reply = begin(&host.vault, next, NOW);
        assert!(no_identity(reply), "it waits for its first certificate");
    }
    let (verifier, host, _) = fleet();
    let wrong = |reply| matches!(refusal(reply), VaultRefusal::WrongRole { .. });
    assert!(wrong(begin(&verifier.vault, NextKey::New, NOW)));
    let signed = begun(&host.vault, NextKey::New, NOW).signed.to_vec();
    assert!(wrong(issue(&host.vault, signed, NOW)));
    let create = host.vault.answer(VaultRequest::CreateCardIdentity, NOW);
    assert!(matches!(refusal(create), VaultRefusal::Exists { .. }));
}

/// Known attack: whoever took the verifier over gives the host's identity to a key of their own.
#[test]
fn no_successor_is_issued_that_the_present_key_did_not_name() {
    let (verifier, host, ca) = fleet();
    let (_, foreign, _) = fleet();
    let mallory = EphemeralKey::generate().unwrap();
    let VaultReply::Description { keys, .. } = host.vault.answer(VaultRequest::Describe, NOW)
    else {
        panic!("no description");
    };
    let chain: Vec<_> = keys[0].chain.iter().map(|der| der.to_vec()).collect();
    let own = Successor::new(mallory.csr().unwrap());
    let own = own.sign(&chain, &mallory).unwrap();
    assert!(is_refused(issue(&verifier.vault, own, NOW)));
    let theirs = begun(&foreign.vault, NextKey::New, NOW).signed.to_vec();
    let other_fleet = issue(&verifier.vault, theirs, NOW);
    assert!(is_refused(other_fleet), "of another fleet CA");
    let signed = begun(&host.vault, NextKey::New, NOW).signed.to_vec();
    let late = issue(&verifier.vault, signed.clone(), NOW + YEAR_S + 1);
    assert!(is_refused(late), "the present certificate has ended");
    assert!(is_refused(issue(&verifier.vault, Vec::new(), NOW)));
    let mut altered = signed.clone();
    *altered.last_mut().unwrap() ^= 1;
    assert!(is_refused(issue(&verifier.vault, altered, NOW)));
    // And by the way that first certificates are issued nobody gets this card's id.
    let enrol = VaultRequest::IssueHost {
        csr: mallory.csr().unwrap(),
        name: "host-1".into(),
        vault: VaultKind::Software,
    };
    let enrolled = certificates(verifier.vault.answer(enrol, NOW));
    let enrolled = verify_chain(&enrolled, &ca, NOW, Usage::Card).unwrap();
    assert_ne!(enrolled.card, Some(guest(&host.vault).card));
    certificates(issue(&verifier.vault, signed, NOW));
}

#[test]
fn nothing_is_installed_but_the_cards_own() {
    let (verifier, host, ca) = fleet();
    let signed = begun(&host.vault, NextKey::New, NOW).signed.to_vec();
    let waiting = identities(&host.vault)[1].0;
    // The next key enrolled as a host of its own: another card, with the key that waits here.
    let payload = bartizan_attestation::succession::verify(&signed, &ca, NOW).unwrap();
    assert_eq!(payload.next.sha256(), waiting);
    let message = bartizan_attestation::cose::Unverified::parse(
        &signed,
        bartizan_attestation::cose::MessageType::Succession,
    );
    let present: PublicKey = payload.present.public_key.clone();
    let payload = message.unwrap().verify(&present).unwrap();
    let enrol = VaultRequest::IssueHost {
        csr: Successor::decode(&payload).unwrap().csr,
        name: "host-1".into(),
        vault: VaultKind::Software,
    };
    let another = certificates(verifier.vault.answer(enrol, NOW));
    assert!(is_refused(install(&host.vault, another, ca.der(), NOW)));
    // By whoever made a fleet of their own and has the card's process.
    let theirs = open(Role::Verifier);
    let name = "theirs".into();
    let create = VaultRequest::CreateFleetCa { name };
    let their_ca = certificates(theirs.vault.answer(create, NOW)).remove(0);
    let enrol = VaultRequest::IssueHost {
        csr: Successor::decode(&payload).unwrap().csr,
        name: "host-1".into(),
        vault: VaultKind::Software,
    };
    let foreign = certificates(theirs.vault.answer(enrol, NOW + 1));
    assert!(is_refused(install(
        &host.vault,
        foreign,
        &their_ca,
        NOW + 1
    )));
    assert_eq!(identities(&host.vault).len(), 2, "nothing was destroyed");
    certificates(report_key(&host.vault, NOW));
}

#[test]
fn the_counter_goes_on_over_a_succession() {
    let (verifier, host, ca) = fleet();
    let stated = |now| {
        let machine = Machine::new("rack1-07".into(), [5; 16]).unwrap();
        let state = VaultRequest::StateCounter { machine };
        match host.vault.answer(state, now) {
            VaultReply::Statement(signed) => {
                Statement::verify(&signed, guest(&host.vault).card, &ca, now).unwrap()
            }
            other => panic!("{other:?}"),
        }
    };
    let take = |counter, mark| {
        let take = VaultRequest::TakeMark { counter, mark };
        assert_eq!(host.vault.answer(take, NOW), VaultReply::Done);
    };
    assert_eq!(stated(NOW).counter, 1);
    take(1, [11; 32]);
    let waits = stated(NOW);
    succeed(&verifier.vault, &host.vault, &ca, NextKey::New, NOW);
    assert_eq!(stated(NOW), waits, "the same, by the next key");
    take(2, [12; 32]);
    let after = stated(NOW);
    assert_eq!((after.counter, after.mark), (3, [12; 32]));
}

/// What took the former key up before it was destroyed is done with it; nothing fails.
#[test]
fn requests_under_way_are_not_broken() {
    let (verifier, host, ca) = fleet();
    let beginning = Barrier::new(5);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                beginning.wait();
                for _ in 0..50 {
                    let chain = certificates(report_key(&host.vault, NOW));
                    verify_chain(&chain, &ca, NOW, Usage::ReportKey).unwrap();
                }
            });
        }
        beginning.wait();
        for _ in 0..20 {
            succeed(&verifier.vault, &host.vault, &ca, NextKey::New, NOW);
        }
    });
    assert_eq!(identities(&host.vault).len(), 1);
}

/// The verifier may know the next one already: without it the host would be shut out with the end of the overlap.
#[test]
fn a_key_that_waits_is_not_given_up_for_the_one_in_use() {
    let (verifier, host, ca) = fleet();
    let renewal = begun(&host.vault, NextKey::Same, NOW);
    let renewed = certificates(issue(&verifier.vault, renewal.signed.to_vec(), NOW));
    let next = begun(&host.vault, NextKey::New, NOW);
    let waiting = identities(&host.vault)[1];
    assert!(is_refused(install(&host.vault, renewed, ca.der(), NOW)));
    assert_eq!(identities(&host.vault)[1], waiting);
    let chain = certificates(issue(&verifier.vault, next.signed.to_vec(), NOW));
    certificates(install(&host.vault, chain, ca.der(), NOW));
    assert_eq!(identities(&host.vault), [(waiting.0, true)]);
}
