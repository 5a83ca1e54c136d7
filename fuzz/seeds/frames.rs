//! Frames of the local links; the target's first byte selects the message type.

use bartizan_attestation::boot::{Phase, Sha384};
use bartizan_attestation::certificates::{FormerFleetCa, Lineage, Usage};
use bartizan_attestation::host::{
    AcceptedBoot, AcceptedRelease, CardReply, CardRequest, Enrollment, FromMeasurer, GuestState,
    GuestStatus, GuestSummary, HostDescription, Judgement, KeysShown, MeasurerContext,
    OperationReply, OperatorRefusal, OperatorReply, OperatorRequest, Outcome, RamRange,
    RenewedCertificate, ReportKeyRotated, SupervisorReply, SupervisorRequest, ToMeasurer,
};
use bartizan_attestation::keys::{
    Chain, KeyDescription, KeyEvent, KeyEventKind, KeyKind, Purpose, VaultKind, VaultReply,
    VaultRequest,
};
use bartizan_attestation::measurement::Refusal;
use bartizan_fuzz::fleet::FLEET;
use bartizan_fuzz::scene;
use bartizan_local::admission::{Admission, AdmissionReply, AdmissionRequest, Service, Ticket};
use bartizan_local::attachment::{Attach, Attached, DeviceKind};
use bartizan_local::encode;
use minicbor::Encode;
use minicbor::bytes::{ByteArray, ByteVec};

use crate::Seed;

pub(crate) fn seeds() -> Vec<Seed> {
    [
        vault(),
        operator(),
        card(),
        supervisor(),
        measurer(),
        devices(),
    ]
    .concat()
}

pub(crate) fn seed(selector: u8, name: &'static str, message: &impl Encode<()>) -> Seed {
    (
        "local_frame",
        name,
        [vec![selector], encode(message)].concat(),
    )
}

/// Short stand-ins: what certificates and keys hold is no matter of frames.
pub(crate) fn chain() -> Chain {
    vec![ByteVec::from(vec![0x30; 8]), ByteVec::from(vec![0x31; 8])]
}

fn lineage() -> Lineage {
    Lineage {
        present: vec![3; 4].into(),
        former: vec![FormerFleetCa {
            certificate: vec![4; 4].into(),
            new_with_old: vec![5; 4].into(),
            old_with_new: vec![6; 4].into(),
        }],
    }
}

fn vault() -> Vec<Seed> {
    let certify = VaultRequest::CertifyGuestKey {
        csr: vec![1; 4],
        guest: FLEET.guest,
        launch_measurement: FLEET.launch_measurement(),
        lifetime_s: 3600,
    };
    let sign = VaultRequest::SignTls {
        purpose: Purpose::TlsClient,
        certificate: vec![1; 4],
        message: vec![2; 8],
    };
    let key = KeyDescription {
        purpose: Purpose::CardIdentity,
        id: ByteArray::from([7; 32]),
        chain: chain(),
    };
    let revoke = VaultRequest::Revoke {
        purpose: Purpose::Token,
        id: ByteArray::from([7; 32]),
    };
    let description = VaultReply::Description {
        kind: VaultKind::Software,
        keys: vec![key],
        fleet_ca: Some(ByteVec::from(vec![3; 4])),
    };
    vec![
        seed(0, "vault-certify", &certify),
        seed(0, "vault-sign", &sign),
        seed(0, "vault-revoke", &revoke),
        seed(
            0,
            "vault-roll",
            &VaultRequest::RollFleetCa { lineage: lineage() },
        ),
        seed(1, "vault-fleet-cas", &VaultReply::FleetCas(Some(lineage()))),
        seed(1, "vault-history", &VaultReply::History(events())),
        seed(1, "vault-description", &description),
        seed(1, "vault-certificates", &VaultReply::Certificates(chain())),
    ]
}

/// One of each that is more than a word.
fn events() -> Vec<KeyEvent> {
    let id = ByteArray::from([7; 32]);
    let all = [
        KeyEventKind::Made,
        KeyEventKind::Certified {
            certificate: id,
            not_after: 9,
        },
        KeyEventKind::Superseded { by: id },
        KeyEventKind::not_destroyed(&"away"),
    ];
    let event = |(number, what)| KeyEvent {
        number,
        at_s: 5,
        kind: KeyKind::Token,
        id,
        what,
    };
    (0..).zip(all).map(event).collect()
}

fn operator() -> Vec<Seed> {
    let summary = GuestSummary {
        name: "web-1".into(),
        guest: FLEET.guest.to_string(),
        role: "web".into(),
        state: GuestState::Running,
        enrolled: true,
    };
    let stop = OperatorRequest::Stop {
        vm: "web-1".into(),
        force: false,
    };
    let refused = OperatorReply::Refused(OperatorRefusal::UnknownVm("x".into()));
    let rotate = OperatorRequest::RotateReportKey { vm: "web-1".into() };
    let shown = KeysShown {
        vault: VaultKind::Tpm2,
        keys: vec![KeyDescription {
            purpose: Purpose::TlsClient,
            id: ByteArray::from([7; 32]),
            chain: chain(),
        }],
    };
    let release = AcceptedRelease {
        manifest: Sha384([7; 48]),
        version: 3,
    };
    let accepted = AcceptedBoot {
        base: release.clone(),
        bundle: release,
        phase: Phase::Hypervisor,
        quoted: true,
        firmware: Some("ovmf".into()),
    };
    let renewed = RenewedCertificate {
        key: ByteArray::from([7; 32]),
        not_after: 9,
    };
    vec![
        seed(15, "operation-renewed", &OperationReply::Renewed(renewed)),
        seed(2, "operator-rotate", &rotate),
        seed(15, "operation-keys", &OperationReply::Keys(shown)),
        seed(
            15,
            "operation-history",
            &OperationReply::KeyHistory(events()),
        ),
        seed(
            15,
            "operation-attested",
            &OperationReply::Attested(accepted),
        ),
        seed(
            2,
            "operator-run",
            &OperatorRequest::Run { record: vec![1; 8] },
        ),
        seed(2, "operator-stop", &stop),
        seed(3, "operator-guests", &OperatorReply::Guests(vec![summary])),
        seed(3, "operator-refused", &refused),
    ]
}

