use std::collections::BTreeMap;
use std::net::IpAddr;

use bartizan_local::flow::{Direction, Flow, Peers, Width};
use bartizan_policy::{Format, Guest, read};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

pub(super) const WEB: GuestBoot = GuestBoot {
    vm: [1; 16],
    boot: 1,
};
pub(super) const CLIENT: GuestBoot = GuestBoot {
    vm: [2; 16],
    boot: 1,
};

/// Clients reach the web servers by HTTPS; nobody else does.
const POLICY: &str = "
version: 1
name: web
serial: 1
select: { roles: [web, client] }
rules:
- name: serve
  effect: allow
  on_unavailable: allow
  network: { direction: ingress, protocols: [tcp], ports: [443], peer: { roles: [client] } }
- name: ask
  effect: allow
  network: { direction: egress, protocols: [tcp], ports: ['400-500'], peer: { addresses: [10.0.0.0/24, 192.0.2.0/25] } }
- name: ping
  effect: allow
  network: { protocols: [icmp], icmp_types: [8] }
";

fn policies() -> Vec<Policy> {
    vec![read(POLICY, Format::Yaml).unwrap()]
}

pub(crate) fn guest(boot: GuestBoot, role: &str, address: &str) -> WatchedGuest {
    let guest = Guest {
        vm: Uuid::from_bytes(boot.vm),
        role: role.into(),
        labels: BTreeMap::new(),
        trust: Trust::None,
    };
    let network = Network {
        segment: "front".into(),
        addresses: vec![(address.parse().unwrap(), 24)],
    };
    WatchedGuest::new(guest, Some(network))
}

pub(super) fn both() -> Decider {
    let mut decider = Decider::new();
    decider.runs(WEB, guest(WEB, "web", "10.0.0.1"));
    decider.runs(CLIENT, guest(CLIENT, "client", "10.0.0.2"));
    decider.rule(1, policies());
    decider
}

pub(super) fn flow(direction: Direction, peer: &str, port: u16) -> Flow {
    Flow {
        direction,
        protocol: 6,
        peer: peer.parse().unwrap(),
        port: Some(port),
        icmp_type: None,
        outside: false,
    }
}

pub(super) fn ask(decider: &Decider, guest: GuestBoot, flow: Flow) -> Verdict {
    let question = Question {
        number: 7,
        guest,
        flow,
        since_s: 0,
    };
    decider.decide(&question, Instant::now())
}

#[test]
fn a_peer_is_known_by_its_address() {
    let decider = both();
    let served = ask(&decider, WEB, flow(Direction::Ingress, "10.0.0.2", 443));
    assert!(served.allowed && served.allowed_unavailable);
    assert_eq!(served.reason, "web/serve");
    assert_eq!((served.number, served.guest), (7, WEB));
    // Who else has an address of the segment may be a guest of another host: it is not known to be a client.
    for other in ["10.0.0.3", "203.0.113.1"] {
        assert!(
            !ask(&decider, WEB, flow(Direction::Ingress, other, 443)).allowed,
            "{other}"
        );
    }
    assert!(!ask(&decider, CLIENT, flow(Direction::Ingress, "10.0.0.1", 443)).allowed);
}

/// Known attack: somebody outside has a guest's address, while that guest has no device, and is taken for it.
#[test]
fn nobody_outside_is_taken_for_a_guest() {
    let mut decider = both();
    let of_guest = flow(Direction::Ingress, "10.0.0.2", 443);
    let of_other = Flow {
        outside: true,
        ..of_guest
    };
    let (served, refused) = (ask(&decider, WEB, of_guest), ask(&decider, WEB, of_other));
    assert!(served.allowed && !refused.allowed);
    assert!(!served.width.contains(&of_other) && !refused.width.contains(&of_guest));
    // What it may be is not known: what is denied to guests is denied to him.
    let deny = POLICY.to_owned()
        + "- { name: not-clients, effect: deny, priority: 1, network: { peer: { roles: [client] } } }\n\
           - { name: all, effect: allow, network: { protocols: [tcp], ports: [80] } }\n";
    decider.rule(2, vec![read(&deny, Format::Yaml).unwrap()]);
    for (peer, is_allowed) in [
        ("10.0.0.2", false),
        ("10.0.0.9", false),
        ("198.51.100.1", true),
    ] {
        let asked = Flow {
            outside: true,
            ..flow(Direction::Ingress, peer, 80)
        };
        assert_eq!(ask(&decider, WEB, asked).allowed, is_allowed, "{peer}");
    }
    // Where it does not matter who it is, it does not matter where.
    decider.rule(3, policies());
    let ping = Flow {
        protocol: 1,
        port: None,
        icmp_type: Some(8),
        ..of_other
    };
    let pinged = ask(&decider, WEB, ping);
    assert!(pinged.allowed);
    assert_eq!(pinged.width.outside, None);
}

