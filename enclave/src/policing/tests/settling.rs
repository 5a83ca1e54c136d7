//! A command is answered for when devices do what it says, and not before.

use bartizan_local::flow::GuestEpoch;

use super::*;
use crate::deciding::tests::guest;

const BOOT: GuestBoot = GuestBoot { vm: VM, boot: 1 };

impl Rig {
    fn runs(&self) {
        let guest = guest(BOOT, "web", "10.0.0.1");
        self.ruling
            .change(|decider| drop(decider.runs(BOOT, guest)));
    }

    /// An order of the verifier's.
    fn isolate(&mut self, of: u64, isolated: bool) -> Option<CommandOutcome> {
        let does = || match self.ruling.isolate(BOOT, isolated) {
            Isolated::Done => CommandOutcome::Done,
            _ => CommandOutcome::Failed,
        };
        let command = (number(of), VM);
        self.held
            .command(command, &self.authors, &self.ruling, does);
        self.keep();
        self.answered(of)
    }

    /// Devices judge by all that was decided.
    fn confirms(&self) {
        self.confirm(self.epochs());
    }

    fn epochs(&self) -> Vec<GuestEpoch> {
        self.ruling.decider().epochs()
    }

    fn confirm(&self, epochs: Vec<GuestEpoch>) {
        self.ruling.change(|decider| {
            for epoch in epochs {
                decider.confirmed(epoch);
            }
        });
    }

    fn is_isolated(&self) -> bool {
        self.ruling.isolated_vms().contains(&VM)
    }
}

/// Known attack: while devices' link is broken a guest is said to be cut off, and goes on.
#[test]
fn a_guest_is_said_to_be_isolated_once_devices_have_confirmed_it() {
    let mut rig = Rig::new();
    rig.runs();
    rig.confirms();
    for (of, isolated) in [(1, true), (2, false)] {
        assert_eq!(rig.isolate(of, isolated), None);
        // Another stream is answered as this one is: not yet.
        rig.held.hello();
        assert_eq!(rig.isolate(of, isolated), None);
        rig.ruling.change(Decider::devices_are_gone);
        assert_eq!(rig.answered(of), None);
        // Known attack: those that come confirm what others were told.
        let before = rig.epochs();
        rig.ruling.change(Decider::devices_come);
        rig.confirm(before);
        assert_eq!(rig.answered(of), None);
        rig.confirms();
        assert_eq!(rig.answered(of), Some(CommandOutcome::Done));
        assert_eq!(rig.answered(of), None, "once");
        assert_eq!(rig.is_isolated(), isolated);
    }
}

/// The enclave's machine ends before devices have heard of a release: they say to the next that they cut the guest off.
#[test]
fn a_release_that_devices_have_not_heard_of_is_done_again() {
    let mut rig = Rig::new();
    rig.runs();
    rig.isolate(1, true);
    assert_eq!(rig.isolate(2, false), None);
    let mut rig = rig.restart();
    rig.runs();
    assert!(rig.ruling.change(|decider| decider.is_isolated(VM)));
    assert!(rig.is_isolated());
    assert_eq!(rig.isolate(2, false), None);
    rig.confirms();
    assert_eq!(rig.answered(2), Some(CommandOutcome::Done));
    assert!(!rig.is_isolated());
    assert!(!rig.restart().is_isolated());
}

#[test]
fn of_a_guest_that_has_ended_nothing_is_waited_for() {
    let mut rig = Rig::new();
    rig.runs();
    assert_eq!(rig.isolate(1, true), None);
    rig.ruling.change(|decider| drop(decider.ended(BOOT)));
    assert_eq!(rig.answered(1), Some(CommandOutcome::Done));
    assert!(rig.is_isolated(), "its next boot");
}

/// Known attack: devices that are away cut the next boot off by what they remember.
#[test]
fn a_release_of_who_does_not_run_waits_for_devices() {
    let mut rig = Rig::new();
    rig.runs();
    assert_eq!(rig.isolate(1, true), None);
    rig.ruling.change(|decider| drop(decider.ended(BOOT)));
    assert_eq!(rig.answered(1), Some(CommandOutcome::Done));
    rig.ruling.change(Decider::devices_are_gone);
    assert_eq!(rig.isolate(2, false), None);
    rig.ruling.change(Decider::devices_come);
    assert_eq!(rig.answered(2), Some(CommandOutcome::Done));
}
