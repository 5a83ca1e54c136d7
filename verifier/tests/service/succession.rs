//! A host's certificates after its first: its card stays, whichever key it has.

use std::time::Instant;

use axum::http::{Method, StatusCode};
use bartizan_attestation::certificates::{Usage, verify_chain};
use bartizan_attestation::cose::Sign as _;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::digest::sha256;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::VaultKind;
use bartizan_attestation::succession::Successor;
use bartizan_attestation::tpm::PublicArea;
use bartizan_attestation::vault_counter::FIRST_MARK;
use bartizan_verifier::binary::Binary;
use bartizan_verifier::clock::now_s;
use bartizan_verifier::peer::Peer;
use bartizan_verifier::storage::{EnrolledHost, EnrolledTpm};
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, operator, peer, problem};
use crate::counters::{report, statement};
use crate::enrolment::join_code;
use crate::fleet::Authority;
use crate::host::Host;
use crate::process::DEADLINE;

fn key() -> EphemeralKey {
    EphemeralKey::generate().unwrap()
}

fn copy(key: &EphemeralKey) -> EphemeralKey {
    EphemeralKey::from_pkcs8_der(key.pkcs8_der()).unwrap()
}

async fn enrol(bench: &Bench, name: &str, key: &EphemeralKey) -> Answer {
    let (csr, code) = (key.csr().unwrap(), join_code(bench, name).await);
    let wish = json!({
        "join_code": code, "name": name, "csr": Binary::encode(&csr), "vault": "development",
    });
    bench.post(&Peer::Anonymous, "/v1/hosts", wish).await
}

/// A listed host.
async fn enrolled(bench: &Bench, name: &str) -> Host {
    let first = key();
    let answer = enrol(bench, name, &first).await;
    assert_eq!(answer.0, StatusCode::CREATED, "{}", answer.1);
    Host {
        card: CardId(first.public_key().sha256()),
        authority: bench.vault.fleet.issue_card(first),
    }
}

/// The same host with its next key.
fn with(bench: &Bench, host: &Host, next: &EphemeralKey) -> Host {
    Host {
        card: host.card,
        authority: bench.vault.fleet.issue_card_as(host.card, copy(next)),
    }
}

/// What the host's present key says of the next one.
fn named(host: &Host, next: &EphemeralKey) -> Vec<u8> {
    let chain = [host.authority.der.clone()];
    let successor = Successor::new(next.csr().unwrap());
    successor.sign(&chain, &host.authority.key).unwrap()
}

/// Another machine than that of the others.
const ELSEWHERE: ([u8; 4], u16) = ([198, 51, 100, 9], 815);

async fn hand_in_elsewhere(bench: &Bench, peer: &Peer, signed: &[u8]) -> Answer {
    let wish = json!({ "succession": Binary::encode(signed) });
    let path = "/v1/hosts/succeed";
    bench.post_from(ELSEWHERE.into(), peer, path, wish).await
}

async fn hand_in(bench: &Bench, peer: &Peer, signed: &[u8]) -> Answer {
    let wish = json!({ "succession": Binary::encode(signed) });
    bench.post(peer, "/v1/hosts/succeed", wish).await
}

async fn succeed(bench: &Bench, host: &Host, next: &EphemeralKey) -> Answer {
    hand_in(bench, &peer(host), &named(host, next)).await
}

async fn renew(bench: &Bench, host: &Host) -> Answer {
    succeed(bench, host, &host.authority.key).await
}

async fn listed(bench: &Bench) -> Vec<Value> {
    let (_, listed) = bench.get(&operator(), "/v1/hosts").await;
    listed["hosts"].as_array().unwrap().clone()
}

