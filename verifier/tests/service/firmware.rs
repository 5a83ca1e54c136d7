//! What a host's own firmware measured: compared with its TPM's quote, and with what operators have registered.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use bartizan_attestation::boot::{Bank, FirmwareLog, Phase, Sha384};
use bartizan_attestation::certificates::Role;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_verifier::binary::Binary;
use bartizan_verifier::clock::now_s;
use bartizan_verifier::peer::{ChannelBinding, Peer};
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, operator, problem, submission};
use crate::boots::{self, Boot, Factory, add_tpm, quote_with, register, start_demanding};
use crate::host::{Guest, Host};

/// A real machine's.
const OVMF: &[u8] = include_bytes!("../../../trust/boot/firmware-logs/ovmf.log");
const BINDING: [u8; 32] = [7; 32];

/// A verifier, and a host whose firmware wrote that log.
struct Scene {
    bench: Bench,
    host: Host,
    tpm: EphemeralKey,
    boot: Boot,
    booted: Peer,
}

impl Scene {
    async fn new(firmware: &str) -> Self {
        let factory = Factory::new();
        let (bench, mut host) = start_demanding(&factory, firmware).await;
        register(&bench, &factory).await;
        let tpm = EphemeralKey::generate().unwrap();
        add_tpm(&bench, &host, &tpm).await;
        let boot = factory.boot(Phase::Hypervisor);
        host.authority.phases.clone_from(&boot.phases);
        let booted = boots::peer(&host, &boot.phases);
        Self {
            bench,
            host,
            tpm,
            boot,
            booted,
        }
    }

    /// Hands the boot in, of a TPM whose other PCRs hold this.
    async fn hand_in(&self, pcrs: &BTreeMap<u8, Sha384>, log: Option<&[u8]>) -> Answer {
        let held = self.boot.log.replay();
        let registers = [(12, held.measurement), (15, held.authority)];
        let quote = quote_with(&self.tpm, &BINDING, registers, pcrs);
        let body = json!({
            "log": Binary::encode(&self.boot.log.to_cbor()), "quote": quote,
            "firmware": log.map(Binary::encode),
        });
        let body = body.to_string();
        let mut request = Request::post("/v1/hosts/boot")
            .header(header::CONTENT_LENGTH, body.len())
            .body(Body::from(body))
            .unwrap();
        request.extensions_mut().insert(ChannelBinding(BINDING));
        self.bench.send(&self.booted, request).await
    }

    async fn shown(&self) -> Answer {
        let path = format!("/v1/hosts/{}/firmware", self.host.card);
        self.bench.get(&operator(), &path).await
    }

    async fn add_reference(&self, name: &str, pcrs: &BTreeMap<u8, Sha384>) -> Answer {
        let body = json!({ "name": name, "pcrs": texts(pcrs) });
        self.bench.post(&operator(), "/v1/firmware", body).await
    }

    async fn retire(&self, id: &str) -> Answer {
        let path = format!("/v1/firmware/{id}");
        self.bench
            .call(&operator(), Method::DELETE, &path, Value::Null)
            .await
    }

    /// What a result says of the firmware.
    async fn claimed(&self) -> Value {
        let guest = self.host.guest(1, 1);
        let (status, answer) = self.nonce(&guest).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let nonce = Binary::decode(answer["nonce"].as_str().unwrap()).unwrap();
        let report = guest.attest(nonce.try_into().unwrap(), "nginx");
        let submitted = submission(&report, &guest.chain);
        let (status, judged) = self
            .bench
            .post(&self.booted, "/v1/reports", submitted)
            .await;
        assert_eq!(status, StatusCode::OK, "{judged}");
        let claims = judged["token"].as_str().unwrap().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&Binary::decode(claims).unwrap()).unwrap();
        claims["bartizan_basis"]["boot"]["firmware"].clone()
    }

    async fn nonce(&self, guest: &Guest) -> Answer {
        boots::nonce(&self.bench, &self.booted, guest).await
    }
}

/// What the TPM of the log's machine held.
fn held(pcrs: &[u8]) -> BTreeMap<u8, Sha384> {
    let log = FirmwareLog::parse(OVMF).unwrap();
    let replayed = log.replay(Bank::Sha384).unwrap();
    let value = |pcr: &u8| (*pcr, Sha384(replayed[pcr].bytes().try_into().unwrap()));
    pcrs.iter().map(value).collect()
}

