//! One fleet CA after the other.

use std::process::Command;

use bartizan_attestation::certificates::{ChainError, Lineage};
use bartizan_attestation::rotation::{RotationOrder, RotationRefusal, sign_rotation};

use super::succession::begun;
use super::*;

/// An operator of a fleet.
struct Operator {
    key: EphemeralKey,
    chain: Vec<Vec<u8>>,
}

impl Operator {
    /// The first of a fleet.
    fn first(vault: &Vault) -> Self {
        let key = EphemeralKey::generate().unwrap();
        let (csr, name) = (key.csr().unwrap(), "alice".into());
        let chain = certificates(vault.answer(VaultRequest::IssueOperator { csr, name }, NOW));
        Self { key, chain }
    }

    /// The same name and key, certified by the present CA.
    fn anew(&self, vault: &Vault, now: u64) -> Self {
        let (csr, name) = (self.key.csr().unwrap(), "alice".into());
        let chain = certificates(vault.answer(VaultRequest::IssueOperator { csr, name }, now));
        let key = EphemeralKey::from_pkcs8_der(self.key.pkcs8_der()).unwrap();
        Self { key, chain }
    }

    fn order(&self, fleet_ca: &[u8], now: u64) -> VaultRequest {
        let order = RotationOrder {
            version: RotationOrder::VERSION,
            fleet_ca: sha256(fleet_ca),
            expires_at: now + 120,
        };
        let order = sign_rotation(&order, &self.chain, &self.key).unwrap();
        VaultRequest::RotateFleetCa { order }
    }
}

fn lineage(reply: VaultReply) -> Lineage {
    match reply {
        VaultReply::FleetCas(Some(lineage)) => lineage,
        other => panic!("{other:?}"),
    }
}

fn described(vault: &Vault) -> Lineage {
    lineage(vault.answer(VaultRequest::DescribeFleetCas, NOW))
}

fn rotate(vault: &Vault, operator: &Operator, now: u64) -> Lineage {
    let present = described(vault).present;
    lineage(vault.answer(operator.order(&present, now), now))
}

fn anchor(lineage: &Lineage) -> FleetCa {
    let present = FleetCa::from_der(&lineage.present).unwrap();
    present.with_lineage(lineage).unwrap()
}

fn roll(host: &Vault, lineage: &Lineage, now: u64) -> VaultReply {
    let lineage = lineage.clone();
    host.answer(VaultRequest::RollFleetCa { lineage }, now)
}

fn events(vault: &Vault) -> Vec<(String, &'static str)> {
    let VaultReply::History(events) = vault.answer(VaultRequest::History, NOW) else {
        panic!("no history");
    };
    let of_cas = events.iter().filter(|event| event.kind == KeyKind::FleetCa);
    of_cas
        .map(|event| (hex(&*event.id), event.what.word()))
        .collect()
}

#[test]
fn who_pins_either_ca_verifies_what_either_certified() {
    let (verifier, host, old) = fleet();
    let alice = Operator::first(&verifier.vault);
    let rotated = rotate(&verifier.vault, &alice, NOW);
    assert_eq!(described(&verifier.vault), rotated);
    let new = anchor(&rotated);
    assert_ne!(new.sha256(), old.sha256());
    let token = VaultRequest::RotateToken { lifetime_s: 60 };
    let token = certificates(verifier.vault.answer(token, NOW));
    assert!(verify_chain(&token, &new.alone(), NOW, Usage::Token).is_ok());
    let outcome = verify_chain(&token, &old, NOW, Usage::Token);
    assert_eq!(outcome, Err(ChainError::ForeignCa));
    let client = VaultRequest::RotateTlsClient { lifetime_s: 60 };
    let client = certificates(host.vault.answer(client, NOW));
    for ca in [&new, &old.with_lineage(&rotated).unwrap()] {
        for (chain, usage) in [
            (&token, Usage::Token),
            (&alice.chain, Usage::Operator),
            (&client, Usage::TlsClient),
        ] {
            let outcome = verify_chain(chain, ca, NOW, usage);
            assert!(outcome.is_ok(), "{usage:?}: {outcome:?}");
        }
    }
}

