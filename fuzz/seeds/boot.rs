//! Seeds of the measured boot's targets.

use bartizan_attestation::boot::{
    Bundle, BundleRefusal, BundleReply, BundleRequest, Capability, Component, CoordinatorAnswer,
    CoordinatorStep, Event, EventLog, File, Link, Manifest, Measured, Part, Phase, Refusal,
    Register, Sha384, Start, VaultAnswer, VaultStep,
};
use bartizan_attestation::cbor;
use bartizan_fuzz::fleet::FLEET;

use crate::Seed;

/// A real machine's.
const FIRMWARE: &[u8] = include_bytes!("../../trust/boot/firmware-logs/ovmf.log");

pub(crate) fn seeds() -> Vec<Seed> {
    let log = log();
    let selected = |selector: u8, bytes: &[u8]| [&[selector], bytes].concat();
    let signed = manifest(Part::Bundle)
        .sign(&FLEET.operator_key)
        .expect("it is possible");
    let bundle = Bundle {
        manifest: signed.clone().into(),
        files: vec![File {
            name: Phase::Coordinator.name().into(),
            contents: Phase::Coordinator.name().as_bytes().to_vec().into(),
        }],
    };
    let newest = BundleRequest::Newest {
        release_key: [7; 32],
    };
    let refused = BundleReply::Refused(BundleRefusal::VerifierRefused {
        status: 503,
        problem: "{}".into(),
    });
    let mismatch = Refusal::Mismatch {
        phase: Phase::Card,
        component: "card".into(),
        expected: vec![Sha384::ZERO],
        found: Sha384::of(b"x"),
    };
    let steps = [
        VaultStep::Begin {
            release_key: FLEET.operator_key.public_key().spki_der(),
            extended: 0,
        },
        VaultStep::Firmware(b"a log".to_vec()),
        VaultStep::Measure {
            name: "card".into(),
            sha384: Sha384::ZERO,
        },
        VaultStep::Complete(Phase::Card),
        VaultStep::Fail(mismatch.clone()),
    ];
    let framed = |step: &VaultStep| {
        let bytes = bartizan_local::encode(step);
        let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        [&[length][..], &bytes].concat()
    };
    let walk: Vec<u8> = steps.iter().flat_map(framed).collect();
    vec![
        ("event_log", "cbor", selected(0, &log.to_cbor())),
        ("firmware_log", "ovmf", FIRMWARE.to_vec()),
        (
            "event_log",
            "json",
            selected(1, log.to_json().to_string().as_bytes()),
        ),
        ("release", "signed", selected(0, &signed)),
        (
            "release",
            "base",
            selected(1, &cbor::encode(&manifest(Part::Base))),
        ),
        (
            "release",
            "bundle_manifest",
            selected(1, &cbor::encode(&manifest(Part::Bundle))),
        ),
        ("release", "bundle", selected(2, &bundle.to_bytes())),
        ("boot_link", "walk", selected(0, &walk)),
        (
            "boot_link",
            "answer",
            selected(
                1,
                &bartizan_local::encode(&VaultAnswer::Refused {
                    refusal: mismatch.clone(),
                    extended: 3,
                }),
            ),
        ),
        (
            "boot_link",
            "step",
            selected(
                2,
                &bartizan_local::encode(&CoordinatorStep::Launch(Phase::Enclave)),
            ),
        ),
        (
            "boot_link",
            "stopped",
            selected(
                3,
                &bartizan_local::encode(&CoordinatorAnswer::Stopped(mismatch.clone())),
            ),
        ),
        (
            "boot_link",
            "refusal",
            selected(4, &bartizan_local::encode(&mismatch)),
        ),
        (
            "boot_link",
            "bundle_request",
            selected(5, &bartizan_local::encode(&newest)),
        ),
        (
            "boot_link",
            "bundle_follows",
            selected(
                6,
                &bartizan_local::encode(&BundleReply::Follows { size: 100 }),
            ),
        ),
        (
            "boot_link",
            "bundle_refused",
            selected(6, &bartizan_local::encode(&refused)),
        ),
    ]
}

fn manifest(part: Part) -> Manifest {
    let named = |phase| match phase {
        Phase::Devices => "card",
        phase => phase.name(),
    };
    let start = |phase: Phase| Start {
        phase,
        user: "nobody".into(),
        arguments: vec!["--config".into(), format!("{{{}}}", named(phase))],
        capabilities: vec![Capability::Kill],
        inherits: vec![named(phase).into()],
        link: Some(Link::Coordinator),
        environment: vec!["A=b".into()],
    };
    // Nothing is measured before it.
    let vault = Start {
        arguments: vec!["--help".into()],
        inherits: Vec::new(),
        link: Some(Link::Vault),
        ..start(Phase::Card)
    };
    let component = |phase: Phase| Component {
        phase,
        name: phase.name().into(),
        path: (phase != Phase::Coordinator).then(|| format!("/{}", phase.name())),
        sha384: vec![Sha384::of(phase.name().as_bytes())],
        start: match phase {
            Phase::Card => Some(vault.clone()),
            Phase::Devices | Phase::Coordinator => Some(start(phase)),
            Phase::Hypervisor | Phase::Enclave => None,
        },
    };
    Manifest {
        product: "seed".into(),
        part,
        version: 1,
        components: (Phase::ALL.into_iter())
            .filter(|phase| phase.part() == part)
            .map(component)
            .collect(),
    }
}

fn log() -> EventLog {
    let event = |register, measured| Event { register, measured };
    EventLog::new(vec![
        event(
            Register::Measurement,
            Measured::Release {
                part: Part::Base,
                version: 1,
                signer: [7; 32],
                manifest: Sha384::ZERO,
            },
        ),
        event(
            Register::Measurement,
            Measured::Component {
                phase: Phase::Card,
                name: "card".into(),
                sha384: Sha384::of(b"card"),
            },
        ),
        event(
            Register::Measurement,
            Measured::Completed { phase: Phase::Card },
        ),
        event(Register::Authority, Measured::Authority { signer: [7; 32] }),
        event(
            Register::Measurement,
            Measured::Failed {
                phase: Phase::Devices,
                component: Some("devices".into()),
                found: None,
            },
        ),
    ])
}
