//! Signed formats.

use bartizan_attestation::appraisal::{appraise, verify_report};
use bartizan_attestation::boot::Sha384;
use bartizan_attestation::certificates::Usage;
use bartizan_attestation::certificates::tcb_info::TcbInfo;
use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::keys::VaultKind;
use bartizan_attestation::operation::log::{Event, Head, Record};
use bartizan_attestation::operation::{Operation, Order, SignedOrder, sign_order};
use bartizan_attestation::renewal::RenewalRequest;
use bartizan_attestation::result::{Issue, claims};
use bartizan_attestation::rotation::RotationOrder;
use bartizan_attestation::succession::Successor;
use bartizan_attestation::vault_counter::{Machine, Statement};
use bartizan_fuzz::fleet::{FLEET, NOW_S, signed_contents};
use bartizan_fuzz::scene::CERTIFICATE;
use bartizan_fuzz::{pieces, scene};

use crate::Seed;

pub(crate) fn seeds() -> Vec<Seed> {
    let key = FLEET.guest_key.public_key();
    let csr = FLEET.guest_key.csr().unwrap();
    let profile = scene::request(scene::profile_target()).encode();
    let physical = scene::request(scene::physical_target()).encode();
    let new = &FLEET.operator_key;
    let leaf = FLEET.chain(Usage::GuestKey).swap_remove(0);
    let renewal = RenewalRequest::new(&leaf, new.csr().unwrap()).encode();
    let record = scene::RECORD.as_bytes().to_vec();
    let claims = claims_json();
    let header = format!(r#"{{"alg":"ES256","typ":"eat+jwt","x5t#S256":"{CERTIFICATE}"}}"#);
    [
        cose(),
        certificates(),
        vec![
            ("public_key", "p384", key.spki_der()),
            ("csr", "contents", signed_contents(&csr).to_vec()),
            ("succession", "contents", signed_contents(&csr).to_vec()),
            ("csr", "whole", csr),
            ("tcb_info", "guest", tcb_info(true)),
            ("tcb_info", "booted", booted()),
            ("tcb_info", "card", tcb_info(false)),
            ("identity", "guest", FLEET.guest.to_string().into()),
            ("identity", "card", FLEET.guest.card.to_string().into()),
            (
                "identity",
                "operator",
                b"urn:bartizan:operator:alice:administrator".to_vec(),
            ),
            ("operation", "order", order().encode()),
            ("operation", "attest", attest().encode()),
            ("vault_counter", "statement", statement().encode()),
            ("vault_counter", "message", signed_statement()),
            ("succession", "successor", successor().encode()),
            ("succession", "message", signed_successor()),
            ("operation", "message", signed_order()),
            ("rotation", "order", rotation_order().encode()),
            ("operation", "record", log_record()),
            ("identity", "token", b"urn:bartizan:token".to_vec()),
            ("request", "physical", physical.clone()),
            ("request", "profile", profile.clone()),
            ("request", "message", scene::signed_request(&profile)),
            ("renewal", "request", renewal.clone()),
            ("renewal", "message", scene::signed_renewal(&renewal)),
            (
                "report",
                "profile",
                pieces::join(&[profile, scene::report().encode()]),
            ),
            (
                "report",
                "physical",
                pieces::join(&[physical, physical_report()]),
            ),
            ("launch_record", "kernel", record),
            (
                "launch_record",
                "firmware",
                include_bytes!("firmware.yaml").to_vec(),
            ),
            ("profile", "ledger", scene::profile().to_json()),
            ("token", "claims", claims.clone().into()),
            ("token", "header", format!("{header}\n{claims}").into()),
            ("claims", "affirming", claims.into()),
        ],
    ]
    .concat()
}

fn order() -> Order {
    Order {
        version: Order::VERSION,
        host: FLEET.guest.card,
        operation: Operation::ListGuests,
        nonce: vec![7; 32].into(),
        issued_at: NOW_S,
        expires_at: NOW_S + 120,
    }
}

/// One whose operation has no arguments either, but another role.
fn attest() -> Order {
    Order {
        operation: Operation::AttestHost,
        ..order()
    }
}

fn signed_order() -> Vec<u8> {
    let chain = FLEET.chain(Usage::Operator);
    sign_order(&order(), &chain, &FLEET.operator_key).unwrap()
}

/// The beginning of that order, as a log's first record.
fn log_record() -> Vec<u8> {
    let signed = SignedOrder::verify(&signed_order(), &FLEET.ca, NOW_S).unwrap();
    let record = Record {
        index: 0,
        at_s: NOW_S,
        previous: Head::empty().sha384,
        event: Event::begun(&signed),
    };
    record.line().unwrap()
}

fn statement() -> Statement {
    Statement {
        version: Statement::VERSION,
        card: FLEET.guest.card,
        counter: 7,
        mark: [1; 32],
        random: [2; 32],
        machine: Machine::new("rack1-07".into(), [3; 16]).unwrap(),
    }
}

fn signed_statement() -> Vec<u8> {
    let chain = FLEET.chain(Usage::Card);
    statement().sign(&chain, &FLEET.card_key).unwrap()
}

fn successor() -> Successor {
    Successor::new(FLEET.operator_key.csr().unwrap())
}

fn signed_successor() -> Vec<u8> {
    let chain = FLEET.chain(Usage::Card);
    successor().sign(&chain, &FLEET.card_key).unwrap()
}

fn cose() -> Vec<Seed> {
    let chain = FLEET.chain(Usage::GuestKey);
    let request = MessageType::MeasurementRequest;
    let message =
        |kind, chain: &[Vec<u8>]| sign1(kind, b"payload", chain, &FLEET.guest_key).unwrap();
    let with = |selector: u8, message: Vec<u8>| [vec![selector], message].concat();
    vec![
        ("cose", "request", with(0, message(request, &[]))),
        ("cose", "one", with(0, message(request, &chain[..1]))),
        ("cose", "chain", with(0, message(request, &chain))),
        ("cose", "report", with(1, message(MessageType::Report, &[]))),
        (
            "cose",
            "record",
            with(2, message(MessageType::LaunchRecord, &[])),
        ),
        (
            "cose",
            "operation",
            with(4, message(MessageType::Operation, &[])),
        ),
    ]
}

fn rotation_order() -> RotationOrder {
    RotationOrder {
        version: RotationOrder::VERSION,
        fleet_ca: [7; 32],
        expires_at: NOW_S + 120,
    }
}

/// Each chain whole, and its leaf's contents; the CA, and what links it to the next.
fn certificates() -> Vec<Seed> {
    const NAMES: [&str; 10] = [
        "card",
        "report",
        "guest",
        "client",
        "server",
        "operator",
        "token",
        "enclave",
        "evidence",
        "hypervisor",
    ];
    const CONTENTS: [&str; 10] = [
        "card-contents",
        "report-contents",
        "guest-contents",
        "client-contents",
        "server-contents",
        "operator-contents",
        "token-contents",
        "enclave-contents",
        "evidence-contents",
        "hypervisor-contents",
    ];
    let mut seeds = Vec::new();
    for (index, usage) in (0..).zip(Usage::ALL) {
        let chain = FLEET.chain(usage);
        let contents = signed_contents(&chain[0]);
        let place = usize::from(index);
        seeds.push((
            "certificates",
            NAMES[place],
            [vec![index], pieces::join(&chain)].concat(),
        ));
        seeds.push((
            "certificates",
            CONTENTS[place],
            [&[0x80 | index], contents].concat(),
        ));
    }
    let ca = FLEET.ca.der();
    seeds.push(("certificates", "anchor", [&[0], ca].concat()));
    seeds.push((
        "certificates",
        "anchor-contents",
        [&[0x80], signed_contents(ca)].concat(),
    ));
    for former in &FLEET.lineage.former {
        let links = [&former.new_with_old, &former.old_with_new].map(|link| link.to_vec());
        let contents = signed_contents(&links[0]);
        seeds.push((
            "certificates",
            "links",
            [vec![0x70], pieces::join(&links)].concat(),
        ));
        seeds.push((
            "certificates",
            "link-contents",
            [&[0xf0], contents].concat(),
        ));
    }
    seeds
}

/// With the phases of a boot.
fn booted() -> Vec<u8> {
    let info = TcbInfo {
        vault: VaultKind::Software,
        launch_measurement: None,
        phases: vec![Sha384::of(b"card"), Sha384::of(b"devices")],
    };
    info.encode().unwrap()
}

fn tcb_info(of_guest: bool) -> Vec<u8> {
    let info = TcbInfo {
        vault: VaultKind::Software,
        launch_measurement: of_guest.then(|| FLEET.launch_measurement()),
        phases: Vec::new(),
    };
    info.encode().unwrap()
}

fn physical_report() -> Vec<u8> {
    let mut report = scene::report();
    let regions = scene::physical_target().regions().to_vec();
    report.processes.clear();
    report.translation = None;
    report.page_digests = None;
    report.regions.truncate(1);
    report.regions = regions
        .into_iter()
        .map(|region| {
            let mut measured = report.regions[0].clone();
            measured.region = region;
            measured
        })
        .collect();
    report.encode()
}

/// The claims about the scene's report, for the request whose digest is all threes.
pub(crate) fn claims_json() -> String {
    let mut report = scene::report();
    report.request = scene::signed_request(&scene::request(scene::profile_target()).encode());
    let chain = FLEET.chain(Usage::ReportKey);
    let message = sign1(
        MessageType::Report,
        &report.encode(),
        &chain,
        &FLEET.report_key,
    )
    .unwrap();
    let message = scene::with_page_digests(&report, message);
    let guest_chain = FLEET.chain(Usage::GuestKey);
    let verified = verify_report(&message, &guest_chain, &FLEET.ca, NOW_S * 1000).unwrap();
    let issue = Issue {
        issuer: "https://verifier.example".into(),
        verdict: "0190b6c8-4b7e-7000-8000-000000000001".into(),
        build: "bartizan-verifier 0.1.0".into(),
        now_s: NOW_S,
        lifetime_s: 300,
        releases: Vec::new(),
        firmware: None,
    };
    let mut claims = claims(
        &verified,
        &appraise(&verified, Some(&scene::profile())),
        &issue,
    );
    claims.bartizan_request = [3; 32];
    claims.to_json()
}
