//! The enclave is started again, with nothing but what the card has kept.

use bartizan_local::flow::Guest as GuestBoot;

use super::*;

#[test]
fn the_last_set_rules_with_the_verifier_away() {
    let mut rig = Rig::new();
    let source = rig.hello().source;
    let first = set(3, &[signed(&rig.key, &text("web", 7))]);
    rig.take(&first).unwrap();
    let second = set(5, &[signed(&rig.key, &text("web", 8))]);
    rig.take(&second).unwrap();
    let mut rig = rig.restart();
    assert_eq!(rig.rules(), 5);
    let hello = rig.hello();
    assert_eq!(hello.source, source, "it is the same state's");
    // Devices have confirmed nothing to this one.
    assert_eq!(hello.in_force, None);
    assert_eq!(rig.held.in_force_since(5, &rig.ruling), None, "unasked");
    // Known attack: an older set, or an older issue under a newer number.
    assert_eq!(rig.take(&first), Err(RefusalReason::Rollback));
    let older = set(6, &[signed(&rig.key, &text("web", 7))]);
    assert_eq!(rig.take(&older), Err(RefusalReason::Rollback));
    assert_eq!(rig.rules(), 5);
    // The verifier sends it again, since it was told of none.
    rig.take(&second).unwrap();
    let due = rig.held.in_force_since(5, &rig.ruling);
    assert!(matches!(due, Some(Up::PolicyInForce { set, .. }) if set.number == number(5)));
    // A policy that was away meanwhile is remembered, too.
    rig.take(&set(7, &[])).unwrap();
    let mut rig = rig.restart();
    assert_eq!(rig.rules(), 7);
    let older = set(8, &[signed(&rig.key, &text("web", 7))]);
    assert_eq!(rig.take(&older), Err(RefusalReason::Rollback));
}

#[test]
fn nothing_rules_before_it_is_kept_and_nothing_is_said_of_it() {
    let mut rig = Rig::new();
    rig.take(&set(3, &[])).unwrap();
    assert!(rig.held.in_force_since(3, &rig.ruling).is_some());
    rig.card.is_away = true;
    let newer = set(5, &[signed(&rig.key, &text("web", 1))]);
    rig.take(&newer).unwrap();
    assert_eq!(rig.rules(), 3);
    assert_eq!(rig.held.in_force_since(5, &rig.ruling), None);
    // It is offered again on the next stream, and a newer one on top.
    rig.held.hello();
    rig.offer(&newer);
    rig.offer(&set(6, &[]));
    assert_eq!(rig.rules(), 3);
    rig.card.is_away = false;
    rig.keep();
    assert_eq!(rig.rules(), 6);
    let due = rig.held.in_force_since(6, &rig.ruling);
    assert!(matches!(due, Some(Up::PolicyInForce { set, .. }) if set.number == number(6)));
    assert_eq!(rig.held.answer(), None);
    // A set that was never kept is none of the next one's.
    rig.card.is_away = true;
    rig.take(&set(7, &[])).unwrap();
    let rig = rig.restart();
    assert_eq!(rig.rules(), 6);
}

/// Card and vault have it, and the machine ended before it heard so.
#[test]
fn what_was_kept_and_not_heard_of_rules_after_the_restart() {
    let mut rig = Rig::new();
    rig.card.is_away = true;
    let policies = [signed(&rig.key, &text("web", 1))];
    rig.take(&set(3, &policies)).unwrap();
    let Due { number, sealed } = rig.held.due().unwrap();
    let digest = Sha384::of(&sealed);
    rig.card.record = Some(StateRecord { number, digest });
    rig.card.sealed = Some(sealed);
    assert_eq!(rig.rules(), 0);
    let mut rig = rig.restart();
    assert_eq!(rig.rules(), 3);
    rig.take(&set(4, &policies)).unwrap();
    assert_eq!(rig.rules(), 4);
}

#[test]
fn commands_and_isolation_outlast_the_machine() {
    use CommandOutcome::{Done, Failed};
    let mut rig = Rig::new();
    let isolated = [9; 16];
    rig.ruling.isolated_before(&[isolated].into());
    rig.card.is_away = true;
    assert_eq!(rig.command(4, Done), (true, None), "answered unkept");
    assert_eq!(rig.hello().last_command, 0);
    // The next stream repeats it, and the card is back.
    rig.card.is_away = false;
    assert_eq!(rig.command(4, Failed), (true, Some(Done)));
    let mut rig = rig.restart();
    assert_eq!(rig.hello().last_command, 4);
    assert_eq!(rig.command(4, Failed), (true, Some(Done)));
    assert_eq!(rig.command(3, Done), (false, Some(Failed)));
    assert!(rig.ruling.isolated_vms().contains(&isolated));
    let guest = GuestBoot {
        vm: isolated,
        boot: 8,
    };
    let taken_back = rig.ruling.isolate(guest, false);
    assert_eq!(taken_back, crate::deciding::Isolated::Done);
    rig.command(5, Done);
    assert!(rig.restart().ruling.isolated_vms().is_empty());
}