fn card() -> Vec<Seed> {
    let next_boot = CardRequest::NextBoot {
        vm: [5; 16],
        operator: "ann".into(),
    };
    let judge = CardRequest::Judge {
        report: vec![1; 8].into(),
        guest_chain: chain(),
    };
    let host = HostDescription {
        card: FLEET.guest.card,
        vault: VaultKind::Software,
        chain: chain(),
        fleet_cas: lineage(),
        token_certificates: chain(),
    };
    let judged = Judgement {
        token_certificates: vec![vec![0x30, 0].into()],
        verdict: "1".into(),
        token: "a.b.c".into(),
        fleet_cas: lineage(),
    };
    vec![
        seed(4, "card-judge", &judge),
        seed(4, "card-boot", &next_boot),
        seed(5, "card-host", &CardReply::Host(host)),
        seed(5, "card-judged", &CardReply::Judged(judged)),
    ]
}

fn supervisor() -> Vec<Seed> {
    let renew = SupervisorRequest::Renew {
        request: vec![1; 8],
        chain: chain(),
    };
    let renewed = Enrollment::new(chain()).renewed(chain(), 1);
    let enroll = SupervisorRequest::Enroll {
        secret: [9; 32],
        enrollment: Enrollment::new(chain()),
    };
    let status = GuestStatus {
        guest: FLEET.guest,
        launch_measurement: FLEET.launch_measurement(),
        record: "version: 1\n".into(),
        cid: 42,
        state: GuestState::Booting,
        qemu_pid: Some(1),
        measurer_pid: None,
        accelerator: "tcg".into(),
        enrollment: Some(Enrollment::new(chain())),
        started_at_ms: 1,
    };
    vec![
        seed(6, "supervisor-enroll", &enroll),
        seed(
            6,
            "supervisor-stop",
            &SupervisorRequest::Stop { force: true },
        ),
        seed(6, "supervisor-renew", &renew),
        seed(7, "supervisor-renewed", &SupervisorReply::Renewed(renewed)),
        seed(7, "supervisor-status", &SupervisorReply::Status(status)),
        seed(
            7,
            "supervisor-secret",
            &SupervisorReply::LaunchSecret([9; 32]),
        ),
    ]
}

fn measurer() -> Vec<Seed> {
    let range = RamRange {
        address: 0x10_0000,
        size: 0x1000,
        file_offset: 0x10_0000,
    };
    let context = MeasurerContext {
        guest: FLEET.guest,
        launch_measurement: FLEET.launch_measurement(),
        ram: vec![range, range],
        bytes_per_request: 1 << 20,
        hypervisor_version: "0.1.0".into(),
        kernel_text: Some(0x100_0000),
    };
    let measure = ToMeasurer::Measure {
        id: 1,
        request: scene::signed_request(&scene::request(scene::physical_target()).encode()),
    };
    let refusal = Refusal::OverBudget {
        requested: 2,
        allowed: 1,
    };
    let installed = FromMeasurer::KeyInstalled {
        order: Some(2),
        rotated: ReportKeyRotated {
            new: ByteArray::from([7; 32]),
            destroyed: Some(ByteArray::from([6; 32])),
        },
    };
    let measured = FromMeasurer::Measured {
        id: 1,
        outcome: Outcome::Refused(refusal),
    };
    let certificate = FLEET.chain(Usage::ReportKey).into_iter().map(ByteVec::from);
    vec![
        seed(8, "measurer-context", &ToMeasurer::Context(context)),
        seed(8, "measurer-measure", &measure),
        seed(
            8,
            "measurer-certificate",
            &ToMeasurer::Certificate(certificate.collect()),
        ),
        seed(9, "measurer-measured", &measured),
        seed(8, "measurer-rotate", &ToMeasurer::RotateKey { order: 2 }),
        seed(9, "measurer-installed", &installed),
        seed(9, "measurer-pause", &FromMeasurer::Pause { lease_ms: 100 }),
    ]
}

fn devices() -> Vec<Seed> {
    let service = Service {
        port: 1027,
        socket: "/run/bartizan/api.sock".into(),
    };
    let ticket = Ticket::new([9; 32]);
    let admission = Admission {
        ticket,
        cid: 42,
        services: vec![service],
        network: None,
        runs: false,
    };
    vec![
        seed(
            10,
            "devices-attach",
            &Attach {
                ticket,
                device: DeviceKind::Vsock,
                logged: true,
            },
        ),
        seed(11, "devices-serving", &Attached::Serving),
        seed(11, "devices-refused", &Attached::Refused("no".into())),
        seed(11, "devices-unknown", &Attached::UnknownTicket),
        seed(12, "devices-admit", &AdmissionRequest::Admit(admission)),
        seed(
            12,
            "devices-retain",
            &AdmissionRequest::Retain(vec![ticket; 2]),
        ),
        seed(13, "devices-admitted", &AdmissionReply::Done),
        seed(
            13,
            "devices-not-admitted",
            &AdmissionReply::Refused("no".into()),
        ),
    ]
}
