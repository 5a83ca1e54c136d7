use bartizan_attestation::boot::{
    Component, EventLog, Link, Manifest, Part, Phase, Refusal, Register, Sha384, Start, VaultAnswer,
};
use bartizan_attestation::cose::Sign;

use super::*;

mod firmware;

/// A host's vault whose keys wait for a boot, and the key that signs releases.
struct Waiting {
    host: Opened,
    key: EphemeralKey,
}

fn demanded(key: &EphemeralKey) -> Option<MeasuredBoot> {
    Some(MeasuredBoot {
        release_key: key.public_key().sha256(),
    })
}

/// An enrolled host that has been started anew and now demands a boot.
fn waiting() -> (Waiting, FleetCa) {
    let (_, host, ca) = fleet();
    let key = EphemeralKey::generate().unwrap();
    let vault = again(Role::Host, &host.folder).with_measured_boot(demanded(&key));
    let host = Opened { vault, ..host };
    (Waiting { host, key }, ca)
}

impl Waiting {
    /// Another process, as after a reboot.
    fn restart(&mut self) {
        let vault = again(Role::Host, &self.host.folder);
        self.host.vault = vault.with_measured_boot(demanded(&self.key));
    }

    fn take(&self, step: VaultStep) -> Result<u32, Refusal> {
        match self.host.vault.take(step) {
            VaultAnswer::Done { extended } => Ok(extended),
            VaultAnswer::Refused { refusal, .. } => Err(refusal),
        }
    }

    fn begin(&self) -> Result<u32, Refusal> {
        self.take(VaultStep::Begin {
            release_key: self.key.public_key().spki_der(),
            extended: 0,
        })
    }

    /// Everything up to the end of a phase.
    fn boot(&self, last: Phase, versions: [u64; 2]) -> Result<(), Refusal> {
        self.begin()?;
        for step in steps(&self.key, last, versions) {
            self.take(step)?;
        }
        Ok(())
    }

    /// A whole boot, which counts.
    fn boot_whole(&self, versions: [u64; 2]) -> Result<(), Refusal> {
        self.boot(Phase::Enclave, versions)?;
        self.take(VaultStep::Booted).map(drop)
    }

    fn rotate_tls(&self) -> VaultReply {
        let rotate = VaultRequest::RotateTlsClient { lifetime_s: 60 };
        self.host.vault.answer(rotate, NOW)
    }

    fn certify_report_key(&self) -> VaultReply {
        let request = VaultRequest::CertifyReportKey {
            csr: EphemeralKey::generate().unwrap().csr().unwrap(),
            guest: guest(&self.host.vault),
            launch_measurement: Digest(vec![1; 48]),
            lifetime_s: 60,
        };
        self.host.vault.answer(request, NOW)
    }

    fn certify_hypervisor(&self) -> VaultReply {
        let csr = EphemeralKey::generate().unwrap().csr().unwrap();
        let request = VaultRequest::CertifyHypervisor {
            csr,
            lifetime_s: 60,
        };
        self.host.vault.answer(request, NOW)
    }

    fn certify_enclave(&self) -> VaultReply {
        let csr = || EphemeralKey::generate().unwrap().csr().unwrap();
        let request = VaultRequest::CertifyEnclave {
            tls: csr(),
            evidence: csr(),
            lifetime_s: 60,
        };
        self.host.vault.answer(request, NOW)
    }

    fn described(&self) -> bartizan_attestation::keys::BootDescription {
        match self.host.vault.answer(VaultRequest::DescribeBoot, NOW) {
            VaultReply::Boot(description) => description,
            other => panic!("{other:?}"),
        }
    }
}

fn of_the_enclaves_state() -> [VaultRequest; 3] {
    let (number, digest) = (1, Sha384::ZERO);
    let record = bartizan_attestation::keys::StateRecord { number, digest };
    [
        VaultRequest::EnclaveState,
        VaultRequest::RecordEnclaveState(record),
        VaultRequest::ResetEnclaveState,
    ]
}

const NAMES: [&str; 5] = ["card", "devices", "stage2", "hypervisor", "enclave"];

fn manifests(versions: [u64; 2]) -> [Manifest; 2] {
    [Part::Base, Part::Bundle].map(|part| Manifest {
        product: "test".into(),
        part,
        version: versions[usize::from(part == Part::Bundle)],
        components: (Phase::ALL.into_iter().zip(NAMES))
            .filter(|(phase, _)| phase.part() == part)
            .map(|(phase, name)| Component {
                phase,
                name: name.into(),
                path: Some(format!("/{name}")),
                sha384: vec![Sha384::of(name.as_bytes())],
                start: start(phase),
            })
            .collect(),
    })
}