/// The certificate that was answered with, which must be this card's and that key's.
fn certificate(bench: &Bench, answer: &Answer, card: CardId, key: &EphemeralKey) -> Vec<u8> {
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    let chain = vec![Binary::decode(answer.1["chain"][0].as_str().unwrap()).unwrap()];
    let ca = bench.vault.fleet.ca();
    let verified = verify_chain(&chain, &ca, now_s(), Usage::Card).unwrap();
    assert_eq!(verified.card, Some(card));
    assert_eq!(verified.public_key, key.public_key());
    chain.into_iter().next().unwrap()
}

async fn nonce(bench: &Bench, host: &Host) -> Answer {
    let guest = host.guest(1, 1).identity.to_string();
    let wish = json!({ "guest": guest });
    bench.post(&peer(host), "/v1/nonces", wish).await
}

#[tokio::test]
async fn a_host_stays_who_it_is_with_its_next_key() {
    let bench = Bench::start().await;
    let (first, next) = (enrolled(&bench, "host-1").await, key());
    let signed = named(&first, &next);
    let answer = hand_in(&bench, &peer(&first), &signed).await;
    let issued = certificate(&bench, &answer, first.card, &next);
    let hosts = listed(&bench).await;
    assert_eq!(hosts.len(), 1);
    assert_eq!(hosts[0]["card"], first.card.to_string());
    assert_eq!(hosts[0]["name"], "host-1");
    assert_eq!(hosts[0]["certificate"], Binary::encode(&issued));
    assert_eq!(
        hosts[0]["card_key"],
        hex::encode(next.public_key().sha256())
    );

    // Whose answer was lost asks again, with the same message or another, by the former key or the next.
    let second = with(&bench, &first, &next);
    for (by, signed) in [
        (&first, signed.clone()),
        (&first, named(&first, &next)),
        (&second, signed),
    ] {
        let again = hand_in(&bench, &peer(by), &signed).await;
        let same = certificate(&bench, &again, first.card, &next);
        assert_eq!(same, issued, "another certificate");
    }
    // In the overlap both are heard.
    for host in [&first, &second] {
        assert_eq!(nonce(&bench, host).await.0, StatusCode::OK);
    }
    // The former one does not renew itself, whoever has it.
    let refused = renew(&bench, &first).await;
    let expected = (StatusCode::FORBIDDEN, "card-key-superseded");
    assert_eq!((refused.0, problem(&refused)), expected);
    // The next one does both.
    let answer = renew(&bench, &second).await;
    certificate(&bench, &answer, first.card, &next);
    let (third, answer) = {
        let third = key();
        let answer = succeed(&bench, &second, &third).await;
        (third, answer)
    };
    certificate(&bench, &answer, first.card, &third);
    let refused = succeed(&bench, &first, &next).await;
    assert_eq!(problem(&refused), "card-key-superseded", "there is a third");
}

/// Its answer was lost, and the fleet CA was replaced before it asked again: the former CA's certificate is of no use to it by then.
#[tokio::test]
async fn after_the_fleet_ca_was_replaced_a_succession_is_answered_by_the_present_one() {
    let bench = Bench::start().await;
    let (first, next) = (enrolled(&bench, "host-1").await, key());
    let signed = named(&first, &next);
    let by_former = hand_in(&bench, &peer(&first), &signed).await;
    certificate(&bench, &by_former, first.card, &next);
    let new = Authority::fleet();
    let present = new.ca();
    bench.vault.replace_fleet(new);
    bench.service.anchors.refresh().await;

    let answer = hand_in(&bench, &peer(&first), &signed).await;
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    assert_eq!(answer.1["fleet_ca"], Binary::encode(present.der()));
    let chain = vec![Binary::decode(answer.1["chain"][0].as_str().unwrap()).unwrap()];
    let issued = verify_chain(&chain, &present, now_s(), Usage::Card).unwrap();
    assert_eq!(issued.card, Some(first.card));
    assert_eq!(issued.public_key, next.public_key());
    assert_eq!(listed(&bench).await[0]["certificate"], answer.1["chain"][0]);
    // Once: then it is the one that is recorded.
    let again = hand_in(&bench, &peer(&first), &signed).await;
    assert_eq!(again.1, answer.1);
    // It stays the only next key.
    let refused = renew(&bench, &first).await;
    assert_eq!(problem(&refused), "card-key-superseded");
}