/// Known attack: the state is put back or taken away, so that older policies rule again.
#[test]
fn a_state_that_is_lost_has_nothing_rule_until_it_is_reset() {
    let mut rig = Rig::new();
    rig.take(&set(3, &[])).unwrap();
    let older = rig.card.sealed.clone();
    rig.take(&set(4, &[])).unwrap();
    for sealed in [older, None] {
        let record = rig.card.record;
        let card = Kept {
            record,
            sealed,
            is_away: false,
        };
        let key = EphemeralKey::generate().unwrap();
        let mut lost = Rig::started(authors(&key), key, card);
        assert!(lost.held.is_known() && !lost.held.is_kept());
        assert_eq!(lost.rules(), 0);
        let newest = set(9, &[signed(&lost.key, &text("web", 9))]);
        assert_eq!(lost.take(&newest), Err(RefusalReason::Failed));
        let (done, answer) = lost.command(1, CommandOutcome::Done);
        assert_eq!((done, answer), (false, Some(CommandOutcome::Failed)));
        assert_eq!(lost.rules(), 0);
        assert!(lost.load().is_err(), "it is still lost");
        // An operator had it reset: a stream of before begins anew, and is sent the set again.
        let (_, stream) = lost.held.hello();
        lost.card = Kept::default();
        lost.load().unwrap();
        assert!(lost.held.is_over(stream));
        lost.take(&newest).unwrap();
        assert_eq!(lost.rules(), 9);
    }
}

/// The authors of the measured configuration have changed: what is kept is judged by those that there are now.
#[test]
fn what_is_kept_is_authenticated_anew() {
    let mut rig = Rig::new();
    let kept = set(3, &[signed(&rig.key, &text("web", 7))]);
    rig.take(&kept).unwrap();
    let (former, card) = (rig.key, rig.card.clone());
    let key = EphemeralKey::generate().unwrap();
    let mut rig = Rig::started(authors(&key), key, card.clone());
    assert_eq!(rig.rules(), 0, "its author is none any more");
    assert_eq!(rig.take(&kept), Err(RefusalReason::Author));
    // What was seen binds the new ones as well.
    let older = set(4, &[signed(&rig.key, &text("web", 6))]);
    assert_eq!(rig.take(&older), Err(RefusalReason::Rollback));
    assert_eq!(rig.take(&set(2, &[])), Err(RefusalReason::Rollback));
    let newer = set(4, &[signed(&rig.key, &text("web", 8))]);
    rig.take(&newer).unwrap();
    assert_eq!(rig.rules(), 4);
    // The state of another card is opened by none.
    let stored = StoredState {
        key: StateKey::new([7; 32]),
        record: card.record,
        sealed: card.sealed.map(Into::into),
    };
    let other = Held::new(fresh());
    let lost = other.restore(
        CardId([6; 32]),
        stored,
        &authors(&former),
        &Ruling::default(),
    );
    assert!(matches!(lost, Err(Loss::Unread { .. })), "{lost:?}");
}

#[test]
fn a_stream_hears_no_answers_of_another() {
    let mut rig = Rig::new();
    rig.card.is_away = true;
    rig.command(1, CommandOutcome::Done);
    rig.offer(&set(3, &[]));
    rig.offer(&set(2, &[]));
    rig.held.hello();
    rig.card.is_away = false;
    rig.keep();
    assert_eq!(rig.rules(), 3);
    assert_eq!(rig.held.answer(), None);
    assert_eq!(rig.held.in_force_since(3, &rig.ruling), None);
}

#[test]
fn no_more_is_heard_than_can_wait() {
    let mut rig = Rig::new();
    rig.card.is_away = true;
    let mut heard = 0;
    while rig.held.has_room() {
        heard += 1;
        rig.offer(&set(heard, &[]));
        assert!(heard < 100, "without end");
    }
    rig.card.is_away = false;
    rig.keep();
    assert!(rig.held.has_room());
    assert_eq!(rig.rules(), heard);
}
