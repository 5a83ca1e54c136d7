//! How a host was booted: nothing of one that was booted otherwise is accepted.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use bartizan_attestation::boot::{
    Bundle, Component, Event, EventLog, File, Link, Manifest, Measured, Part, Phase, Sequence,
    Sha384, Start, VerifiedManifest,
};
use bartizan_attestation::cose::Sign as _;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::keys::VaultKind;
use bartizan_verifier::binary::Binary;
use bartizan_verifier::clock::now_s;
use bartizan_verifier::peer::{ChannelBinding, Peer};
use bartizan_verifier::problem::ProblemType as _;
use bartizan_verifier::storage::{EnrolledHost, EnrolledTpm};
use bartizan_verifier::streams::{StreamAccessError, admit};
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, operator, problem, submission};
use crate::fleet::Authority;
use crate::host::{Guest, Host};

/// Two releases and who signs them.
pub(crate) struct Factory {
    key: EphemeralKey,
    manifests: [Manifest; 2],
}

/// What each boot needs of a phase: a vault, and a stage that leads on to the next part.
fn started_in(phase: Phase) -> Option<Start> {
    let link = match phase {
        Phase::Card => Link::Vault,
        Phase::Devices | Phase::Coordinator => Link::Coordinator,
        Phase::Hypervisor | Phase::Enclave => return None,
    };
    Some(Start {
        phase,
        user: "nobody".into(),
        arguments: Vec::new(),
        capabilities: Vec::new(),
        inherits: Vec::new(),
        link: Some(link),
        environment: Vec::new(),
    })
}

/// A boot: its log, and the phases that the card's vault has seen.
#[derive(Clone)]
pub(crate) struct Boot {
    pub(crate) log: EventLog,
    pub(crate) phases: Vec<Sha384>,
}

impl Factory {
    pub(crate) fn new() -> Self {
        let component = |phase, name: &str| Component {
            phase,
            name: name.into(),
            path: Some(format!("/usr/lib/bartizan/{name}")),
            sha384: vec![Sha384::of(name.as_bytes())],
            start: started_in(phase),
        };
        let manifest = |part, components| Manifest {
            product: "bartizan".into(),
            part,
            version: 1,
            components,
        };
        let mut stage2 = component(Phase::Coordinator, "stage2");
        stage2.path = None;
        let manifests = [
            manifest(
                Part::Base,
                vec![
                    component(Phase::Card, "card"),
                    component(Phase::Devices, "devices"),
                ],
            ),
            manifest(
                Part::Bundle,
                vec![stage2, component(Phase::Hypervisor, "hypervisor")],
            ),
        ];
        let key = EphemeralKey::generate().unwrap();
        Self { key, manifests }
    }

    /// Of another version.
    fn next(&self) -> Self {
        let mut manifests = self.manifests.clone();
        manifests[1].version += 1;
        let key = EphemeralKey::from_pkcs8_der(self.key.pkcs8_der()).unwrap();
        Self { key, manifests }
    }

    /// A bundle of a version, whose one file has these contents: what registers its release, and all of it.
    pub(crate) fn bundle(&self, version: u64, contents: &[u8]) -> (Value, Bundle) {
        let mut manifest = self.manifests[1].clone();
        manifest.version = version;
        manifest.components[0].sha384 = vec![Sha384::of(contents)];
        let bundle = Bundle {
            manifest: self.signed(&manifest).into(),
            files: vec![File {
                name: "stage2".into(),
                contents: contents.to_vec().into(),
            }],
        };
        (self.registration(&bundle.manifest), bundle)
    }

    /// A base, in the clothes of a bundle.
    pub(crate) fn base_as_bundle(&self) -> (Value, Bundle) {
        let bundle = Bundle {
            manifest: self.signed(&self.manifests[0]).into(),
            files: Vec::new(),
        };
        (self.registration(&bundle.manifest), bundle)
    }

    /// What registers a signed manifest.
    fn registration(&self, signed: &[u8]) -> Value {
        let key = self.key.public_key();
        json!({ "manifest": Binary::encode(signed), "key": Binary::encode(&key.spki_der()) })
    }

    /// The digest by which its key is named.
    pub(crate) fn key_sha256(&self) -> [u8; 32] {
        self.key.public_key().sha256()
    }

    fn signed(&self, manifest: &Manifest) -> Vec<u8> {
        manifest.sign(&self.key).unwrap()
    }