/// Who stole the key came first, or the host did: neither is believed, until an operator has looked.
#[tokio::test]
async fn a_key_that_names_two_successors_is_in_two_places() {
    let bench = Bench::start().await;
    let (first, next) = (enrolled(&bench, "host-1").await, key());
    let answer = succeed(&bench, &first, &next).await;
    certificate(&bench, &answer, first.card, &next);
    let other = named(&first, &key());
    let refused = hand_in_elsewhere(&bench, &peer(&first), &other).await;
    let expected = (StatusCode::FORBIDDEN, "vault-forked");
    assert_eq!((refused.0, problem(&refused)), expected);
    let second = with(&bench, &first, &next);
    for host in [&first, &second] {
        let refused = nonce(&bench, host).await;
        assert_eq!((refused.0, problem(&refused)), expected);
    }
    let host = listed(&bench).await.remove(0);
    assert_eq!(host["fork"]["sign"], "key");
    let reporters = host["fork"]["reporters"].as_array().unwrap();
    let addresses: Vec<_> = reporters.iter().map(|who| &who["address"]).collect();
    assert_eq!(addresses, ["192.0.2.7:4711", "198.51.100.9:815"]);
    for who in reporters {
        assert!(who.get("machine").is_none(), "{who}");
    }
    // The successor that is recorded may be the thief's.
    let path = format!("/v1/hosts/{}/fork", first.card);
    let kept = bench
        .call(&operator(), Method::DELETE, &path, Value::Null)
        .await;
    assert_eq!(
        (kept.0, problem(&kept)),
        (StatusCode::CONFLICT, "fork-of-key")
    );
}

/// A copy names its successor first, and only then reports in: cleared, it alone would be left.
#[tokio::test]
async fn a_fork_is_not_cleared_where_a_copy_may_have_named_its_successor() {
    let bench = Bench::start().await;
    let (first, next) = (enrolled(&bench, "host-1").await, key());
    let answer = hand_in_elsewhere(&bench, &peer(&first), &named(&first, &next)).await;
    certificate(&bench, &answer, first.card, &next);
    let copy = with(&bench, &first, &next);
    let reported = report(&bench, &copy, &statement(&copy, "copy", 1, FIRST_MARK)).await;
    assert_eq!(reported.0, StatusCode::OK, "{}", reported.1);
    let original = statement(&first, "original", 1, FIRST_MARK);
    let refused = report(&bench, &first, &original).await;
    assert_eq!(problem(&refused), "vault-forked");
    assert_eq!(listed(&bench).await[0]["fork"]["sign"], "counter");
    let path = format!("/v1/hosts/{}/fork", first.card);
    let kept = bench
        .call(&operator(), Method::DELETE, &path, Value::Null)
        .await;
    let expected = (StatusCode::CONFLICT, "fork-with-successor");
    assert_eq!((kept.0, problem(&kept)), expected);
    let said = kept.1["detail"].as_str().unwrap();
    assert!(said.contains("198.51.100.9:815"), "{said}");
    assert_eq!(problem(&nonce(&bench, &first).await), "vault-forked");
}

/// What a former CA's key certifies from now on counts for a while, and is not made to last.
#[tokio::test]
async fn a_former_fleet_ca_makes_no_hosts_that_outlive_it() {
    let bench = Bench::start().await;
    let host = enrolled(&bench, "host-1").await;
    let new = Authority::fleet();
    let present = new.ca();
    bench.vault.replace_fleet(new);
    bench.service.anchors.refresh().await;
    // Who has that key makes another of the host's name.
    let forged = with(&bench, &host, &key());
    for next in [&forged.authority.key, &key()] {
        let refused = succeed(&bench, &forged, next).await;
        let expected = (StatusCode::FORBIDDEN, "card-key-unknown");
        assert_eq!((refused.0, problem(&refused)), expected);
    }
    // The host itself goes over.
    let answer = renew(&bench, &host).await;
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    let chain = vec![Binary::decode(answer.1["chain"][0].as_str().unwrap()).unwrap()];
    let issued = verify_chain(&chain, &present, now_s(), Usage::Card).unwrap();
    assert_eq!(issued.public_key, host.authority.key.public_key());
}

