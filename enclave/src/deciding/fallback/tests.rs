use bartizan_local::flow::{Direction, Flow, MAX_FALLBACK, Width};
use bartizan_policy::{Format, Policy, read};
use proptest::prelude::*;

use crate::deciding::tests::{CLIENT, WEB, any_flow, ask, both, flow};
use crate::deciding::{Decider, GuestBoot};

/// A decider by these rules, and what stands of a guest.
fn fallback(rules: &str, of: GuestBoot) -> (Decider, Vec<Width>) {
    let text = format!("version: 1\nname: web\nserial: 2\nrules:\n{rules}");
    let policy: Policy = read(&text, Format::Yaml).unwrap();
    let mut decider = both();
    decider.rule(2, vec![policy]);
    let epochs = decider.epochs();
    let of = epochs.iter().find(|one| one.guest == of).unwrap();
    let fallback = decider.fallback(*of).unwrap();
    (decider, fallback.allowed)
}

fn contains(fallback: &[Width], flow: &Flow) -> bool {
    fallback.iter().any(|width| width.contains(flow))
}

#[test]
fn what_a_rule_allows_then_stands_and_what_another_denies_of_it_does_not() {
    let rules = "
- name: all
  effect: allow
  on_unavailable: allow
  network: { direction: egress, protocols: [tcp], ports: [80-99], peer: { addresses: [192.0.2.0/24] } }
- name: not-those
  effect: deny
  priority: 1
  network: { ports: [90], peer: { addresses: [192.0.2.64/26] } }
- name: while-there-is-somebody
  effect: allow
  network: { protocols: [tcp], ports: [443] }
";
    let (_, fallback) = fallback(rules, WEB);
    let to = |peer: &str, port| contains(&fallback, &flow(Direction::Egress, peer, port));
    for (peer, port, stands) in [
        ("192.0.2.0", 80, true),
        ("192.0.2.255", 99, true),
        ("192.0.2.63", 90, true),
        ("192.0.2.64", 90, false),
        ("192.0.2.127", 90, false),
        ("192.0.2.64", 91, true),
        ("192.0.2.128", 90, true),
        ("192.0.2.0", 79, false),
        ("192.0.2.0", 100, false),
        ("192.0.3.0", 80, false),
        ("192.0.2.0", 443, false),
    ] {
        assert_eq!(to(peer, port), stands, "{peer}:{port} of {fallback:?}");
    }
    assert!(!contains(
        &fallback,
        &flow(Direction::Ingress, "192.0.2.1", 80)
    ));
}

#[test]
fn a_rule_about_guests_stands_for_those_that_are_there() {
    let rules = "
- name: serve
  effect: allow
  on_unavailable: allow
  network: { direction: ingress, protocols: [tcp], ports: [443], peer: { roles: [client] } }
";
    let (_, of_web) = fallback(rules, WEB);
    assert!(contains(
        &of_web,
        &flow(Direction::Ingress, "10.0.0.2", 443)
    ));
    assert!(!contains(
        &of_web,
        &flow(Direction::Ingress, "10.0.0.3", 443)
    ));
    let (_, of_client) = fallback(rules, CLIENT);
    assert!(!contains(
        &of_client,
        &flow(Direction::Ingress, "10.0.0.1", 443)
    ));
}

/// A server outside, in the guests' own network, stands where a rule about guests is about the same port.
#[test]
fn who_is_outside_nearby_stands_by_his_address() {
    let rules = "
- name: near
  effect: allow
  on_unavailable: allow
  network: { direction: egress, protocols: [udp], ports: [53], peer: { addresses: [10.0.0.0/24] } }
- name: guests
  effect: allow
  priority: 1
  network: { direction: egress, protocols: [udp], ports: [53], peer: { roles: [client] } }
";
    let (decider, of_web) = fallback(rules, WEB);
    for last in [0, 2, 3, 53, 255] {
        let mut asked = flow(Direction::Egress, &format!("10.0.0.{last}"), 53);
        asked.protocol = 17;
        let client = ask(&decider, WEB, asked);
        assert_eq!(client.allowed_unavailable, last != 2, "{last}");
        asked.outside = true;
        let outside = ask(&decider, WEB, asked);
        assert!(
            outside.allowed_unavailable && outside.width.outside == Some(true),
            "{outside:?}"
        );
        assert!(contains(&of_web, &asked), "{last}: {of_web:?}");
    }
}

/// Known attack: whoever decides is made to be away, and somebody outside has a guest's address.
#[test]
fn a_rule_about_guests_stands_for_nobody_outside() {
    let rules = "
- name: serve
  effect: allow
  on_unavailable: allow
  network: { direction: ingress, protocols: [tcp], ports: [443], peer: { roles: [client] } }
- name: near
  effect: allow
  on_unavailable: allow
  network: { direction: ingress, protocols: [tcp], ports: [80], peer: { addresses: [10.0.0.0/24] } }
- name: not-those
  effect: deny
  priority: 1
  network: { ports: [81], peer: { roles: [client] } }
- name: all
  effect: allow
  on_unavailable: allow
  network: { direction: ingress, protocols: [tcp], ports: [81], peer: { addresses: [198.51.100.0/24] } }
";
    let (_, of_web) = fallback(rules, WEB);
    for (peer, port, of_guest, of_other) in [
        ("10.0.0.2", 443, true, false),
        // Who has an address is who a rule by addresses is about.
        ("10.0.0.2", 80, true, true),
        ("10.0.0.2", 81, false, false),
        ("198.51.100.1", 81, true, true),
    ] {
        let inside = flow(Direction::Ingress, peer, port);
        let outside = Flow {
            outside: true,
            ..inside
        };
        let stand = [&inside, &outside].map(|flow| contains(&of_web, flow));
        assert_eq!(stand, [of_guest, of_other], "{peer}:{port} of {of_web:?}");
    }
}