/// As anybody's tools see it.
#[test]
fn openssl_follows_the_links_both_ways() {
    let (verifier, _, old) = fleet();
    let alice = Operator::first(&verifier.vault);
    let server = || {
        let names = vec!["verifier.example".into()];
        let lifetime_s = 60;
        let server = VaultRequest::RotateTlsServer { names, lifetime_s };
        certificates(verifier.vault.answer(server, NOW)).remove(0)
    };
    let old_server = server();
    let rotated = rotate(&verifier.vault, &alice, NOW);
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let pem = |name: &str, der: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(path.with_extension("der"), der).unwrap();
        let converted = Command::new("openssl")
            .args(["x509", "-inform", "DER", "-in"])
            .arg(path.with_extension("der"))
            .arg("-out")
            .arg(&path)
            .status();
        assert!(converted.unwrap().success());
        path
    };
    let former = &rotated.former[0];
    let (old_ca, new_ca) = (pem("old", old.der()), pem("new", &rotated.present));
    let (forward, backward) = (
        pem("forward", &former.new_with_old),
        pem("backward", &former.old_with_new),
    );
    let (by_old, by_new) = (pem("alice", &alice.chain[0]), pem("server", &server));
    let old_server = pem("old-server", &old_server);
    let (server, client) = ("sslserver", "sslclient");
    for (ca, link, leaf, purpose, right) in [
        (&old_ca, Some(&forward), &by_new, server, true),
        (&new_ca, Some(&backward), &by_old, client, true),
        (&new_ca, None, &by_new, server, true),
        (&old_ca, None, &by_new, server, false),
        // A former CA makes no servers for who has followed.
        (&old_ca, None, &old_server, server, true),
        (&new_ca, Some(&backward), &old_server, server, false),
    ] {
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-x509_strict", "-no-CApath", "-no-CAstore"]);
        verify.args(["-purpose", purpose]);
        verify
            .args(["-attime", &NOW.to_string(), "-CAfile"])
            .arg(ca);
        if let Some(link) = link {
            verify.arg("-untrusted").arg(link);
        }
        let output = verify.arg(leaf).output().unwrap();
        assert_eq!(output.status.success(), right, "{output:?}");
    }
}

#[test]
fn the_former_key_is_destroyed_and_that_is_told() {
    let (verifier, _, old) = fleet();
    let alice = Operator::first(&verifier.vault);
    let rotated = rotate(&verifier.vault, &alice, NOW);
    let ids = [old, anchor(&rotated)].map(|ca| hex(&ca.public_key().sha256()));
    let [former, present] = [&ids[0], &ids[1]].map(String::as_str);
    let told = events(&verifier.vault);
    let told: Vec<_> = told.iter().map(|(id, word)| (id.as_str(), *word)).collect();
    assert_eq!(
        told,
        [
            (former, "made"),
            (former, "certified"),
            (former, "superseded"),
            (present, "made"),
            (present, "certified"),
            (present, "certified"),
            (former, "certified"),
            (former, "destroyed"),
        ]
    );
    let VaultReply::Description { keys, fleet_ca, .. } =
        verifier.vault.answer(VaultRequest::Describe, NOW)
    else {
        panic!("no description");
    };
    let cas: Vec<_> = (keys.iter())
        .filter(|key| key.purpose == Purpose::FleetCa)
        .map(|key| hex(&*key.id))
        .collect();
    assert_eq!(cas, [present]);
    assert_eq!(fleet_ca, Some(rotated.present.clone()));
    // And after a restart.
    let Opened { vault, folder } = verifier;
    drop(vault);
    let vault = again(Role::Verifier, &folder);
    assert_eq!(described(&vault), rotated);
    rotate(&vault, &alice.anew(&vault, NOW + 1), NOW + 1);
}