    fn digest(&self, index: usize) -> String {
        let signed = self.signed(&self.manifests[index]);
        let verified = VerifiedManifest::verify(&signed, &self.key.public_key()).unwrap();
        verified.sha384().to_string()
    }

    /// A boot up to the end of a phase.
    pub(crate) fn boot(&self, last: Phase) -> Boot {
        let mut sequence = Sequence::new(self.key.public_key().sha256());
        let mut boot = Boot {
            log: EventLog::default(),
            phases: Vec::new(),
        };
        for manifest in &self.manifests {
            let verified =
                VerifiedManifest::verify(&self.signed(manifest), &self.key.public_key()).unwrap();
            boot.push(sequence.accept(verified, 0).unwrap());
            let phases = Phase::ALL.into_iter();
            for phase in phases.filter(|phase| phase.part() == manifest.part && *phase <= last) {
                for component in manifest.of(phase) {
                    boot.push(
                        sequence
                            .measure(&component.name, component.sha384[0])
                            .unwrap(),
                    );
                }
                if phase <= last && phase < Phase::Enclave {
                    boot.push(sequence.complete(phase).unwrap());
                    boot.phases.push(boot.log.replay().measurement);
                }
            }
            if last.part() == manifest.part {
                break;
            }
        }
        boot
    }
}

impl Boot {
    fn push(&mut self, events: Vec<Event>) {
        events.into_iter().for_each(|event| self.log.push(event));
    }
}

/// A verifier that demands boots of the factory's, and a host.
pub(crate) async fn start(factory: &Factory) -> (Bench, Host) {
    start_demanding(factory, "not_demanded").await
}

/// The same, and what is demanded of firmware.
pub(crate) async fn start_demanding(factory: &Factory, firmware: &str) -> (Bench, Host) {
    let key = hex::encode(factory.key.public_key().sha256());
    let demanded =
        format!("measured_boot: {{demanded: {{release_keys: ['{key}'], firmware: {firmware}}}}}");
    let bench = Bench::start_with(Authority::fleet(), &demanded).await;
    let host = Host::enrolled(&bench.vault.fleet);
    (bench, host)
}

pub(crate) async fn register(bench: &Bench, factory: &Factory) {
    for manifest in &factory.manifests {
        let answer = bench
            .post(&operator(), "/v1/releases", release(factory, manifest))
            .await;
        assert_eq!(answer.0, StatusCode::NO_CONTENT, "{}", answer.1);
    }
}

fn release(factory: &Factory, manifest: &Manifest) -> Value {
    factory.registration(&factory.signed(manifest))
}

pub(crate) fn peer(host: &Host, phases: &[Sha384]) -> Peer {
    Peer::Host {
        card: host.card,
        card_key: host.authority.key.public_key().sha256(),
        phases: phases.to_vec(),
        certificate: [1; 32],
        not_after: now_s() + 60,
    }
}

async fn hand_in(bench: &Bench, peer: &Peer, log: &EventLog) -> Answer {
    let log = json!({ "log": Binary::encode(&log.to_cbor()) });
    bench.post(peer, "/v1/hosts/boot", log).await
}

pub(crate) async fn nonce(bench: &Bench, peer: &Peer, guest: &Guest) -> Answer {
    let wish = json!({ "guest": guest.identity.to_string() });
    bench.post(peer, "/v1/nonces", wish).await
}