fn texts(pcrs: &BTreeMap<u8, Sha384>) -> BTreeMap<String, String> {
    let values = pcrs.iter();
    values
        .map(|(pcr, value)| (pcr.to_string(), value.to_string()))
        .collect()
}

/// The log with its events changed.
fn altered(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let log = FirmwareLog::parse(OVMF).unwrap();
    let events = log.events().iter();
    let mut events: Vec<_> = events.map(|event| event.bytes.to_vec()).collect();
    change(&mut events);
    [log.header().to_vec(), events.concat()].concat()
}

const ALL: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

#[tokio::test]
async fn a_log_that_does_not_replay_to_the_quote_is_refused_with_both_values() {
    let scene = Scene::new("not_demanded").await;
    let held = held(&ALL);
    let mut other_pcr = held.clone();
    other_pcr.insert(4, Sha384::of(b"another boot loader"));
    let dropped = altered(|events| drop(events.remove(9)));
    let swapped = altered(|events| events.swap(3, 4));
    let added = altered(|events| events.insert(2, events[2].clone()));
    // Behind PCR, type, count, and the digest of the other bank.
    let changed = altered(|events| events[5][4 + 4 + 4 + 2 + 32 + 2] ^= 1);
    for (what, pcrs, log) in [
        ("dropped", &held, &dropped[..]),
        ("swapped", &held, &swapped),
        ("added", &held, &added),
        ("changed", &held, &changed),
        ("another PCR", &other_pcr, OVMF),
    ] {
        let refused = scene.hand_in(pcrs, Some(log)).await;
        assert_eq!(problem(&refused), "firmware-log-not-quoted", "{what}");
        let detail = refused.1["detail"].as_str().unwrap();
        let digests = detail.split(|c: char| !c.is_ascii_alphanumeric());
        let digests: Vec<_> = digests.filter(|word| word.len() == 96).collect();
        assert_eq!(digests.len(), 2, "{detail}");
        assert!(
            pcrs.values().any(|value| value.to_string() == digests[1]),
            "{detail}"
        );
    }
    for wrong in [&b"no log"[..], &OVMF[..OVMF.len() - 1], &[]] {
        let refused = scene.hand_in(&held, Some(wrong)).await;
        assert_eq!(problem(&refused), "firmware-log-malformed");
    }
    assert_eq!(problem(&scene.shown().await), "no-firmware");
    // What the kernel's loader measured is compared where it is quoted, too.
    let (status, answer) = scene.hand_in(&self::held(&[0, 9]), Some(OVMF)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test]
async fn what_is_not_demanded_is_compared_and_results_say_so() {
    let scene = Scene::new("not_demanded").await;
    let accept = async |pcrs: &[u8], log: Option<&[u8]>| {
        let (status, answer) = scene.hand_in(&held(pcrs), log).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    };
    // No log, or nothing to compare it with.
    accept(&[0, 4], None).await;
    assert_eq!(scene.claimed().await, Value::Null);
    accept(&[], Some(OVMF)).await;
    assert_eq!(scene.claimed().await, Value::Null);
    accept(&[0, 4], Some(OVMF)).await;
    let compared = json!({ "pcrs": [0, 4], "reference": null });
    assert_eq!(scene.claimed().await, compared);
    let (_, shown) = scene.shown().await;
    assert_eq!(shown["pcrs"], json!(texts(&held(&[0, 4]))));
    let log = Binary::decode(shown["log"].as_str().unwrap()).unwrap();
    assert_eq!((&*log, &shown["reference"]), (OVMF, &Value::Null));

    let (status, added) = scene.add_reference("ovmf", &held(&[0, 4])).await;
    assert_eq!(status, StatusCode::OK, "{added}");
    accept(&[0, 4, 7], Some(OVMF)).await;
    let reference = json!({ "name": "ovmf", "id": added["id"] });
    let claimed = scene.claimed().await;
    assert_eq!(
        claimed,
        json!({ "pcrs": [0, 4, 7], "reference": reference })
    );
    assert_eq!(scene.shown().await.1["reference"], reference);
    // Retired, it is named no longer, and the host is served all the same.
    let id = added["id"].as_str().unwrap();
    assert_eq!(scene.retire(id).await.0, StatusCode::NO_CONTENT);
    assert_eq!(scene.claimed().await["reference"], Value::Null);
}

#[tokio::test]
async fn demanded_firmware_is_that_of_a_reference_in_force() {
    let scene = Scene::new("{tpm_hosts: {pcrs: [0, 4, 7]}}").await;
    let shows = held(&[0, 4, 7]);
    let refused = async |pcrs: &BTreeMap<u8, Sha384>, log: Option<&[u8]>, expected: &str| {
        let refused = scene.hand_in(pcrs, log).await;
        assert_eq!(problem(&refused), expected, "{}", refused.1);
        refused.1["detail"].as_str().unwrap().to_owned()
    };
    refused(&shows, None, "firmware-log-missing").await;
    let said = refused(&held(&[0, 7]), Some(OVMF), "firmware-pcr-not-quoted").await;
    assert!(said.starts_with("PCR 4 "), "{said}");
    refused(&shows, Some(OVMF), "firmware-without-reference").await;
    // The operator is shown what a refused host has.
    let (_, shown) = scene.shown().await;
    assert_eq!(shown["pcrs"], json!(texts(&shows)));

    let mut other = shows.clone();
    other.insert(4, Sha384::of(b"another boot loader"));
    scene.add_reference("another", &other).await;
    let said = refused(&shows, Some(OVMF), "firmware-unknown").await;
    for digest in [&other[&4], &shows[&4]] {
        assert!(said.contains(&digest.to_string()), "{said}");
    }
    assert!(
        said.contains("PCR 4") && said.contains("`another`"),
        "{said}"
    );
    let guest = scene.host.guest(1, 1);
    assert_eq!(problem(&scene.nonce(&guest).await), "boot-not-accepted");

    let (_, added) = scene.add_reference("ovmf", &shows).await;
    let (status, answer) = scene.hand_in(&shows, Some(OVMF)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        (&answer["quoted"], &answer["firmware"]),
        (&json!(true), &json!("ovmf"))
    );
    let claimed = scene.claimed().await;
    assert_eq!(claimed["reference"]["name"], "ovmf");
    // A reference that is retired counts no longer with the next request; in force again, it does.
    let id = added["id"].as_str().unwrap();
    assert_eq!(scene.retire(id).await.0, StatusCode::NO_CONTENT);
    assert_eq!(problem(&scene.retire(id).await), "no-firmware-reference");
    assert_eq!(problem(&scene.nonce(&guest).await), "boot-not-accepted");
    refused(&shows, Some(OVMF), "firmware-unknown").await;
    scene.add_reference("ovmf", &shows).await;
    assert_eq!(scene.nonce(&guest).await.0, StatusCode::OK);
}

#[tokio::test]
async fn of_hosts_without_a_tpm_it_is_demanded_where_the_configuration_says_all() {
    for (firmware, expected) in [
        ("{tpm_hosts: {pcrs: [0]}}", None),
        ("{all_hosts: {pcrs: [0]}}", Some("firmware-without-tpm")),
    ] {
        let factory = Factory::new();
        let (bench, host) = start_demanding(&factory, firmware).await;
        register(&bench, &factory).await;
        let boot = factory.boot(Phase::Hypervisor);
        let booted = boots::peer(&host, &boot.phases);
        let log = Binary::encode(&boot.log.to_cbor());
        let body = json!({ "log": log, "firmware": Binary::encode(OVMF) });
        let answer = bench.post(&booted, "/v1/hosts/boot", body).await;
        let nonce = boots::nonce(&bench, &booted, &host.guest(1, 1)).await;
        match expected {
            None => assert_eq!([answer.0, nonce.0], [StatusCode::OK; 2]),
            Some(expected) => {
                assert_eq!(problem(&answer), expected);
                assert_eq!(problem(&nonce), "boot-not-accepted");
            }
        }
        // Nobody vouches for what such a host shows.
        let path = format!("/v1/hosts/{}/firmware", host.card);
        let shown = bench.get(&operator(), &path).await;
        assert_eq!(problem(&shown), "no-firmware");
    }
}

/// One that was accepted while it was not demanded is not served by a verifier that demands it.
#[tokio::test]
async fn a_boot_that_was_accepted_before_is_no_proof_of_firmware() {
    let factory = Factory::new();
    let (bench, host) = start_demanding(&factory, "{all_hosts: {pcrs: [0]}}").await;
    register(&bench, &factory).await;
    let boot = factory.boot(Phase::Hypervisor);
    let releases = boot.log.releases().copied().collect::<Vec<_>>();
    let accepted = bartizan_verifier::storage::HostBoot {
        phases: boot.phases.clone(),
        releases: releases.try_into().unwrap(),
        appraised_at_ms: 1,
    };
    let storage = &bench.service.storage;
    let kept = storage.add_host_boot(host.card, &accepted, b"").await;
    kept.unwrap();
    let booted = boots::peer(&host, &boot.phases);
    let refused = boots::nonce(&bench, &booted, &host.guest(1, 1)).await;
    assert_eq!(problem(&refused), "boot-not-accepted");
}

#[tokio::test]
async fn references_are_whole_and_administrators_own() {
    let scene = Scene::new("{tpm_hosts: {pcrs: [0, 7]}}").await;
    for (name, pcrs, expected) in [
        ("", held(&[0, 7]), "firmware-name-unusable"),
        ("a\nb", held(&[0, 7]), "firmware-name-unusable"),
        ("none", held(&[]), "firmware-pcrs-unusable"),
        ("ours", held(&[0, 7, 12]), "firmware-pcrs-unusable"),
        ("reset", held(&[0, 7, 16]), "firmware-pcrs-unusable"),
        ("half", held(&[7]), "firmware-pcr-lacking"),
    ] {
        let refused = scene.add_reference(name, &pcrs).await;
        assert_eq!(problem(&refused), expected, "{}", refused.1);
    }
    let body = json!({ "name": "x", "pcrs": { "0": "00" } });
    let refused = scene.bench.post(&operator(), "/v1/firmware", body).await;
    assert_eq!(problem(&refused), "body-malformed");
    let observer = Peer::Operator {
        name: "oscar".into(),
        role: Role::Observer,
        not_after: now_s() + 60,
    };
    let body = json!({ "name": "x", "pcrs": texts(&held(&[0, 7])) });
    let refused = scene.bench.post(&observer, "/v1/firmware", body).await;
    assert_eq!(problem(&refused), "role-insufficient");
    let refused = scene.bench.get(&scene.booted, "/v1/firmware").await;
    assert_eq!(problem(&refused), "wrong-role");

    // The same values are the same reference, by its last name.
    let mut ids = Vec::new();
    for (name, pcrs) in [("first", [0, 7]), ("second", [0, 7])] {
        let (_, added) = scene.add_reference(name, &held(&pcrs)).await;
        ids.push(added["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    for byte in 1..=255_u8 {
        let pcrs = BTreeMap::from([(0, Sha384([byte; 48])), (7, Sha384([byte; 48]))]);
        assert_eq!(scene.add_reference("many", &pcrs).await.0, StatusCode::OK);
    }
    let more = BTreeMap::from([(0, Sha384::ZERO), (7, Sha384::ZERO)]);
    let refused = scene.add_reference("one more", &more).await;
    assert_eq!(problem(&refused), "too-many-firmware-references");
    let again = scene.add_reference("again", &held(&[0, 7])).await;
    assert_eq!(again.0, StatusCode::OK);

    let (mut after, mut listed) = (String::new(), Vec::new());
    loop {
        let path = format!("/v1/firmware?limit=100{after}");
        let (_, page) = scene.bench.get(&operator(), &path).await;
        listed.extend(page["references"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(listed.len(), 256);
    let named = listed
        .iter()
        .find(|reference| reference["id"] == ids[0].as_str());
    let named = named.unwrap();
    assert_eq!(
        (&named["name"], &named["operator"]),
        (&json!("again"), &json!("ann"))
    );
    assert_eq!(named["pcrs"], json!(texts(&held(&[0, 7]))));
    assert_eq!(named["retired_at_ms"], Value::Null);
}