#[test]
fn nothing_but_an_administrators_order_replaces_the_ca() {
    let (verifier, host, old) = fleet();
    let alice = Operator::first(&verifier.vault);
    let refused = |order: VaultRequest, now| match refusal(verifier.vault.answer(order, now)) {
        VaultRefusal::Rotation(refusal) => refusal,
        other => panic!("{other}"),
    };
    let stranger = Operator {
        key: EphemeralKey::generate().unwrap(),
        chain: alice.chain.clone(),
    };
    let forged = refused(stranger.order(old.der(), NOW), NOW);
    assert!(matches!(forged, RotationRefusal::Signature(_)), "{forged}");
    let other = refused(alice.order(b"another", NOW), NOW);
    assert!(matches!(other, RotationRefusal::OtherCa { .. }), "{other}");
    let late = refused(alice.order(old.der(), NOW), NOW + 120);
    assert!(matches!(late, RotationRefusal::Expired { .. }), "{late}");
    let garbage = refused(VaultRequest::RotateFleetCa { order: vec![0; 99] }, NOW);
    assert!(
        matches!(garbage, RotationRefusal::Malformed(_)),
        "{garbage}"
    );
    assert_eq!(described(&verifier.vault), Lineage::of(old.der().to_vec()));
    assert_eq!(events(&verifier.vault).len(), 2);
    let host_refused = refusal(host.vault.answer(alice.order(old.der(), NOW), NOW));
    assert!(matches!(host_refused, VaultRefusal::WrongRole { .. }));
    let empty = open(Role::Verifier);
    let none = refusal(empty.vault.answer(alice.order(old.der(), NOW), NOW));
    assert!(matches!(none, VaultRefusal::NoKey { .. }));
    assert_eq!(
        empty.vault.answer(VaultRequest::DescribeFleetCas, NOW),
        VaultReply::FleetCas(None)
    );
}

#[test]
fn an_order_is_followed_once() {
    let (verifier, ..) = fleet();
    let alice = Operator::first(&verifier.vault);
    let order = alice.order(&described(&verifier.vault).present, NOW);
    lineage(verifier.vault.answer(order.clone(), NOW));
    let again = refusal(verifier.vault.answer(order, NOW));
    assert!(matches!(
        again,
        VaultRefusal::Rotation(RotationRefusal::OtherCa { .. })
    ));
    // Who is certified by the former one orders no other, and has themselves certified anew.
    let present = described(&verifier.vault).present;
    let former = refusal(verifier.vault.answer(alice.order(&present, NOW), NOW));
    assert!(matches!(
        former,
        VaultRefusal::Rotation(RotationRefusal::FormerCa { .. })
    ));
    assert_eq!(described(&verifier.vault).former.len(), 1);
    let alice = alice.anew(&verifier.vault, NOW);
    // Of two at once, one is.
    let order = alice.order(&described(&verifier.vault).present, NOW);
    let vault = &verifier.vault;
    let done = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| vault.answer(order.clone(), NOW)));
        both.map(|one| matches!(one.join().unwrap(), VaultReply::FleetCas(Some(_))))
    });
    assert_eq!(done.iter().filter(|done| **done).count(), 1);
    assert_eq!(described(vault).former.len(), 2);
}

#[test]
fn what_the_former_ca_certified_is_good_until_all_of_it_has_ended() {
    let (verifier, _, _) = fleet();
    let alice = Operator::first(&verifier.vault);
    let rotated = rotate(&verifier.vault, &alice, NOW + 7);
    let present = anchor(&rotated);
    let ends = NOW + 7 + YEAR_S + 3600;
    assert_eq!(
        present
            .linked()
            .map(|(_, (_, end))| end)
            .collect::<Vec<_>>(),
        [ends]
    );
    let card = &rotated.former[0].certificate;
    let name = hex(&sha256(card));
    assert!(present.named(&name, ends).is_some());
    assert!(present.named(&name, ends + 1).is_none());
    // The other way it is good for as long as the former one is: who pins that has nothing else.
    let former = FleetCa::from_der(card).unwrap();
    let former = former.with_lineage(&rotated).unwrap();
    let name = hex(&present.sha256());
    let end = former.validity().1;
    assert!(former.named(&name, end).is_some());
}

#[test]
fn there_are_few_former_cas_whose_certificates_are_valid() {
    let (verifier, ..) = fleet();
    let vault = &verifier.vault;
    let alice = Operator::first(vault);
    for at in 0..4 {
        rotate(vault, &alice.anew(vault, NOW + at), NOW + at);
    }
    let alice = alice.anew(vault, NOW + 4);
    let before = described(vault);
    let refused = refusal(vault.answer(alice.order(&before.present, NOW), NOW));
    let until = NOW + YEAR_S + 3600;
    assert_eq!(refused, VaultRefusal::TooManyFormer { former: 4, until });
    assert_eq!(described(vault), before);
    // By then alice has another certificate.
    let alice = alice.anew(vault, NOW + 3700);
    let later = rotate(vault, &alice, until + 1);
    assert_eq!(later.former[..3], before.former[1..]);
    assert_eq!(later.former[3].certificate, before.present);
}