#[test]
fn a_verdict_is_as_wide_as_what_was_looked_at() {
    let decider = both();
    let asked = ask(&decider, CLIENT, flow(Direction::Egress, "192.0.2.9", 443));
    assert!(asked.allowed && !asked.allowed_unavailable, "{asked:?}");
    let Width { peers, ports, .. } = asked.width;
    assert_eq!(
        ports,
        Some((443, 443)),
        "other ports are looked at for what comes in"
    );
    let net = Peers::V4("192.0.2.0".parse().unwrap(), "192.0.2.127".parse().unwrap());
    assert!(
        peers == Some(net) || matches!(peers, Some(Peers::V4(a, b)) if a == b),
        "{peers:?}"
    );
    // By role: of this address only.
    let served = ask(&decider, WEB, flow(Direction::Ingress, "10.0.0.2", 443));
    let client = "10.0.0.2".parse().unwrap();
    assert_eq!(served.width.peers, Some(Peers::V4(client, client)));
}

#[test]
fn what_has_no_port_is_not_taken_for_what_has() {
    let decider = both();
    let ping = Flow {
        protocol: 1,
        port: None,
        icmp_type: Some(8),
        ..flow(Direction::Egress, "10.0.0.1", 0)
    };
    let pinged = ask(&decider, CLIENT, ping);
    assert!(pinged.allowed);
    for other in [443, 80] {
        assert!(
            !pinged
                .width
                .contains(&flow(Direction::Egress, "10.0.0.1", other))
        );
    }
}

#[test]
fn nothing_is_allowed_without_policies_or_to_whom_nobody_knows() {
    let mut decider = Decider::new();
    decider.runs(WEB, guest(WEB, "web", "10.0.0.1"));
    let asked = flow(Direction::Egress, "10.0.0.2", 443);
    assert!(!ask(&decider, WEB, asked).allowed);
    decider.rule(1, policies());
    assert!(ask(&decider, WEB, asked).allowed);
    let unknown = ask(&decider, CLIENT, asked);
    assert!(!unknown.allowed);
    // Whatever the epoch that the guest will have, this one is older.
    let begun = decider.runs(CLIENT, guest(CLIENT, "client", "10.0.0.2"));
    let of_client = begun.iter().find(|one| one.guest == CLIENT).unwrap();
    assert!(!unknown.epoch.holds_in(of_client.epoch));
}

#[test]
fn whatever_changes_a_decision_begins_an_epoch() {
    let mut decider = both();
    let served = |decider: &Decider| ask(decider, WEB, flow(Direction::Ingress, "10.0.0.2", 443));
    let before = served(&decider);
    assert!(before.allowed);
    // The client leaves: its address is nobody's.
    let begun = decider.ended(CLIENT);
    let after = served(&decider);
    assert!(!after.allowed && !before.epoch.holds_in(after.epoch));
    assert_eq!(
        begun,
        [GuestEpoch {
            guest: WEB,
            epoch: after.epoch
        }]
    );
    // Another set.
    decider.rule(2, Vec::new());
    assert!(!after.epoch.holds_in(served(&decider).epoch));
    // What the guest is taken for.
    let before = served(&decider).epoch;
    assert!(!decider.trusts(WEB, Trust::Contraindicated).is_empty());
    assert!(!before.holds_in(served(&decider).epoch));
    assert_eq!(decider.trusts(WEB, Trust::Contraindicated), []);
}

#[test]
fn a_boot_takes_the_place_of_the_former_one() {
    let mut decider = both();
    let next = GuestBoot { boot: 2, ..WEB };
    decider.runs(next, guest(next, "web", "10.0.0.1"));
    let asked = flow(Direction::Ingress, "10.0.0.2", 443);
    assert!(!ask(&decider, WEB, asked).allowed && ask(&decider, next, asked).allowed);
    decider.only(|boot| *boot == next);
    assert_eq!(decider.epochs().len(), 1);
}

#[test]
fn a_set_is_in_force_once_all_have_confirmed_it() {
    let mut decider = both();
    assert_eq!(decider.in_force(), 0);
    decider.only(|_| true);
    let [client, web] = <[_; 2]>::try_from(decider.epochs())
        .map(|[one, other]| match one.guest {
            WEB => [other, one],
            _ => [one, other],
        })
        .unwrap();
    decider.confirmed(web);
    assert_eq!(decider.in_force(), 0);
    // Known attack: devices confirm what never was, to have it counted later.
    let never = Epoch {
        policy: 9,
        state: 99,
    };
    decider.confirmed(GuestEpoch {
        epoch: never,
        ..client
    });
    assert_eq!(decider.in_force(), 0);
    decider.confirmed(client);
    assert_eq!(decider.in_force(), 1);
    decider.rule(2, policies());
    assert_eq!(decider.in_force(), 1);
    decider.devices_are_gone();
    assert_eq!(decider.in_force(), 0);
    decider.ended(WEB);
    decider.ended(CLIENT);
    assert_eq!(decider.in_force(), 2, "nobody has a network");
}

