//! What this machine holds is bounded, however many guests there are.

use std::sync::Arc;

use bartizan_policy::Room;

use super::*;

fn vm(number: u16) -> GuestBoot {
    let mut vm = [0; 16];
    vm[..2].copy_from_slice(&number.to_be_bytes());
    GuestBoot { vm, boot: 1 }
}

/// Ranges that all overlap.
fn ranges(rules: u32) -> impl Iterator<Item = String> {
    (0..rules).map(|number| {
        let last = 1_000_000 - number;
        format!(
            "- {{name: r{number}, effect: allow, syscall: {{arguments: [{{index: 0, values: [{number}-{last}]}}]}}}}\n"
        )
    })
}

/// A policy for guests of a role, with an open port and more rules.
fn open_and(role: &str, rules: impl Iterator<Item = String>) -> Policy {
    let rules: String = rules.collect();
    let text = format!(
        "version: 1\nname: of-{role}\nserial: 1\nselect: {{roles: [{role}]}}\nrules:\n- {{name: open, effect: allow, network: {{}}}}\n{rules}"
    );
    read(&text, Format::Yaml).unwrap()
}

/// A large policy for each role.
fn large(roles: u16, rules: u32) -> Arc<[Policy]> {
    let policies = (1..=roles).map(|number| open_and(&role(number), ranges(rules)));
    policies.collect()
}

fn role(number: u16) -> String {
    format!("role-{number}")
}

/// So many guests, each of the role that this says.
fn guests(decider: &mut Decider, count: u16, role_of: impl Fn(u16) -> String) {
    for number in 1..=count {
        let (role, address) = (role_of(number), format!("10.0.0.{number}"));
        decider.runs(vm(number), guest(vm(number), &role, &address));
    }
}

/// Why those are denied that are.
fn denied(decider: &Decider, count: u16) -> Vec<String> {
    let asked = flow(Direction::Egress, "10.0.0.99", 443);
    let verdicts = (1..=count).map(|number| ask(decider, vm(number), asked));
    let denied = verdicts.filter(|verdict| !verdict.allowed);
    denied.map(|verdict| verdict.reason).collect()
}

/// Known attack: policies that each guest's limit allows have the machine run out of memory by the number of guests.
#[test]
fn the_indexes_of_all_guests_have_one_limit() {
    const GUESTS: u16 = 24;
    let policies = large(GUESTS, 2000);
    let mut decider = Decider::new();
    decider.rule(1, Arc::clone(&policies));
    guests(&mut decider, GUESTS, role);
    let before = denied(&decider, GUESTS);
    assert!((1..GUESTS.into()).contains(&before.len()), "{before:?}");
    assert!(
        before
            .iter()
            .all(|why| why.contains("all guests of its host"))
    );
    assert!(decider.forms.taken() <= Room::ALL.bytes);
    // A set is refused before it rules; what is not so large is not.
    assert_eq!(decider.check(&policies), Err(TooLarge::Index));
    let smaller = large(GUESTS, 30);
    assert_eq!(decider.check(&smaller), Ok(()));
    decider.rule(2, smaller);
    assert_eq!(denied(&decider, GUESTS), [""; 0]);
    // It takes what is free by then, and no more.
    decider.rule(3, policies);
    assert_eq!(denied(&decider, GUESTS).len(), before.len());
    // What ends makes room, and whose policies are held from then on begins an epoch.
    let last = vm(GUESTS);
    let begun = decider.ended(vm(1));
    let epoch = |begun: &[GuestEpoch]| begun.iter().rfind(|of| of.guest == last).map(|of| of.epoch);
    let ruled = before.len() - denied(&decider, GUESTS).len() + 1;
    assert_eq!(
        ruled, 1,
        "who is gone is denied, and another is not any more"
    );
    assert!(epoch(&begun).is_some());
    assert_eq!(decider.epoch(last).map(|of| of.epoch), epoch(&begun));
}

/// Guests alike are ruled by one form, however many they are.
#[test]
fn guests_that_the_same_policies_select_share_their_index() {
    const GUESTS: u16 = 24;
    let mut decider = Decider::new();
    decider.rule(1, large(2, 3000));
    guests(&mut decider, GUESTS, |number| role(1 + number % 2));
    assert_eq!(denied(&decider, GUESTS), [""; 0]);
    assert_eq!(decider.forms.len(), 2);
    assert_eq!(decider.check(&large(2, 3000)), Ok(()));
    for number in 1..GUESTS {
        decider.ended(vm(number));
    }
    assert_eq!(decider.forms.len(), 1, "who is gone has none");
}

/// Known attack: policies that are refused one after the other take as much time each as one that is held.
#[test]
fn what_is_refused_takes_of_the_time_that_all_have() {
    const ROLES: u16 = 12;
    let room = Room {
        places: 50_000,
        ..Room::ALL
    };
    let mut forms = Forms::within(large(ROLES, 1000), room);
    let of_roles = (1..=ROLES).map(|number| {
        let guest = guest(vm(number), &role(number), "10.0.0.1");
        forms.of(guest.guest())
    });
    let of_roles: Vec<_> = of_roles.collect();
    assert!(of_roles.iter().all(|form| form.compiled().is_err()));
    assert!((1..=room.places).contains(&forms.looked_at()));
}

/// Rules that look at nothing have no index, and a name each.
#[test]
fn rules_without_conditions_take_of_the_limit() {
    let rule = |number| format!("- {{name: rule-number-{number}, effect: allow, file: {{}}}}\n");
    let policies = vec![open_and("web", (0..20_000).map(rule))];
    let boot = vm(1);
    let mut decider = Decider::new();
    decider.runs(boot, guest(boot, "web", "10.0.0.1"));
    decider.rule(1, policies);
    assert!(decider.forms.taken() > 20_000 * 64);
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