#[test]
fn it_is_of_one_epoch() {
    let mut decider = both();
    let before = decider.epochs();
    assert!(decider.fallback(before[0]).is_some());
    decider.rule(2, Vec::new());
    assert_eq!(decider.fallback(before[0]), None);
    let after = decider.epochs();
    assert!(decider.fallback(after[0]).unwrap().allowed.is_empty());
}

/// Known attack: rules of which there is no end, for the one who looks for all that they allow.
#[test]
fn there_is_an_end_of_it_and_the_widest_are_kept() {
    let mut rules = String::from(
        "- {name: wide, effect: allow, on_unavailable: allow, network: {protocols: [udp], ports: [53]}}\n",
    );
    for number in 0..2000 {
        let rule = format!(
            "- {{name: r{number}, effect: allow, on_unavailable: allow, network: {{direction: egress, protocols: [tcp], ports: [{}], peer: {{addresses: [192.0.2.1]}}}}}}\n",
            number * 2 + 1
        );
        rules.push_str(&rule);
    }
    let (_, fallback) = fallback(&rules, WEB);
    assert_eq!(fallback.len(), MAX_FALLBACK);
    let mut asked = flow(Direction::Egress, "198.51.100.1", 53);
    asked.protocol = 17;
    assert!(contains(&fallback, &asked), "{fallback:?}");
}

/// Known attack: lists whose members, one by one with one another, are never done with.
#[test]
fn there_is_an_end_of_it_where_each_list_is_long() {
    const EACH: usize = 40_000;
    let list = |of: &dyn Fn(usize) -> String| (0..EACH).map(of).collect::<Vec<_>>().join(", ");
    let ports = list(&|at| (at + 1).to_string());
    let addresses = list(&|at| format!("10.{}.{}.0/24", at >> 8, at & 255));
    for protocols in [
        // The ones of one family, of the other of which the addresses are.
        list(&|_| "58".to_owned()),
        list(&|_| "tcp".to_owned()),
        list(&|at| (at & 255).to_string()),
    ] {
        let rule = format!(
            "- {{name: r, effect: allow, on_unavailable: allow, network: {{protocols: [{protocols}], \
             ports: [{ports}], peer: {{addresses: [{addresses}]}}}}}}\n"
        );
        let (_, fallback) = fallback(&rule, WEB);
        assert!(fallback.len() <= MAX_FALLBACK);
    }
}

/// Rules that overlap in what they are about.
fn rules() -> impl Strategy<Value = String> {
    let of = |options: &[&'static str]| prop::sample::select(options.to_vec());
    let rule = (
        of(&["allow", "allow, on_unavailable: allow", "deny"]),
        of(&["", "direction: egress, ", "direction: ingress, "]),
        of(&[
            "",
            "protocols: [tcp], ",
            "protocols: [icmp, udp], ",
            "protocols: [58, 132], ",
        ]),
        of(&[
            "",
            "ports: [22], ",
            "ports: ['400-500', 65535], ",
            "icmp_types: ['0-8'], ",
        ]),
        of(&[
            "",
            "peer: {addresses: [10.0.0.0/24]}",
            "peer: {addresses: [192.0.2.0/25, 'fd00::/8']}",
            "peer: {roles: [client]}",
            "peer: {roles: [web], addresses: [10.0.0.0/31]}",
        ]),
        0..3,
    );
    prop::collection::vec(rule, 1..6).prop_map(|rules| {
        let written = rules.iter().enumerate();
        let written = written.map(|(number, (effect, direction, protocols, numbers, peer, priority))| {
            format!(
                "- {{name: r{number}, effect: {effect}, priority: {priority}, network: {{{direction}{protocols}{numbers}{peer}}}}}\n"
            )
        });
        written.collect()
    })
}

proptest! {
    #[test]
    fn what_stands_is_what_would_be_decided(rules in rules(), of in prop::sample::select(vec![WEB, CLIENT]), asked in prop::collection::vec(any_flow(), 32)) {
        let (decider, fallback) = fallback(&rules, of);
        for asked in asked {
            let unavailable = ask(&decider, of, asked).allowed_unavailable;
            if contains(&fallback, &asked) {
                prop_assert!(unavailable, "{:?} stands and is denied", asked);
            }
            // All is found where there is little.
            if fallback.len() < MAX_FALLBACK && is_looked_for(&asked) {
                prop_assert_eq!(contains(&fallback, &asked), unavailable, "{:?} of {:?}", asked, fallback);
            }
        }
    }
}

/// Where it matters which guest has an address, each of the segment's is a decision of its own; and ICMP is of one family each.
fn is_looked_for(flow: &Flow) -> bool {
    let known = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
    let unknown_neighbour =
        flow.peer.to_string().starts_with("10.0.0.") && !known.contains(&flow.peer);
    let family = match flow.protocol {
        1 => flow.peer.is_ipv4(),
        58 => flow.peer.is_ipv6(),
        _ => true,
    };
    family && !unknown_neighbour
}
