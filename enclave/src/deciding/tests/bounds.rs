//! What this machine holds is bounded, however many guests there are.

use super::*;

fn vm(number: u16) -> GuestBoot {
    let mut vm = [0; 16];
    vm[..2].copy_from_slice(&number.to_be_bytes());
    GuestBoot { vm, boot: 1 }
}

/// Ranges that all overlap, and an open port.
fn large(rules: u32) -> Vec<Policy> {
    open_and((0..rules).map(|number| {
        let last = 1_000_000 - number;
        format!(
            "- {{name: r{number}, effect: allow, syscall: {{arguments: [{{index: 0, values: [{number}-{last}]}}]}}}}\n"
        )
    }))
}

/// An open port, and more rules.
fn open_and(rules: impl Iterator<Item = String>) -> Vec<Policy> {
    let rules: String = rules.collect();
    let text = format!(
        "version: 1\nname: a\nserial: 1\nrules:\n- {{name: open, effect: allow, network: {{}}}}\n{rules}"
    );
    vec![read(&text, Format::Yaml).unwrap()]
}

/// Known attack: policies that each guest's limit allows have the machine run out of memory by the number of guests.
#[test]
fn the_indexes_of_all_guests_have_one_limit() {
    const GUESTS: u16 = 24;
    let policies = large(3000);
    let mut decider = Decider::new();
    decider.rule(1, policies.clone());
    let address = |number: u16| format!("10.0.0.{number}");
    for number in 1..=GUESTS {
        decider.runs(vm(number), guest(vm(number), "web", &address(number)));
    }
    let taken = |decider: &Decider| -> usize {
        let guests = decider.guests.values();
        guests.map(WatchedGuest::index_bytes).sum()
    };
    let denied = |decider: &Decider| -> Vec<String> {
        let asked = flow(Direction::Egress, "10.0.0.99", 443);
        let verdicts = (1..=GUESTS).map(|number| ask(decider, vm(number), asked));
        let denied = verdicts.filter(|verdict| !verdict.allowed);
        denied.map(|verdict| verdict.reason).collect()
    };
    let before = denied(&decider);
    assert!((1..GUESTS.into()).contains(&before.len()), "{before:?}");
    assert!(
        before
            .iter()
            .all(|why| why.contains("all guests of its host"))
    );
    assert!(taken(&decider) <= MAX_INDEXES);
    // A set is refused before it rules; what is not so large is not.
    assert_eq!(decider.check(&policies), Err(TooLarge::Index));
    let smaller = large(30);
    assert_eq!(decider.check(&smaller), Ok(()));
    decider.rule(2, smaller);
    assert_eq!(denied(&decider), [""; 0]);
    // It takes what is free by then, and no more.
    decider.rule(3, policies);
    assert_eq!(denied(&decider).len(), before.len());
    assert!(taken(&decider) <= MAX_INDEXES);
}

/// Rules that look at nothing have no index, and a name each.
#[test]
fn rules_without_conditions_take_of_the_limit() {
    let rule = |number| format!("- {{name: rule-number-{number}, effect: allow, file: {{}}}}\n");
    let policies = open_and((0..20_000).map(rule));
    let boot = vm(1);
    let mut decider = Decider::new();
    decider.runs(boot, guest(boot, "web", "10.0.0.1"));
    decider.rule(1, policies);
    let taken = decider.guests.values().map(WatchedGuest::index_bytes);
    assert!(taken.sum::<usize>() > 20_000 * 64);
}

#[test]
fn what_is_remembered_makes_room_for_the_newest() {
    let mut decider = both();
    let most = u16::try_from(MAX_REMEMBERED).unwrap();
    decider.trusts(WEB, Trust::Affirming);
    for number in 0..=2 * most {
        decider.trusts(vm(0x1000 + number), Trust::Affirming);
    }
    assert_eq!(decider.taken_for.len(), MAX_REMEMBERED);
    let last = vm(0x1000 + 2 * most);
    for kept in [WEB, last] {
        let known = decider.taken_for.get(&kept.vm);
        assert_eq!(known, Some(&(kept.boot, Trust::Affirming)));
    }
}