/// What each boot needs of a phase: a vault, and a stage that leads on to the next part.
fn start(phase: Phase) -> Option<Start> {
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

fn release(manifest: &Manifest, key: &impl Sign) -> VaultStep {
    VaultStep::Release(manifest.sign(key).unwrap())
}

fn measure(name: &str, contents: &str) -> VaultStep {
    VaultStep::Measure {
        name: name.into(),
        sha384: Sha384::of(contents.as_bytes()),
    }
}

fn steps(key: &EphemeralKey, last: Phase, versions: [u64; 2]) -> Vec<VaultStep> {
    let mut steps = Vec::new();
    for manifest in manifests(versions) {
        steps.push(release(&manifest, key));
        for component in &manifest.components {
            steps.push(measure(&component.name, &component.name));
            steps.push(VaultStep::Complete(component.phase));
        }
    }
    let end = steps
        .iter()
        .position(|step| *step == VaultStep::Complete(last))
        .unwrap();
    steps.truncate(end + 1);
    steps
}

fn shut(reply: VaultReply) -> (Phase, Option<Refusal>) {
    match refusal(reply) {
        VaultRefusal::Shut { phase, stopped } => (phase, stopped),
        other => panic!("{other}"),
    }
}

#[test]
fn keys_open_with_their_phases_and_certificates_carry_the_digests() {
    let (host, ca) = waiting();
    assert_eq!(shut(host.rotate_tls()), (Phase::Card, None));
    host.begin().unwrap();
    for step in steps(&host.key, Phase::Enclave, [1, 1]) {
        let done = host.described().phases.len();
        if done < 1 {
            assert_eq!(shut(host.rotate_tls()), (Phase::Card, None));
        }
        if done < 4 {
            assert_eq!(shut(host.certify_report_key()), (Phase::Hypervisor, None));
            assert_eq!(shut(host.certify_hypervisor()), (Phase::Hypervisor, None));
        }
        if done < 5 {
            assert_eq!(shut(host.certify_enclave()), (Phase::Enclave, None));
            for request in of_the_enclaves_state() {
                let reply = host.host.vault.answer(request, NOW);
                assert_eq!(shut(reply), (Phase::Enclave, None));
            }
        }
        host.take(step).unwrap();
    }
    let described = host.described();
    assert_eq!(described.phases.len(), 5);
    let log = EventLog::from_cbor(&described.log).unwrap();
    log.explains(&described.registers).unwrap();
    assert_eq!(described.phases[4], described.registers.measurement);
    let chain = certificates(host.certify_report_key());
    let report_key = verify_chain(&chain, &ca, NOW, Usage::ReportKey).unwrap();
    assert_eq!(report_key.phases, described.phases);
    let VaultReply::Enclave(chains) = host.certify_enclave() else {
        panic!("an enclave that was measured is certified");
    };
    let chains = [
        (Usage::EnclaveTls, VaultReply::Certificates(chains.tls)),
        (Usage::Evidence, VaultReply::Certificates(chains.evidence)),
        (Usage::Hypervisor, host.certify_hypervisor()),
    ];
    for (usage, chain) in chains {
        let key = verify_chain(&certificates(chain), &ca, NOW, usage).unwrap();
        assert_eq!(key.phases, described.phases);
    }
    let chain = certificates(host.rotate_tls());
    let client = verify_chain(&chain, &ca, NOW, Usage::TlsClient).unwrap();
    assert_eq!(client.phases, described.phases);
}

#[test]
fn an_altered_component_keeps_later_keys_shut_for_good() {
    for (index, name) in NAMES.into_iter().enumerate() {
        let (host, _) = waiting();
        host.begin().unwrap();
        let steps = steps(&host.key, Phase::Enclave, [1, 1]);
        let at = steps
            .iter()
            .position(|step| *step == measure(name, name))
            .unwrap();
        for step in &steps[..at] {
            host.take(step.clone()).unwrap();
        }
        let refused = host.take(measure(name, "altered")).unwrap_err();
        let mismatch = Refusal::Mismatch {
            phase: Phase::ALL[index],
            component: name.into(),
            expected: vec![Sha384::of(name.as_bytes())],
            found: Sha384::of(b"altered"),
        };
        assert_eq!(refused, mismatch);
        for step in &steps[at..] {
            host.take(step.clone()).unwrap_err();
        }
        let stopped = Some(mismatch.clone());
        if index == 0 {
            assert_eq!(shut(host.rotate_tls()), (Phase::Card, stopped.clone()));
        } else {
            certificates(host.rotate_tls());
        }
        if index < 4 {
            assert_eq!(
                shut(host.certify_report_key()),
                (Phase::Hypervisor, stopped)
            );
        }
        let described = host.described();
        let log = EventLog::from_cbor(&described.log).unwrap();
        log.explains(&described.registers).unwrap();
        assert_eq!(described.stopped, Some(mismatch));
    }
}

#[test]
fn releases_without_the_right_signature_are_refused() {
    let stranger = EphemeralKey::generate().unwrap();
    let (host, _) = waiting();
    host.begin().unwrap();
    let refused = host
        .take(release(&manifests([1, 1])[0], &stranger))
        .unwrap_err();
    assert!(matches!(refused, Refusal::Manifest(_)), "{refused}");
    let (host, _) = waiting();
    host.begin().unwrap();
    let unsigned = bartizan_attestation::cbor::encode(&manifests([1, 1])[0]);
    host.take(VaultStep::Release(unsigned)).unwrap_err();
    // A launcher that names another key.
    let (host, _) = waiting();
    let begin = VaultStep::Begin {
        release_key: stranger.public_key().spki_der(),
        extended: 0,
    };
    assert!(matches!(host.take(begin), Err(Refusal::Signer { .. })));
    assert!(matches!(
        shut(host.rotate_tls()),
        (Phase::Card, Some(Refusal::Signer { .. }))
    ));
}

/// Whoever changes the configuration and the launcher's key alike has keys of a host that was booted otherwise.
#[test]
fn a_host_that_was_booted_takes_no_other_release_key() {
    let (mut host, _) = waiting();
    host.boot_whole([1, 1]).unwrap();
    host.key = EphemeralKey::generate().unwrap();
    host.restart();
    assert!(matches!(
        host.boot(Phase::Card, [1, 1]),
        Err(Refusal::Signer { .. })
    ));
    assert!(matches!(shut(host.rotate_tls()), (Phase::Card, Some(_))));
}

#[test]
fn versions_only_go_up_and_a_release_that_did_not_boot_does_not_count() {
    let (mut host, _) = waiting();
    host.boot_whole([5, 3]).unwrap();
    host.restart();
    let refused = host.boot(Phase::Enclave, [4, 3]).unwrap_err();
    let (part, lowest, found) = (Part::Base, 5, 4);
    let rolled_back = Refusal::RolledBack {
        part,
        lowest,
        found,
    };
    assert_eq!(refused, rolled_back);
    assert!(matches!(shut(host.rotate_tls()), (Phase::Card, Some(_))));
    host.restart();
    let refused = host.boot(Phase::Enclave, [5, 2]).unwrap_err();
    let (part, lowest, found) = (Part::Bundle, 3, 2);
    let rolled_back = Refusal::RolledBack {
        part,
        lowest,
        found,
    };
    assert_eq!(refused, rolled_back);
    let stopped = shut(host.certify_report_key());
    assert!(matches!(stopped, (Phase::Hypervisor, Some(_))));
    certificates(host.rotate_tls());
    // Version 9 comes through all phases but one: version 5 still boots.
    for last in [
        Phase::Card,
        Phase::Devices,
        Phase::Coordinator,
        Phase::Hypervisor,
    ] {
        host.restart();
        host.boot(last, [9, 9]).unwrap();
        host.take(measure("broken", "broken")).unwrap_err();
        host.take(VaultStep::Booted).unwrap_err();
    }
    host.restart();
    host.boot_whole([5, 3]).unwrap();
    host.restart();
    host.boot_whole([6, 3]).unwrap();
    host.restart();
    host.boot(Phase::Card, [5, 3]).unwrap_err();
}

/// Whoever takes `measured_boot` out of the configuration, or starts the vault by hand.
#[test]
fn a_host_that_was_booted_measured_opens_nothing_otherwise() {
    let (mut host, _) = waiting();
    host.boot_whole([1, 1]).unwrap();
    host.host.vault = again(Role::Host, &host.host.folder);
    assert_eq!(shut(host.rotate_tls()), (Phase::Card, None));
    assert_eq!(shut(host.certify_report_key()), (Phase::Hypervisor, None));
    assert!(host.described().measured);
    host.begin().unwrap_err();
    host.restart();
    host.boot_whole([1, 1]).unwrap();
    certificates(host.certify_report_key());
}

#[test]
fn nothing_is_told_out_of_turn() {
    let (host, _) = waiting();
    host.take(measure("card", "card")).unwrap_err();
    let (host, _) = waiting();
    host.begin().unwrap();
    host.begin().unwrap_err();
    assert!(matches!(shut(host.rotate_tls()), (Phase::Card, Some(_))));
    host.begin().unwrap_err();
    // What began wrongly is not begun again.
    let (host, _) = waiting();
    host.take(VaultStep::Booted).unwrap_err();
    host.begin().unwrap_err();
    // A vault that demands no boot takes none.
    let (_, host, _) = fleet();
    let begin = VaultStep::Begin {
        release_key: EphemeralKey::generate().unwrap().public_key().spki_der(),
        extended: 0,
    };
    assert!(matches!(
        host.vault.take(begin),
        VaultAnswer::Refused { .. }
    ));
}

#[test]
fn registers_that_somebody_else_extended_stop_the_boot() {
    let (host, _) = waiting();
    let stray = host
        .host
        .vault
        .backend
        .extend(Register::Measurement, &Sha384::of(b"x"));
    stray.unwrap();
    assert!(matches!(host.begin(), Err(Refusal::Registers(_))));
    // In the midst of a phase it is noticed at its end.
    let (host, _) = waiting();
    host.begin().unwrap();
    let steps = steps(&host.key, Phase::Card, [1, 1]);
    host.take(steps[0].clone()).unwrap();
    let backend = &host.host.vault.backend;
    backend
        .extend(Register::Authority, &Sha384::of(b"x"))
        .unwrap();
    host.take(steps[1].clone()).unwrap();
    assert!(matches!(
        host.take(steps[2].clone()),
        Err(Refusal::Registers(_))
    ));
    // Nobody vouches for it, so that what is sealed to the authority stays shut as well.
    let (good, _) = waiting();
    good.boot(Phase::Card, [1, 1]).unwrap();
    let (good, spoilt) = (good.described().registers, host.described().registers);
    assert_ne!(good.authority, spoilt.authority);
    assert!(matches!(shut(host.rotate_tls()), (Phase::Card, Some(_))));
}

/// A vault over the same back end, whose registers outlive it as a TPM's do, told of some steps.
fn take_up(host: &mut Waiting, extended: u32, steps: &[VaultStep]) -> Result<(), Refusal> {
    let backend = Arc::clone(&host.host.vault.backend);
    let stored = StoredKeyring::read(&host.host.folder.path().join("keys")).unwrap();
    let keyring = stored.open(Arc::clone(&backend)).unwrap();
    let vault = Vault::new(Role::Host, backend, keyring);
    host.host.vault = vault.with_measured_boot(demanded(&host.key));
    host.take(VaultStep::Begin {
        release_key: host.key.public_key().spki_der(),
        extended,
    })?;
    steps
        .iter()
        .try_for_each(|step| host.take(step.clone()).map(drop))
}

#[test]
fn a_vault_that_takes_a_boot_up_extends_nothing_twice_and_opens_what_was_open() {
    let (mut host, _) = waiting();
    host.begin().unwrap();
    let steps = steps(&host.key, Phase::Hypervisor, [1, 1]);
    // At every step of the boot, in the midst of phases too.
    for (index, step) in steps.iter().enumerate() {
        let extended = host.take(step.clone()).unwrap();
        let before = host.described();
        take_up(&mut host, extended, &steps[..=index]).unwrap();
        assert_eq!(host.described(), before);
        match before.phases.len() {
            0 => assert_eq!(shut(host.rotate_tls()), (Phase::Card, None)),
            4 => drop(certificates(host.certify_report_key())),
            _ => drop(certificates(host.rotate_tls())),
        }
    }
    // One that is told of less than the registers hold, or more, opens nothing.
    let events = host.described().log;
    let events = EventLog::from_cbor(&events).unwrap().events().len();
    for wrong in [events - 1, events + 1, 1000, 1] {
        let taken = take_up(&mut host, wrong.try_into().unwrap(), &steps);
        assert!(taken.is_err() || wrong > events);
        assert_eq!(shut(host.rotate_tls()).0, Phase::Card, "{wrong}");
        assert_eq!(shut(host.certify_report_key()).0, Phase::Hypervisor);
    }
}

/// What was refused stays refused, whoever is killed in between.
#[test]
fn a_vault_that_takes_a_stopped_boot_up_opens_no_more_than_the_one_before() {
    for stray in [Register::Measurement, Register::Authority] {
        let (mut host, _) = waiting();
        host.begin().unwrap();
        let steps = steps(&host.key, Phase::Card, [1, 1]);
        host.take(steps[0].clone()).unwrap();
        host.take(steps[1].clone()).unwrap();
        let backend = Arc::clone(&host.host.vault.backend);
        backend.extend(stray, &Sha384::of(b"x")).unwrap();
        let VaultAnswer::Refused { refusal, .. } = host.host.vault.take(steps[2].clone()) else {
            panic!("a stray extension was not noticed");
        };
        let extended = host.take(VaultStep::Fail(refusal.clone())).unwrap();
        let fail = VaultStep::Fail(refusal);
        // Told of it as the launcher does, and as one that would have the refused step go through.
        for told in [
            vec![steps[0].clone(), steps[1].clone(), fail.clone()],
            vec![steps[0].clone(), steps[1].clone(), steps[2].clone(), fail],
        ] {
            // Either is an answer: nothing is open.
            let _ = take_up(&mut host, extended, &told);
            assert_eq!(shut(host.rotate_tls()).0, Phase::Card);
        }
    }
}
