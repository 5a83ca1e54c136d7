use proptest::prelude::*;

use super::scene::{Boot, Key, Step, base, booted, bundle, digest, start, steps};
use crate::{Measured, Phase, Refusal, Register, Sequence, Sha384};

#[test]
fn a_boot_ends_after_its_last_phase() {
    let key = Key::generate();
    let boot = booted(&key);
    assert_eq!(boot.sequence.completed(), Some(Phase::Enclave));
    assert_eq!(boot.sequence.failed(), None);
    assert!(boot.sequence.due().is_none());
}

#[test]
fn each_phase_ends_only_when_all_of_it_was_measured() {
    let key = Key::generate();
    let steps = steps(&key);
    let mut boot = Boot::new(&key);
    for step in &steps {
        if let Step::Measure(name, _) = step {
            let phase = boot.sequence.due().unwrap().phase;
            let refused = boot.sequence.clone().complete(phase).unwrap_err();
            let missing = name.clone();
            assert_eq!(refused, Refusal::Incomplete { phase, missing });
        }
        boot.take(step.clone()).unwrap();
    }
}

#[test]
fn a_digest_that_is_not_allowed_stops_the_boot_and_both_are_said() {
    let key = Key::generate();
    let steps = steps(&key);
    for (index, step) in steps.iter().enumerate() {
        let Step::Measure(name, allowed) = step else {
            continue;
        };
        let mut boot = Boot::new(&key);
        for step in &steps[..index] {
            boot.take(step.clone()).unwrap();
        }
        let (before, phase) = (
            boot.sequence.completed(),
            boot.sequence.due().unwrap().phase,
        );
        let found = digest("altered");
        let refused = boot.take(Step::Measure(name.clone(), found)).unwrap_err();
        let said = refused.to_string();
        assert!(
            said.contains(&found.to_string()) && said.contains(&allowed.to_string()),
            "{said}"
        );
        assert_eq!(boot.sequence.completed(), before);
        assert_eq!(boot.sequence.failed(), Some(phase));
        // For good: neither the right digest now nor anything after it goes on.
        for step in &steps {
            boot.take(step.clone()).unwrap_err();
        }
        assert_eq!(boot.sequence.completed(), before);
    }
}

#[test]
fn a_failure_of_the_first_phase_alone_spoils_the_authority() {
    let key = Key::generate();
    let good = booted(&key).log.replay().authority;
    for (index, step) in steps(&key).iter().enumerate() {
        let Step::Measure(name, _) = step else {
            continue;
        };
        let mut boot = Boot::new(&key);
        for step in &steps(&key)[..index] {
            boot.take(step.clone()).unwrap();
        }
        let phase = boot.sequence.due().unwrap().phase;
        boot.take(Step::Measure(name.clone(), digest("altered")))
            .unwrap_err();
        let authority = boot.log.replay().authority;
        assert_eq!(authority == good, phase != Phase::Card, "{phase}");
        assert_ne!(authority, Sha384::ZERO);
    }
}

#[test]
fn the_authority_is_the_same_for_every_release_of_one_signer() {
    let (key, other) = (Key::generate(), Key::generate());
    let authority = |key: &Key, version| {
        let mut boot = Boot::new(key);
        let manifest = crate::Manifest { version, ..base() };
        boot.take(Step::Accept(key.signed(&manifest))).unwrap();
        for component in manifest.of(Phase::Card) {
            let step = Step::Measure(component.name.clone(), component.sha384[0]);
            boot.take(step).unwrap();
        }
        boot.take(Step::Complete(Phase::Card)).unwrap();
        let registers = boot.log.replay();
        (registers.authority, registers.measurement)
    };
    let (one, another) = (authority(&key, 7), authority(&key, 8));
    assert_eq!(one.0, another.0);
    assert_ne!(one.1, another.1);
    assert_ne!(one.0, authority(&other, 7).0);
}