#[tokio::test]
async fn no_key_comes_back_and_none_is_two_cards() {
    let bench = Bench::start().await;
    let (host, other) = (
        enrolled(&bench, "host-1").await,
        enrolled(&bench, "host-2").await,
    );
    let next = key();
    certificate(
        &bench,
        &succeed(&bench, &host, &next).await,
        host.card,
        &next,
    );
    let host_now = with(&bench, &host, &next);
    let taken = [&host.authority.key, &other.authority.key];
    for back in taken {
        let refused = succeed(&bench, &host_now, back).await;
        let expected = (StatusCode::CONFLICT, "card-key-taken");
        assert_eq!((refused.0, problem(&refused)), expected);
    }
    let refused = succeed(&bench, &other, &next).await;
    assert_eq!(problem(&refused), "card-key-taken");
    // Nor with a join code: the former key, which the card's id is the hash of, and the present one.
    for key in [&host.authority.key, &next] {
        let refused = enrol(&bench, "host-1", key).await;
        let expected = (StatusCode::CONFLICT, "card-key-taken");
        assert_eq!((refused.0, problem(&refused)), expected);
    }
    // Whose key has no successor may enrol again.
    let again = enrol(&bench, "host-2", &other.authority.key).await;
    assert_eq!(again.0, StatusCode::CREATED, "{}", again.1);
}

#[tokio::test]
async fn what_the_former_key_certified_is_judged_in_the_overlap_and_refused_after_it() {
    let fleet = Authority::fleet();
    let bench = Bench::start_with(fleet, "card_key_overlap_s: 10").await;
    let (former, next) = (enrolled(&bench, "host-1").await, key());
    let signed = named(&former, &next);
    let issued = hand_in(&bench, &peer(&former), &signed).await;
    let issued = certificate(&bench, &issued, former.card, &next);
    let host = with(&bench, &former, &next);
    let (by_former, by_next) = (former.guest(1, 1), host.guest(1, 1));

    // A guest's key by the former, its measurer's by the next.
    let mixed = async || {
        let nonce = bench.nonce(&host, &by_next).await;
        let request = by_former.request(nonce, "nginx");
        let report = by_next.sealed(&by_next.report(by_former.signed(&request)));
        bench.submit(&host, &by_former, &report).await
    };
    let answer = mixed().await;
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);

    let deadline = Instant::now() + DEADLINE;
    let ended = loop {
        let answer = bench
            .get(&peer(&former), "/v1/operators/ann/standing")
            .await;
        if answer.0 != StatusCode::OK {
            break answer;
        }
        assert!(Instant::now() < deadline, "its overlap does not end");
        tokio::task::yield_now().await;
    };
    let expected = (StatusCode::FORBIDDEN, "card-key-superseded");
    assert_eq!((ended.0, problem(&ended)), expected);
    assert_eq!(problem(&mixed().await), "card-key-superseded");
    let report = by_former.attest(bench.nonce(&host, &by_next).await, "nginx");
    let refused = bench.submit(&host, &by_former, &report).await;
    assert_eq!(problem(&refused), "card-key-superseded");
    let log = json!({ "log": "" });
    let refused = bench.post(&peer(&former), "/v1/hosts/boot", log).await;
    assert_eq!(problem(&refused), "card-key-superseded");
    // The next key's own go on.
    let report = by_next.attest(bench.nonce(&host, &by_next).await, "nginx");
    let answer = bench.submit(&host, &by_next, &report).await;
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    // A host that was off all the time gets the answer that it lost, and nothing else.
    let late = hand_in(&bench, &peer(&former), &signed).await;
    assert_eq!(certificate(&bench, &late, former.card, &next), issued);
    let refused = succeed(&bench, &former, &key()).await;
    assert_eq!(problem(&refused), "card-key-superseded");
    // Nor does it make a fork of a host whose present key has connected: what was found on a discarded disk names nobody.
    let found = named(&former, &key());
    let refused = hand_in(&bench, &peer(&host), &found).await;
    assert_eq!(problem(&refused), "card-key-superseded");
    bench.nonce(&host, &by_next).await;
    // The other way round it does: who connects with a former key has two words of one in its overlap.
    let third = key();
    let answer = succeed(&bench, &host, &third).await;
    certificate(&bench, &answer, host.card, &third);
    let refused = hand_in(&bench, &peer(&former), &named(&host, &key())).await;
    assert_eq!(problem(&refused), "vault-forked");
}

