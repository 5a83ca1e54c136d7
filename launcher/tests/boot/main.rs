//! Boots for real, of programs that stand in for a host's: this very test program, told by its environment whom it plays.
//! They become other users, which takes root.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod release;
mod stand_in;

use bartizan_boot::{Phase, Refusal, VaultStep};
use bartizan_launcher::boot::{Boot, Card, Done, Stopped};
use bartizan_launcher::family::Family;

use release::Host;

fn must_be_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "become root: `cargo xtask test` runs this"
    );
}

/// As the launcher's main program does, without waiting for what the stages say.
fn boot(host: &Host) -> Result<Boot<Done>, Box<Stopped>> {
    let family = Family::new(host.folder().into(), Some(host.folder().into()));
    let boot = Boot::<Card>::begin(&host.base(), &host.key.public(), None, family)?;
    let (boot, _) = boot.card()?.devices()?;
    let (boot, _) = boot.bundle(&host.bundle())?;
    boot.launch()?.launch()
}

/// Otherwise the next vault would be told of phases that went well, and of nothing that did not.
#[test]
fn a_vault_that_ends_before_it_hears_that_the_boot_is_stopped_hears_it_when_it_is_back() {
    must_be_root();
    for (killed_at, well) in [
        (stand_in::RELEASE, None),
        ("devices", Some(Phase::Card)),
        ("enclave/kernel", Some(Phase::Hypervisor)),
    ] {
        let host = Host::whose_vault_is_killed_at(killed_at);
        let Stopped {
            host: mut running,
            refusal,
        } = *boot(&host).unwrap_err();
        // Until the second vault has heard enough, and ends for good.
        running.watch(|_| {}).unwrap();
        let told = host.told();
        let begin = |step: &VaultStep| matches!(step, VaultStep::Begin { .. });
        assert_eq!(told.iter().filter(|step| begin(step)).count(), 2);
        let again = told.iter().rposition(begin).unwrap();
        let (first, second) = told.split_at(again);
        // Whatever was answered: all but the step at which it was killed.
        let (unanswered, answered) = first.split_last().unwrap();
        let (last, before) = second.split_last().unwrap();
        assert_eq!(stand_in::name(unanswered), Some(killed_at));
        assert_eq!(before[1..], answered[1..]);
        assert_eq!(last, &VaultStep::Fail(refusal));
        let completed = before.iter().rev().find_map(|step| match step {
            VaultStep::Complete(phase) => Some(*phase),
            _ => None,
        });
        assert_eq!(completed, well);
    }
}

/// What is measured when it is ready is not even looked at.
#[test]
fn a_hypervisor_that_is_never_ready_stops_the_boot_before_the_enclave() {
    must_be_root();
    let host = Host::whose_hypervisor_ends();
    let Stopped {
        host: mut running,
        refusal,
    } = *boot(&host).unwrap_err();
    let Refusal::NotStarted {
        phase,
        component,
        why,
    } = &refusal
    else {
        panic!("{refusal}");
    };
    assert_eq!(
        (*phase, component.as_str()),
        (Phase::Hypervisor, stand_in::HYPERVISOR)
    );
    assert!(why.starts_with("it ended"), "{why}");
    // Nor is it started again.
    running.watch(|said| panic!("{said}")).unwrap();
    let told = host.told();
    let (last, before) = told.split_last().unwrap();
    assert_eq!(last, &VaultStep::Fail(refusal));
    assert_eq!(before.last(), Some(&VaultStep::Complete(Phase::Hypervisor)));
}

/// Programs and settings of each phase that starts a daemon; all must have been ready for the boot to be done.
#[test]
fn what_is_swapped_between_hashing_and_start_is_not_what_is_started() {
    must_be_root();
    let host = Host::whose_files_are_swapped();
    let booted = boot(&host).unwrap_or_else(|stopped| panic!("{}", stopped.refusal));
    booted.into_host().watch(|said| panic!("{said}")).unwrap();
    assert_eq!(host.told().last(), Some(&VaultStep::Booted));
    for name in ["card", "devices", stand_in::HYPERVISOR] {
        for file in [name.to_owned(), format!("{name}.yaml")] {
            let now = std::fs::read_to_string(host.folder().join(&file));
            assert_eq!(now.unwrap(), stand_in::SWAPPED, "{file} was not swapped");
        }
    }
}