#[tokio::test]
async fn a_host_is_served_once_its_boot_was_accepted_and_its_results_say_of_which_releases() {
    let factory = Factory::new();
    let (bench, mut host) = start(&factory).await;
    register(&bench, &factory).await;
    let boot = factory.boot(Phase::Hypervisor);
    host.authority.phases.clone_from(&boot.phases);
    let (booted, guest) = (peer(&host, &boot.phases), host.guest(1, 1));
    assert_eq!(
        problem(&nonce(&bench, &booted, &guest).await),
        "boot-not-accepted"
    );

    let (status, accepted) = hand_in(&bench, &booted, &boot.log).await;
    assert_eq!(status, StatusCode::OK, "{accepted}");
    let expected = json!({
        "base": factory.digest(0), "base_version": 1, "bundle": factory.digest(1), "bundle_version": 1,
        "phase": "hypervisor", "quoted": false, "firmware": null,
    });
    assert_eq!(accepted, expected);

    let (status, answer) = nonce(&bench, &booted, &guest).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let nonce = Binary::decode(answer["nonce"].as_str().unwrap()).unwrap();
    let report = guest.attest(nonce.try_into().unwrap(), "nginx");
    let submitted = submission(&report, &guest.chain);
    let (status, judged) = bench.post(&booted, "/v1/reports", submitted).await;
    assert_eq!(status, StatusCode::OK, "{judged}");
    let claims = judged["token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&Binary::decode(claims).unwrap()).unwrap();
    let claimed = &claims["bartizan_basis"]["boot"];
    assert_eq!(claimed["releases"][0]["manifest"], json!(factory.digest(0)));
    assert_eq!(claimed["releases"][1]["manifest"], json!(factory.digest(1)));
    assert_eq!(claimed["phases"][3]["phase"], "hypervisor");

    let path = format!("/v1/hosts/{}/boots", host.card);
    let (_, boots) = bench.get(&operator(), &path).await;
    assert_eq!(boots["boots"][0]["bundle"], json!(factory.digest(1)));
    let (_, latest) = bench.get(&operator(), path.trim_end_matches('s')).await;
    let log = Binary::decode(latest["log"].as_str().unwrap()).unwrap();
    assert_eq!(EventLog::from_cbor(&log).unwrap(), boot.log);
}

/// Whether the host's enclave, certified in a boot of these phases, may hold a stream open.
async fn streams(bench: &Bench, host: &Host, phases: &[Sha384]) -> Result<(), StreamAccessError> {
    let enclave = Peer::Enclave {
        card: host.card,
        card_key: host.authority.key.public_key().sha256(),
        phases: phases.to_vec(),
        not_after: now_s() + 60,
    };
    admit(&bench.service, &enclave).await.map(drop)
}

#[tokio::test]
async fn an_enclave_holds_a_stream_open_once_the_boot_of_its_host_was_accepted() {
    let factory = Factory::new();
    let (bench, host) = start(&factory).await;
    register(&bench, &factory).await;
    let boot = factory.boot(Phase::Hypervisor);
    let refused = |outcome: Result<(), StreamAccessError>| match outcome {
        Err(StreamAccessError::Access(error)) => error.kind().0,
        other => panic!("{other:?}"),
    };
    let early = streams(&bench, &host, &boot.phases).await;
    assert_eq!(refused(early), "boot-not-accepted");
    let booted = peer(&host, &boot.phases);
    assert_eq!(hand_in(&bench, &booted, &boot.log).await.0, StatusCode::OK);
    streams(&bench, &host, &boot.phases).await.unwrap();
    for other in [Vec::new(), vec![Sha384::ZERO; 4], boot.phases[..3].to_vec()] {
        let refusal = refused(streams(&bench, &host, &other).await);
        assert_eq!(refusal, "boot-not-accepted");
    }
    let path = format!("/v1/releases/{}", factory.digest(1));
    let ann = operator();
    let retired = bench.call(&ann, Method::DELETE, &path, Value::Null);
    assert_eq!(retired.await.0, StatusCode::NO_CONTENT);
    let late = streams(&bench, &host, &boot.phases).await;
    assert_eq!(refused(late), "boot-not-accepted");
}

#[tokio::test]
async fn a_retired_release_is_refused_with_the_next_request_and_its_reports_too() {
    let factory = Factory::new();
    let (bench, mut host) = start(&factory).await;
    register(&bench, &factory).await;
    let boot = factory.boot(Phase::Hypervisor);
    host.authority.phases.clone_from(&boot.phases);
    let (booted, guest) = (peer(&host, &boot.phases), host.guest(1, 1));
    assert_eq!(hand_in(&bench, &booted, &boot.log).await.0, StatusCode::OK);
    assert_eq!(nonce(&bench, &booted, &guest).await.0, StatusCode::OK);

    let path = format!("/v1/releases/{}", factory.digest(1));
    let retire = async || {
        bench
            .call(&operator(), Method::DELETE, &path, Value::Null)
            .await
    };
    assert_eq!(retire().await.0, StatusCode::NO_CONTENT);
    assert_eq!(problem(&retire().await), "no-release");
    assert_eq!(
        problem(&nonce(&bench, &booted, &guest).await),
        "boot-not-accepted"
    );
    let again = hand_in(&bench, &booted, &boot.log).await;
    assert_eq!(problem(&again), "boot-release-unknown");
    let (_, listed) = bench.get(&operator(), "/v1/releases").await;
    let retired = |release: &Value| release["retired_by"] == "ann";
    let listed = listed["releases"].as_array().unwrap();
    assert_eq!(listed.iter().filter(|one| retired(one)).count(), 1);

    // Registered again it is in force again, and what was accepted of it counts.
    register(&bench, &factory).await;
    assert_eq!(nonce(&bench, &booted, &guest).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_key_that_left_the_configuration_takes_its_releases_along() {
    let factory = Factory::new();
    let (bench, host) = start(&factory).await;
    register(&bench, &factory).await;
    let boot = factory.boot(Phase::Hypervisor);
    let booted = peer(&host, &boot.phases);
    assert_eq!(hand_in(&bench, &booted, &boot.log).await.0, StatusCode::OK);
    let storage = &bench.service.storage;
    let own = factory.key.public_key().sha256();
    let retire = async |signers: &[[u8; 32]]| {
        let retired = storage.retire_releases_of_others(signers, "configuration", 1);
        retired.await.unwrap()
    };
    assert_eq!(retire(&[[7; 32], own]).await, 0);
    assert_eq!(retire(&[[7; 32]]).await, 2);
    let guest = host.guest(1, 1);
    assert_eq!(
        problem(&nonce(&bench, &booted, &guest).await),
        "boot-not-accepted"
    );
}

#[tokio::test]
async fn no_other_boot_is_accepted() {
    let factory = Factory::new();
    let (bench, host) = start(&factory).await;
    let boot = factory.boot(Phase::Hypervisor);
    let booted = peer(&host, &boot.phases);
    let unknown = hand_in(&bench, &booted, &boot.log).await;
    assert_eq!(problem(&unknown), "boot-release-unknown");
    assert!(
        unknown.1["detail"]
            .as_str()
            .unwrap()
            .contains(&factory.digest(0))
    );
    register(&bench, &factory).await;

    // The certificate is of another boot, of none, or of one that has not come as far.
    let other = factory.next().boot(Phase::Hypervisor);
    for phases in [&other.phases[..], &[], &boot.phases[..3]] {
        let refused = hand_in(&bench, &peer(&host, phases), &boot.log).await;
        assert_eq!(problem(&refused), "boot-not-certified", "{}", refused.1);
    }
    let early = factory.boot(Phase::Devices);
    let refused = hand_in(&bench, &peer(&host, &early.phases), &early.log).await;
    assert_eq!(problem(&refused), "boot-under-way");
    // A log with an event dropped, swapped, added; of a component that no release allows; of a boot that was stopped.
    let events = boot.log.events();
    let change = |change: &dyn Fn(&mut Vec<Event>)| {
        let mut events = events.to_vec();
        change(&mut events);
        EventLog::new(events)
    };
    let evil = |events: &mut Vec<Event>| {
        if let Measured::Component { sha384, .. } = &mut events[1].measured {
            *sha384 = Sha384::of(b"evil");
        }
    };
    let stopped = |events: &mut Vec<Event>| {
        let failed = Measured::Failed {
            phase: Phase::Enclave,
            component: None,
            found: None,
        };
        let register = events[0].register;
        events.push(Event {
            register,
            measured: failed,
        });
    };
    let guest = host.guest(1, 1);
    let digests = [Sha384::of(b"card"), Sha384::of(b"evil")];
    for (log, expected, named) in [
        (
            change(&|events| drop(events.remove(1))),
            "boot-refused",
            &[][..],
        ),
        (change(&|events| events.swap(1, 2)), "boot-refused", &[]),
        (
            change(&|events| events.insert(1, events[1].clone())),
            "boot-refused",
            &[],
        ),
        (change(&evil), "boot-refused", &digests),
        (change(&stopped), "boot-stopped", &[]),
    ] {
        let refused = hand_in(&bench, &booted, &log).await;
        assert_eq!(problem(&refused), expected, "{}", refused.1);
        let detail = refused.1["detail"].as_str().unwrap();
        for digest in named {
            assert!(detail.contains(&digest.to_string()), "{detail}");
        }
        // What its registers would be: another boot than the certificate's, had it been allowed.
        assert_ne!(log.replay(), boot.log.replay());
        // Nor is the host served by its certificate alone.
        let asked = nonce(&bench, &booted, &guest).await;
        assert_eq!(problem(&asked), "boot-not-accepted", "{}", asked.1);
    }
    let wrong = bench
        .post(&booted, "/v1/hosts/boot", json!({ "log": "AAAA" }))
        .await;
    assert_eq!(problem(&wrong), "boot-log-malformed");
    // Another host has not this one's boot.
    assert_eq!(hand_in(&bench, &booted, &boot.log).await.0, StatusCode::OK);
    let twin = Host::enrolled(&bench.vault.fleet);
    let guest = twin.guest(1, 1);
    let refused = nonce(&bench, &peer(&twin, &boot.phases), &guest).await;
    assert_eq!(problem(&refused), "boot-not-accepted");
}

#[tokio::test]
async fn a_report_key_of_another_boot_than_the_accepted_one_says_nothing() {
    let factory = Factory::new();
    let (bench, mut host) = start(&factory).await;
    register(&bench, &factory).await;
    let boot = factory.boot(Phase::Hypervisor);
    let booted = peer(&host, &boot.phases);
    assert_eq!(hand_in(&bench, &booted, &boot.log).await.0, StatusCode::OK);
    let judge = async |guest: &Guest| {
        let (_, answer) = nonce(&bench, &booted, guest).await;
        let nonce = Binary::decode(answer["nonce"].as_str().unwrap()).unwrap();
        let report = guest.attest(nonce.try_into().unwrap(), "nginx");
        bench
            .post(&booted, "/v1/reports", submission(&report, &guest.chain))
            .await
    };
    let other = factory.next().boot(Phase::Hypervisor).phases;
    for phases in [Vec::new(), other, boot.phases[..3].to_vec()] {
        host.authority.phases = phases;
        let refused = judge(&host.guest(1, 1)).await;
        assert_eq!(problem(&refused), "boot-not-accepted", "{}", refused.1);
    }
    // A guest's key that was certified in another boot than the report's.
    host.authority.phases.clone_from(&boot.phases);
    let mut guest = host.guest(1, 1);
    host.authority.phases.clear();
    let stale = host.guest(1, 1);
    (guest.chain, guest.key) = (stale.chain, stale.key);
    assert_eq!(problem(&judge(&guest).await), "report-of-other-boot");
}

#[tokio::test]
async fn releases_are_registered_by_administrators_and_signed_by_configured_keys() {
    let factory = Factory::new();
    let (bench, _) = start(&factory).await;
    let stranger = Factory::new();
    let foreign = release(&stranger, &stranger.manifests[0]);
    let answer = bench.post(&operator(), "/v1/releases", foreign).await;
    assert_eq!(problem(&answer), "release-key-unknown");
    // Signed by another than the key that it is handed in with.
    let mut forged = release(&stranger, &stranger.manifests[0]);
    forged["key"] = release(&factory, &factory.manifests[0])["key"].clone();
    let answer = bench.post(&operator(), "/v1/releases", forged).await;
    assert_eq!(problem(&answer), "release-refused");
    let mut keyless = release(&factory, &factory.manifests[0]);
    keyless["key"] = json!("AAAA");
    let answer = bench.post(&operator(), "/v1/releases", keyless).await;
    assert_eq!(problem(&answer), "release-key-malformed");
    let observer = Peer::Operator {
        name: "oscar".into(),
        role: bartizan_attestation::certificates::Role::Observer,
        not_after: now_s() + 60,
    };
    let one = release(&factory, &factory.manifests[0]);
    let answer = bench.post(&observer, "/v1/releases", one).await;
    assert_eq!(problem(&answer), "role-insufficient");
    let (_, listed) = bench.get(&operator(), "/v1/releases").await;
    assert_eq!(listed, json!({ "releases": [], "next": null }));
}

/// A TPM's quote of registers, as its attestation key `key` signs it.
fn quote(key: &EphemeralKey, nonce: &[u8], registers: [(u8, Sha384); 2]) -> Value {
    quote_with(key, nonce, registers, &BTreeMap::new())
}

/// The same, of others beside the registers.
pub(crate) fn quote_with(
    key: &EphemeralKey,
    nonce: &[u8],
    registers: [(u8, Sha384); 2],
    others: &BTreeMap<u8, Sha384>,
) -> Value {
    let mut pcrs = BTreeMap::from(registers);
    pcrs.extend(others);
    let mut attested = vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x18, 0, 0, 0, 32];
    attested.extend(nonce);
    attested.extend([0; 25]);
    attested.extend([0, 0, 0, 1, 0, 0x0c, 3]);
    let selected = pcrs.keys().fold(0_u32, |bits, number| bits | 1 << number);
    attested.extend(&selected.to_le_bytes()[..3]);
    let values: Vec<u8> = pcrs.values().flat_map(|value| value.0).collect();
    attested.extend([0, 48]);
    attested.extend(Sha384::of(&values).0);
    let mut signature = vec![0, 0x18, 0, 0x0c];
    for number in key.sign(&attested).unwrap().chunks(48) {
        signature.extend([0, 48]);
        signature.extend(number);
    }
    let said: BTreeMap<_, _> = pcrs
        .iter()
        .map(|(number, value)| (number.to_string(), value.to_string()))
        .collect();
    json!({
        "attested": Binary::encode(&attested), "signature": Binary::encode(&signature), "pcrs": said,
    })
}

/// The host enrolled with a TPM whose attestation key this is.
pub(crate) async fn add_tpm(bench: &Bench, host: &Host, own: &EphemeralKey) {
    let enrolled = EnrolledHost {
        card: host.card,
        name: "host-1".into(),
        operator: "ann".into(),
        enrolled_at_ms: 1,
        certificate: Vec::new(),
        card_key: host.card.0,
        vault: VaultKind::Tpm2,
        tpm: Some(EnrolledTpm {
            endorsement: [1; 32],
            attestation_key: own.public_key().spki_der(),
        }),
    };
    bench.service.storage.add_host(&enrolled).await.unwrap();
}

#[tokio::test]
async fn a_host_with_a_tpm_is_accepted_with_its_quote_of_this_connection_only() {
    let factory = Factory::new();
    let (bench, host) = start(&factory).await;
    register(&bench, &factory).await;
    let (own, other) = (
        EphemeralKey::generate().unwrap(),
        EphemeralKey::generate().unwrap(),
    );
    add_tpm(&bench, &host, &own).await;
    let boot = factory.boot(Phase::Hypervisor);
    let booted = peer(&host, &boot.phases);
    let held = boot.log.replay();
    let registers = [(12, held.measurement), (15, held.authority)];
    let binding = [7; 32];
    let hand_in = async |quote: Option<Value>| {
        let log = Binary::encode(&boot.log.to_cbor());
        let body = json!({ "log": log, "quote": quote }).to_string();
        let mut request = Request::post("/v1/hosts/boot")
            .header(header::CONTENT_LENGTH, body.len())
            .body(Body::from(body))
            .unwrap();
        request.extensions_mut().insert(ChannelBinding(binding));
        bench.send(&booted, request).await
    };
    let zero = (12, Sha384::ZERO);
    let unquoted = streams(&bench, &host, &boot.phases).await;
    assert!(unquoted.is_err());
    for (quote, expected) in [
        (None, "boot-without-quote"),
        // By another TPM; for another connection.
        (
            Some(quote(&other, &binding, registers)),
            "boot-quote-refused",
        ),
        (Some(quote(&own, &[8; 32], registers)), "boot-quote-refused"),
        // Of a TPM that was told of no such boot; of PCRs that software resets; of one PCR for both.
        (
            Some(quote(&own, &binding, [zero, registers[1]])),
            "boot-not-quoted",
        ),
        (
            Some(quote(
                &own,
                &binding,
                [(16, held.measurement), registers[1]],
            )),
            "boot-not-quoted",
        ),
        // Of two that nobody has told anything so far.
        (
            Some(quote(
                &own,
                &binding,
                [(13, held.measurement), (14, held.authority)],
            )),
            "boot-not-quoted",
        ),
        (
            Some(quote(&own, &binding, [registers[1], registers[1]])),
            "boot-not-quoted",
        ),
    ] {
        let refused = hand_in(quote).await;
        assert_eq!(problem(&refused), expected, "{}", refused.1);
    }
    let mut lied = quote(&own, &binding, [zero, registers[1]]);
    lied["pcrs"]["12"] = json!(held.measurement.to_string());
    assert_eq!(problem(&hand_in(Some(lied)).await), "boot-quote-refused");
    let (status, answer) = hand_in(Some(quote(&own, &binding, registers))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");

    // Its enclave's certificate counts with that one, where it is of the same boot.
    assert!(streams(&bench, &host, &boot.phases).await.is_ok());
    let earlier = factory.boot(Phase::Coordinator);
    assert!(streams(&bench, &host, &earlier.phases).await.is_err());

    // With the next certificate of the same boot, a quote is due again.
    let guest = host.guest(1, 1);
    assert_eq!(nonce(&bench, &booted, &guest).await.0, StatusCode::OK);
    let Peer::Host {
        card,
        card_key,
        phases,
        not_after,
        ..
    } = booted
    else {
        panic!("a host");
    };
    let certificate = [2; 32];
    let next = Peer::Host {
        card,
        card_key,
        phases,
        certificate,
        not_after,
    };
    assert_eq!(
        problem(&nonce(&bench, &next, &guest).await),
        "boot-not-accepted"
    );
}