#[tokio::test]
async fn a_host_renews_its_certificate_for_the_key_that_it_has() {
    let bench = Bench::start().await;
    let host = enrolled(&bench, "host-1").await;
    let before = listed(&bench).await;
    let answer = renew(&bench, &host).await;
    certificate(&bench, &answer, host.card, &host.authority.key);
    let after = listed(&bench).await;
    assert_eq!(after[0]["certificate"], answer.1["chain"][0]);
    assert_ne!(after[0]["certificate"], before[0]["certificate"]);
    assert_eq!((&after[0]["name"], after.len()), (&json!("host-1"), 1));
    // As often as it may, with the first certificate, too: its key was not succeeded.
    let answer = renew(&bench, &host).await;
    certificate(&bench, &answer, host.card, &host.authority.key);
}

#[tokio::test]
async fn what_is_not_the_hosts_own_word_is_refused() {
    let bench = Bench::start().await;
    let (host, other) = (
        enrolled(&bench, "host-1").await,
        enrolled(&bench, "host-2").await,
    );
    let next = key();
    let before = listed(&bench).await;
    // Another host's, over this one's connection, and the other way round.
    let refused = hand_in(&bench, &peer(&host), &named(&other, &next)).await;
    assert_eq!(problem(&refused), "succession-of-other-card");
    let refused = hand_in(&bench, &peer(&other), &named(&host, &next)).await;
    assert_eq!(problem(&refused), "succession-of-other-card");
    // By a key that is not the certificate's, by another fleet's card, altered, and none at all.
    let chain = [host.authority.der.clone()];
    let forged = Successor::new(next.csr().unwrap()).sign(&chain, &next);
    let foreign = Host::enrolled(&Authority::fleet());
    let mut altered = named(&host, &next);
    *altered.last_mut().unwrap() ^= 1;
    let mut unproven = next.csr().unwrap();
    *unproven.last_mut().unwrap() ^= 1;
    let unproven = Successor::new(unproven).sign(&chain, &host.authority.key);
    for wrong in [
        forged.unwrap(),
        named(&foreign, &next),
        altered,
        unproven.unwrap(),
        Vec::new(),
    ] {
        let refused = hand_in(&bench, &peer(&host), &wrong).await;
        let expected = (StatusCode::UNPROCESSABLE_ENTITY, "succession-refused");
        assert_eq!((refused.0, problem(&refused)), expected);
    }
    // Strangers, operators, hosts that are not listed, and revoked ones.
    let signed = named(&host, &next);
    let refused = hand_in(&bench, &Peer::Anonymous, &signed).await;
    assert_eq!(problem(&refused), "client-certificate-required");
    let refused = hand_in(&bench, &operator(), &signed).await;
    assert_eq!(problem(&refused), "wrong-role");
    let unlisted = Host::enrolled(&bench.vault.fleet);
    let refused = succeed(&bench, &unlisted, &next).await;
    assert_eq!(problem(&refused), "host-not-listed");
    assert_eq!(listed(&bench).await, before);
    let revocation = json!({"kind": "host", "subject": host.card.to_string(), "reason": "stolen"});
    bench.post(&operator(), "/v1/revocations", revocation).await;
    let refused = hand_in(&bench, &peer(&host), &signed).await;
    assert_eq!(problem(&refused), "host-revoked");
}

