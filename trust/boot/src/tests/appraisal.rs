use proptest::prelude::*;

use super::scene::{Boot, Key, Step, base, booted, bundle, digest, steps};
use crate::{
    BootAppraisalError, Event, EventLog, Part, Phase, Refusal, Register, VerifiedManifest,
};

fn known(key: &Key) -> Vec<VerifiedManifest> {
    vec![key.signed(&bundle()), key.signed(&base())]
}

#[test]
fn a_boot_is_appraised_as_its_vault_has_seen_it() {
    let key = Key::generate();
    let log = booted(&key).log;
    let appraised = log.appraise(&known(&key)).unwrap();
    assert_eq!(appraised.registers(), &log.replay());
    assert_eq!(appraised.phases().len(), 5);
    assert_eq!(appraised.completed(), Some(Phase::Enclave));
    let released = [base(), bundle()].map(|manifest| *key.signed(&manifest).sha384());
    assert_eq!(appraised.releases(), released);
    assert_eq!(log.releases().copied().collect::<Vec<_>>(), released);
    // What the register held when a phase ended is what the log's events up to there come to.
    let first: Vec<_> = log.events().iter().take(6).cloned().collect();
    let replayed = EventLog::new(first).replay();
    assert_eq!(appraised.phases().first(), Some(&replayed.measurement));
}

#[test]
fn a_boot_that_goes_on_is_appraised_as_far_as_it_is() {
    let key = Key::generate();
    let mut boot = Boot::new(&key);
    let end = |step: &Step| matches!(step, Step::Complete(Phase::Devices));
    let all = steps(&key);
    let so_far = all.iter().position(end).unwrap();
    for step in &all[..=so_far] {
        boot.take(step.clone()).unwrap();
    }
    let appraised = boot.log.appraise(&known(&key)).unwrap();
    assert_eq!(appraised.completed(), Some(Phase::Devices));
    let none = EventLog::default().appraise(&known(&key)).unwrap();
    assert_eq!(none.completed(), None);
}

#[test]
fn an_unknown_release_is_named() {
    let key = Key::generate();
    let log = booted(&key).log;
    let of_base = [key.signed(&base())];
    let manifest = *key.signed(&bundle()).sha384();
    let expected = BootAppraisalError::UnknownRelease {
        part: Part::Bundle,
        version: 3,
        manifest,
    };
    assert_eq!(log.appraise(&of_base), Err(expected));
    // The same release, signed by somebody else, is another boot's.
    let other = Key::generate();
    let refused = log.appraise(&known(&other));
    assert_eq!(refused, Err(BootAppraisalError::NotDue(0)));
}

#[test]
fn a_boot_that_was_stopped_says_by_what() {
    let key = Key::generate();
    let mut boot = Boot::new(&key);
    for step in steps(&key) {
        let step = match step {
            Step::Measure(name, _) if name == "hypervisor" => Step::Measure(name, digest("evil")),
            step => step,
        };
        if boot.take(step).is_err() {
            break;
        }
    }
    let expected = BootAppraisalError::Stopped {
        phase: Phase::Hypervisor,
        component: Some("hypervisor".into()),
        found: Some(digest("evil")),
    };
    assert_eq!(boot.log.appraise(&known(&key)), Err(expected));
}

#[test]
fn a_component_that_no_release_allows_is_refused_with_both_digests() {
    let key = Key::generate();
    let mut events = booted(&key).log.events().to_vec();
    for event in &mut events {
        if let crate::Measured::Component { name, sha384, .. } = &mut event.measured
            && name == "measurer"
        {
            *sha384 = digest("evil");
        }
    }
    let expected = Refusal::Mismatch {
        phase: Phase::Hypervisor,
        component: "measurer".into(),
        expected: vec![digest("measurer")],
        found: digest("evil"),
    };
    let refused = EventLog::new(events).appraise(&known(&key));
    assert_eq!(refused, Err(expected.into()));
}

proptest! {
    /// Whatever is dropped, doubled, swapped or put into the other register: either nothing changed, or the boot is refused, or
    /// it is one that has not come as far and replays to something else.
    #[test]
    fn no_other_log_comes_to_the_same_phases(
        kind in 0..4u8, at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()
    ) {
        let key = Key::generate();
        let log = booted(&key).log;
        let whole = log.appraise(&known(&key)).unwrap();
        let mut events: Vec<Event> = log.events().to_vec();
        let (at, to) = (at.index(events.len()), to.index(events.len()));
        match kind {
            0 => drop(events.remove(at)),
            1 => events.insert(to, events[at].clone()),
            2 => events.swap(at, to),
            _ => events[at].register = match events[at].register {
                Register::Measurement => Register::Authority,
                Register::Authority => Register::Measurement,
            },
        }
        let changed = EventLog::new(events);
        if changed != log && let Ok(other) = changed.appraise(&known(&key)) {
            prop_assert_ne!(other.phases(), whole.phases());
        }
    }
}