#[test]
fn releases_of_another_signer_and_older_ones_are_refused() {
    let (key, other) = (Key::generate(), Key::generate());
    let new = || Sequence::new(key.public().sha256());
    let refused = new().accept(other.signed(&base()), 0).unwrap_err();
    assert!(matches!(refused, Refusal::Signer { .. }));
    let refused = new().accept(key.signed(&base()), 8).unwrap_err();
    let rolled_back = Refusal::RolledBack {
        part: crate::Part::Base,
        lowest: 8,
        found: 7,
    };
    assert_eq!(refused, rolled_back);
    new().accept(key.signed(&base()), 7).unwrap();
    // The other part's, or a second one.
    let refused = new().accept(key.signed(&bundle()), 0).unwrap_err();
    assert!(matches!(refused, Refusal::OutOfOrder { .. }));
    let mut twice = new();
    twice.accept(key.signed(&base()), 0).unwrap();
    twice.accept(key.signed(&base()), 0).unwrap_err();
}

#[test]
fn the_bundle_cannot_speak_of_what_the_base_has() {
    let key = Key::generate();
    let mut boot = Boot::new(&key);
    let steps = steps(&key);
    let second = steps
        .iter()
        .rposition(|step| matches!(step, Step::Accept(_)))
        .unwrap();
    for step in &steps[..second] {
        boot.take(step.clone()).unwrap();
    }
    for (name, taken) in [
        ("devices", "devices"),
        // What inherits a program inherits what lies beneath it.
        ("qemu/qemu-system-x86_64/lib/x", "qemu/qemu-system-x86_64"),
    ] {
        let mut manifest = bundle();
        manifest.components[1].name = name.into();
        let mut sequence = boot.sequence.clone();
        let refused = sequence.accept(key.signed(&manifest), 0).unwrap_err();
        assert_eq!(refused, Refusal::Taken(taken.into()));
    }
}

/// What a bundle's programs inherit is looked for in both parts, since neither signer's description has both.
#[test]
fn what_a_program_of_the_bundle_inherits_is_of_the_base_or_measured_by_then() {
    let key = Key::generate();
    let mut base_alone = Boot::new(&key);
    let steps = steps(&key);
    let second = steps
        .iter()
        .rposition(|step| matches!(step, Step::Accept(_)))
        .unwrap();
    for step in &steps[..second] {
        base_alone.take(step.clone()).unwrap();
    }
    let accepts = |name: &str| {
        let mut manifest = bundle();
        let mut hypervisors = start(Phase::Hypervisor, &[]).unwrap();
        hypervisors.inherits = vec![name.into()];
        manifest.components[1].start = Some(hypervisors);
        let mut sequence = base_alone.sequence.clone();
        sequence.accept(key.signed(&manifest), 0)
    };
    for right in [
        "qemu",
        "qemu/qemu-system-x86_64",
        "devices",
        "measurer",
        "stage2",
    ] {
        accepts(right).unwrap();
    }
    for wrong in ["qemu-system", "enclave", "measurer/lib"] {
        match accepts(wrong).unwrap_err() {
            Refusal::Manifest(said) => assert!(said.contains(wrong), "{said}"),
            other => panic!("{other}"),
        }
    }
}

proptest! {
    /// Whatever order steps come in: a phase has ended only if the whole way to it was walked.
    #[test]
    fn no_other_order_goes_on(picks in prop::collection::vec(0_usize..18, 0..40)) {
        let key = Key::generate();
        let steps = steps(&key);
        let mut boot = Boot::new(&key);
        let mut reached = 0;
        let mut stopped = false;
        for pick in picks {
            let pick = pick % steps.len();
            let taken = boot.take(steps[pick].clone()).is_ok();
            prop_assert_eq!(taken, !stopped && pick == reached);
            stopped |= !taken;
            reached += usize::from(taken);
        }
        let ended = steps[..reached].iter().rev().find_map(|step| match step {
            Step::Complete(phase) => Some(*phase),
            _ => None,
        });
        prop_assert_eq!(boot.sequence.completed(), ended);
        let failures = boot.log.events().iter().filter(|event| {
            event.register == Register::Measurement
                && matches!(event.measured, Measured::Failed { .. })
        });
        prop_assert_eq!(failures.count(), usize::from(stopped));
    }
}