/// How it was booted is asked of who gets a certificate, as of who gets anything.
#[tokio::test]
async fn a_host_whose_boot_is_not_accepted_gets_no_certificate() {
    let demanded = format!(
        "measured_boot: {{demanded: {{release_keys: ['{}'], firmware: not_demanded}}}}",
        "0f".repeat(32)
    );
    let bench = Bench::start_with(Authority::fleet(), &demanded).await;
    let host = enrolled(&bench, "host-1").await;
    let before = listed(&bench).await;
    for next in [&key(), &host.authority.key] {
        let refused = succeed(&bench, &host, next).await;
        assert_eq!(problem(&refused), "boot-not-accepted");
    }
    assert_eq!(listed(&bench).await, before);
}

#[tokio::test]
async fn no_host_has_certificates_signed_without_end() {
    let bench = Bench::start().await;
    let host = enrolled(&bench, "host-1").await;
    let other = enrolled(&bench, "host-2").await;
    // What proves nothing has nothing signed and spends nothing.
    for _ in 0..9 {
        let refused = hand_in(&bench, &peer(&host), &named(&other, &key())).await;
        assert_eq!(problem(&refused), "succession-of-other-card");
    }
    // A host that gets no certificate, or cannot keep it, asks again, however new the one that it has is.
    for _ in 0..7 {
        let answer = renew(&bench, &host).await;
        certificate(&bench, &answer, host.card, &host.authority.key);
    }
    let next = key();
    let answer = succeed(&bench, &host, &next).await;
    certificate(&bench, &answer, host.card, &next);
    let kept = listed(&bench).await;
    let refused = renew(&bench, &with(&bench, &host, &next)).await;
    assert_eq!(
        (refused.0, problem(&refused)),
        (StatusCode::TOO_MANY_REQUESTS, "host-renewals-exhausted")
    );
    // A lost answer is given again all the same.
    let again = succeed(&bench, &host, &next).await;
    certificate(&bench, &again, host.card, &next);
    assert_eq!(listed(&bench).await, kept);
    assert_eq!(renew(&bench, &other).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_succession_whose_answer_the_vault_lost_may_have_been_signed_and_counts() {
    let bench = Bench::start().await;
    let (host, next) = (enrolled(&bench, "host-1").await, key());
    bench.vault.lose_answers(true);
    for _ in 0..8 {
        let lost = succeed(&bench, &host, &next).await;
        assert_eq!(lost.0, StatusCode::SERVICE_UNAVAILABLE, "{}", lost.1);
    }
    bench.vault.lose_answers(false);
    let refused = succeed(&bench, &host, &next).await;
    assert_eq!(problem(&refused), "host-renewals-exhausted");
    // Nothing was recorded: the key that it has is good.
    assert_eq!(nonce(&bench, &host).await.0, StatusCode::OK);
}

/// TPMT_PUBLIC of a P-384 key that signs by its policy.
fn area(key: &EphemeralKey) -> Vec<u8> {
    let mut area = vec![0, 0x23, 0, 0x0b, 0, 0x04, 0, 0x32, 0, 32];
    area.extend([7; 32]);
    area.extend([0, 0x10, 0, 0x18, 0, 0x0c, 0, 4, 0, 0x10]);
    for coordinate in key.public_key().point()[1..].chunks(48) {
        area.extend([0, 48]);
        area.extend(coordinate);
    }
    area
}

/// A TPM's word on a key, as its attestation key signs it.
fn certified(attestation: &EphemeralKey, area: &[u8], signed: &[u8]) -> Value {
    let mut said = vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x17, 0, 0, 0, 32];
    said.extend(sha256(signed));
    said.extend([0; 25]);
    for name in [PublicArea::parse(area).unwrap().name(), vec![7; 34]] {
        said.extend([0, 34]);
        said.extend(name);
    }
    let mut signature = vec![0, 0x18, 0, 0x0c];
    for number in attestation.sign(&said).unwrap().chunks(48) {
        signature.extend([0, 48]);
        signature.extend(number);
    }
    json!({
        "public": Binary::encode(area), "attested": Binary::encode(&said),
        "signature": Binary::encode(&signature),
    })
}

/// A host that enrolled with a TPM whose attestation key is this.
fn in_a_tpm(host: &Host, attestation: &EphemeralKey) -> EnrolledHost {
    EnrolledHost {
        card: host.card,
        name: "host-1".into(),
        operator: "ann".into(),
        enrolled_at_ms: 1,
        certificate: host.authority.der.clone(),
        card_key: host.card.0,
        vault: VaultKind::Tpm2,
        tpm: Some(EnrolledTpm {
            endorsement: [1; 32],
            attestation_key: attestation.public_key().spki_der(),
        }),
    }
}

#[tokio::test]
async fn the_next_key_of_a_host_with_a_tpm_is_in_that_tpm() {
    let bench = Bench::start().await;
    let host = Host::enrolled(&bench.vault.fleet);
    let (own, others) = (key(), key());
    let enrolled = in_a_tpm(&host, &own);
    bench.service.storage.add_host(&enrolled).await.unwrap();
    let (next, elsewhere) = (key(), key());
    let signed = named(&host, &next);
    let hand_in = async |tpm: Option<Value>| {
        let wish = json!({ "succession": Binary::encode(&signed), "tpm": tpm });
        bench.post(&peer(&host), "/v1/hosts/succeed", wish).await
    };
    let mut by_password = area(&next);
    by_password[7] |= 0x40;
    for (tpm, expected) in [
        (None, "succession-without-tpm"),
        // By another TPM; for another succession; of another key; of one that signs without its policy.
        (
            Some(certified(&others, &area(&next), &signed)),
            "succession-tpm-refused",
        ),
        (
            Some(certified(&own, &area(&next), b"another")),
            "succession-tpm-refused",
        ),
        (
            Some(certified(&own, &area(&elsewhere), &signed)),
            "succession-tpm-refused",
        ),
        (
            Some(certified(&own, &by_password, &signed)),
            "succession-tpm-refused",
        ),
    ] {
        let refused = hand_in(tpm).await;
        assert_eq!(problem(&refused), expected, "{}", refused.1);
    }
    let answer = hand_in(Some(certified(&own, &area(&next), &signed))).await;
    certificate(&bench, &answer, host.card, &next);
    // The key that stays is known to be there.
    let answer = renew(&bench, &with(&bench, &host, &next)).await;
    certificate(&bench, &answer, host.card, &next);
}

/// Whatever a join code for another name says: with the TPM forgotten, the next key could be anywhere.
#[tokio::test]
async fn a_key_that_is_in_a_tpm_is_enrolled_without_it_by_no_join_code() {
    let bench = Bench::start().await;
    let host = Host::enrolled(&bench.vault.fleet);
    let storage = &bench.service.storage;
    let mut enrolled = in_a_tpm(&host, &key());
    storage.add_host(&enrolled).await.unwrap();
    let refused = enrol(&bench, "host-2", &host.authority.key).await;
    assert_eq!(problem(&refused), "card-key-of-tpm");
    assert_eq!(listed(&bench).await[0]["name"], "host-1");
    // Where its TPM is not known, though it should be, nothing vouches for the next key.
    enrolled.tpm = None;
    storage.add_host(&enrolled).await.unwrap();
    let refused = succeed(&bench, &host, &key()).await;
    assert_eq!(problem(&refused), "succession-without-tpm");
}