pub(super) fn any_flow() -> impl Strategy<Value = Flow> {
    let peers = prop::sample::select(vec![
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.77",
        "192.0.2.1",
        "192.0.2.127",
        "192.0.2.128",
        "fd00::1",
        "::ffff:10.0.0.2",
    ]);
    let port = prop::sample::select(vec![0, 22, 399, 400, 443, 500, 501, 65535]);
    let protocol = prop::sample::select(vec![1u8, 6, 17, 33, 58, 132, 136]);
    let icmp = prop::sample::select(vec![0u8, 7, 8, 9, 255]);
    let ways = any::<(bool, bool)>();
    (ways, peers, port, protocol, icmp).prop_map(
        |((egress, outside), peer, port, protocol, icmp)| Flow {
            direction: if egress {
                Direction::Egress
            } else {
                Direction::Ingress
            },
            protocol,
            peer: peer.parse::<IpAddr>().unwrap(),
            port: matches!(protocol, 6 | 17 | 33 | 132 | 136).then_some(port),
            icmp_type: matches!(protocol, 1 | 58).then_some(icmp),
            outside,
        },
    )
}

proptest! {
    /// What is cached for a flow is what would be decided of it.
    #[test]
    fn whatever_a_width_contains_is_decided_alike(guest in prop::sample::select(vec![WEB, CLIENT]), one in any_flow(), other in any_flow()) {
        let decider = both();
        let (decided, again) = (ask(&decider, guest, one), ask(&decider, guest, other));
        prop_assert!(decided.width.contains(&one));
        if decided.width.contains(&other) {
            prop_assert_eq!((decided.allowed, decided.allowed_unavailable, decided.reason), (again.allowed, again.allowed_unavailable, again.reason));
        }
    }
}

/// The verifier's word may come before the hypervisor's.
#[test]
fn what_a_guest_is_taken_for_is_remembered_until_it_is_told_of() {
    let untrusted = POLICY.replace(
        "select: { roles: [web, client] }",
        "select: { trust: [affirming] }",
    );
    let mut decider = Decider::new();
    decider.rule(1, vec![read(&untrusted, Format::Yaml).unwrap()]);
    decider.trusts(WEB, Trust::Affirming);
    decider.runs(WEB, guest(WEB, "web", "10.0.0.1"));
    let asked = flow(Direction::Egress, "10.0.0.2", 443);
    assert!(ask(&decider, WEB, asked).allowed);
    // Of the next boot nothing is known.
    let next = GuestBoot { boot: 2, ..WEB };
    decider.runs(next, guest(next, "web", "10.0.0.1"));
    assert!(!ask(&decider, next, asked).allowed);
    decider.trusts(next, Trust::Affirming);
    assert!(ask(&decider, next, asked).allowed);
    // What is said late of a former boot is not of this one.
    decider.trusts(WEB, Trust::Contraindicated);
    assert!(ask(&decider, next, asked).allowed);
}

#[test]
fn who_is_cut_off_stays_so_in_the_boots_that_come() {
    let mut decider = both();
    let other = GuestBoot { boot: 9, ..WEB };
    // Known attack: the order comes before it is known who runs, and would be done with.
    assert_eq!(decider.isolate(other, true), Isolated::Done);
    assert_eq!(decider.isolate(other, false), Isolated::Done);
    decider.only(|_| true);
    assert_eq!(decider.isolate(other, true), Isolated::NoGuest);
    assert_eq!(decider.isolate(WEB, true), Isolated::Done);
    let next = GuestBoot { boot: 2, ..WEB };
    decider.runs(next, guest(next, "web", "10.0.0.1"));
    assert_eq!(decider.isolated().iter().collect::<Vec<_>>(), [&WEB.vm]);
    assert_eq!(decider.isolate(next, false), Isolated::Done);
    assert!(decider.isolated().is_empty());
    let any = GuestBoot {
        boot: ANY_BOOT,
        ..WEB
    };
    assert_eq!(decider.isolate(any, true), Isolated::Done);
    assert_eq!(decider.isolated().iter().collect::<Vec<_>>(), [&WEB.vm]);
}

/// A hypervisor that was restarted tells again of who runs.
#[test]
fn who_is_told_of_again_does_not_go_back() {
    let mut decider = both();
    decider.trusts(WEB, Trust::Affirming);
    let before = decider.epochs();
    decider.runs(WEB, guest(WEB, "web", "10.0.0.1"));
    decider.runs(CLIENT, guest(CLIENT, "client", "10.0.0.2"));
    for (before, after) in before.iter().zip(decider.epochs()) {
        assert_eq!(before.guest, after.guest);
        assert!(after.epoch.holds_in(before.epoch), "{before:?}, {after:?}");
    }
}

/// Known attack: a set is acknowledged in the moments in which an enclave that was started again knows of no guest.
#[test]
fn nothing_is_in_force_before_it_is_known_who_runs() {
    let mut decider = Decider::new();
    decider.rule(1, policies());
    assert_eq!(decider.in_force(), 0);
    decider.only(|_| false);
    assert_eq!(decider.in_force(), 1);
}

mod bounds;