/// Whoever took the verifier over must not begin the fleet anew.
#[test]
fn a_ca_that_took_anothers_place_begins_no_fleet() {
    let folder = tempfile::tempdir().unwrap();
    let key = EphemeralKey::generate().unwrap();
    let named = NamedOperator {
        name: "bob".into(),
        key_sha256: hex(&key.public_key().sha256()),
        role: bartizan_attestation::certificates::Role::Administrator,
    };
    let vault = again(Role::Verifier, &folder).with_operators(vec![named]);
    let name = "fleet".into();
    certificates(vault.answer(VaultRequest::CreateFleetCa { name }, NOW));
    let late = NOW + 7200;
    let ask = |key: &EphemeralKey, name: &str| {
        let (csr, name) = (key.csr().unwrap(), name.into());
        vault.answer(VaultRequest::IssueOperator { csr, name }, late)
    };
    let chain = certificates(ask(&key, "bob"));
    rotate(&vault, &Operator { key, chain }, late);
    let mallory = EphemeralKey::generate().unwrap();
    let refused = refusal(ask(&mallory, "mallory"));
    assert!(matches!(refused, VaultRefusal::UnnamedOperator { .. }));
}

#[test]
fn a_hosts_vault_follows_a_link_and_nothing_else() {
    let (verifier, host, old) = fleet();
    let alice = Operator::first(&verifier.vault);
    let rotated = rotate(&verifier.vault, &alice, NOW);
    let refused = |lineage: &Lineage| match refusal(roll(&host.vault, lineage, NOW)) {
        VaultRefusal::Lineage(why) => why,
        other => panic!("{other}"),
    };
    let (other, _, _) = fleet();
    refused(&described(&other.vault));
    let mut unlinked = rotated.clone();
    unlinked.former.clear();
    refused(&unlinked);
    let bob = Operator::first(&other.vault);
    let mut foreign = rotate(&other.vault, &bob, NOW);
    refused(&foreign);
    foreign.former[0].certificate = old.der().to_vec().into();
    refused(&foreign);
    let mut swapped = rotated.clone();
    let former = &mut swapped.former[0];
    std::mem::swap(&mut former.new_with_old, &mut former.old_with_new);
    refused(&swapped);
    assert_eq!(described(&host.vault), Lineage::of(old.der().to_vec()));

    assert_eq!(roll(&host.vault, &rotated, NOW), VaultReply::Done);
    assert_eq!(described(&host.vault), rotated);
    // There is no way back, and none to less than is known.
    refused(&Lineage::of(rotated.present.to_vec()));
    refused(&Lineage::of(old.der().to_vec()));
    let not_the_verifiers = refusal(roll(&verifier.vault, &rotated, NOW));
    assert!(matches!(not_the_verifiers, VaultRefusal::WrongRole { .. }));
    let nobody = refusal(roll(&open(Role::Host).vault, &rotated, NOW));
    assert!(matches!(nobody, VaultRefusal::NoKey { .. }));

    let Opened { vault, folder } = host;
    drop(vault);
    let vault = again(Role::Host, &folder);
    assert_eq!(described(&vault), rotated);
    renew_under(&verifier.vault, &vault, &rotated);
}

/// The card's certificate is the new CA's from now on, for the key that it has; the former one's certificate vouches for that.
fn renew_under(verifier: &Vault, host: &Vault, rotated: &Lineage) {
    let begun = begun(host, NextKey::Same, NOW + 1);
    let succession = begun.signed.to_vec();
    let issue = VaultRequest::IssueSuccessor { succession };
    let chain = certificates(verifier.answer(issue, NOW + 1));
    let present = anchor(rotated).alone();
    assert!(verify_chain(&chain, &present, NOW + 1, Usage::Card).is_ok());
    let chain: Chain = chain.into_iter().map(ByteVec::from).collect();
    let install = |fleet_ca: &[u8]| VaultRequest::InstallCardIdentity {
        chain: chain.clone(),
        fleet_ca: fleet_ca.to_vec(),
    };
    refusal(host.answer(install(&rotated.former[0].certificate), NOW + 1));
    certificates(host.answer(install(&rotated.present), NOW + 1));
    assert_eq!(
        described(host),
        *rotated,
        "what it knew of former CAs is lost"
    );
}
