//! Known attacks: by what is sent outside, and more of it than there is room for.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bartizan_local::flow::Direction::{Egress, Ingress};
use bartizan_local::flow::ToDevices;

use super::{answer, gate, introduce, lost, out};
use crate::net::Fabric;
use crate::net::device::tests::lab::{Lab, guest, neighbour, settings};
use crate::net::flow::Limits;
use crate::net::frame::{Arp, Mac};
use crate::net::header::HEADER_LEN;
use crate::net::refusals::Reason;
use crate::net::sample::{Station, interface, ipv4, ipv6, station, udp};
use crate::net::uplink::{GATE, Settings, Uplink};

/// Known attack: a guest takes the gateway's address, or that of all that is outside.
#[test]
fn no_guest_has_an_address_of_the_uplinks() {
    let uplink = Uplink::new(Settings {
        gateway: Some(station(1).v4),
        ..settings()
    });
    let uplink = [Arc::new(uplink.unwrap())];
    let fabric = Arc::new(Fabric::with_uplinks(&uplink));
    assert!(fabric.plug(interface(1)).is_err());
    let mut gate = interface(2);
    gate.mac = GATE.0;
    assert!(fabric.plug(gate).is_err());
}

/// Known attack: a guest asks the host's own cloud for its secrets, or speaks to all hosts outside at once.
#[test]
fn what_is_no_one_host_outside_is_nobody() {
    let mut lab = Lab::with_uplink(2, settings());
    for v4 in [
        Ipv4Addr::new(169, 254, 169, 254),
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(224, 0, 0, 1),
    ] {
        let to = Station {
            v4,
            ..gate(neighbour(200))
        };
        lab.blocks(&ipv4(station(1), to, 17, &udp(1, 2, b"")), Reason::Nobody);
    }
    // Another guest's address by the gate: what would go out and come back is judged as nobody's.
    lab.blocks(
        &ipv4(station(1), gate(station(2)), 17, &udp(1, 2, b"")),
        Reason::Nobody,
    );
    // All hosts of the guest's network, and the network itself, by the guest's prefix.
    for (number, last) in [(1, 255), (2, 0)] {
        let to = Station {
            v4: Ipv4Addr::new(10, 77, 0, last),
            ..gate(neighbour(200))
        };
        lab.send(1, &ipv4(station(1), to, 17, &udp(1, 2, b"")));
        assert_eq!(lost(&lab, Reason::Nobody), number);
    }
    assert!(lab.outside().received().is_empty());
}

/// Known attack: an isolated guest has questions of its choice asked outside, in its name.
#[test]
fn nobody_is_asked_for_what_may_not_leave_any_more() {
    let mut lab = Lab::with_uplink(1, settings());
    lab.send(1, &out(1, neighbour(200), b"waits"));
    assert_eq!(lab.outside().received().len(), 1);
    // Whose thread stands still, while the guest is isolated.
    let outside = lab.outside.take();
    lab.send(1, &out(1, neighbour(201), b"in the outbox"));
    lab.hear(ToDevices::Isolate {
        guest: guest(1),
        isolated: true,
    });
    lab.run();
    lab.outside = outside;
    lab.run();
    for _ in 0..4 {
        lab.now += Duration::from_secs(1);
        lab.run();
    }
    assert!(lab.outside().received().is_empty());
    assert_eq!(lost(&lab, Reason::Overtaken), 2);
    assert_eq!(lab.outside().core.asked(), 0);
}

/// Known attacks: an answer that nobody asked for; one in the place of another that was believed.
#[test]
fn only_what_was_asked_is_believed() {
    let (mut lab, other) = (Lab::with_uplink(1, settings()), neighbour(200));
    let own = (Mac(station(1).mac), station(1).v4);
    let question = Arp::question(own, other.v4);
    let forged = Station {
        mac: neighbour(66).mac,
        ..other
    };
    lab.arrive(&[answer(&question, forged)]);
    introduce(&mut lab, 1, other);
    lab.arrive(&[answer(&question, forged)]);
    lab.send(1, &out(1, other, b"on"));
    assert_eq!(lab.outside().received()[0][..6], other.mac);
    // It is asked again in time, used meanwhile, and not for ever.
    lab.now += Duration::from_secs(31);
    lab.send(1, &out(1, other, b"old"));
    let [asked, sent] = lab.outside().received().try_into().unwrap();
    assert_eq!(
        (asked, &sent[..6]),
        (question.clone(), other.mac.as_slice())
    );
    lab.arrive(&[answer(&question, other)]);
    lab.now += Duration::from_secs(89);
    lab.send(1, &out(1, other, b"confirmed"));
    assert_eq!(lab.outside().received().len(), 2);
    for _ in 0..5 {
        lab.now += Duration::from_secs(1);
        lab.run();
    }
    lab.outside().received();
    lab.send(1, &out(1, other, b"anew"));
    assert_eq!(lab.outside().received(), [question]);
}

#[test]
fn who_does_not_answer_is_asked_three_times() {
    let (mut lab, other) = (Lab::with_uplink(1, settings()), neighbour(200));
    lab.send(1, &out(1, other, b"first"));
    let mut questions = lab.outside().received().len();
    for _ in 0..5 {
        lab.now += Duration::from_secs(1);
        lab.run();
        questions += lab.outside().received().len();
    }
    assert_eq!((questions, lost(&lab, Reason::NoNeighbour)), (3, 1));
    assert_eq!(lab.outside().core.asked(), 0);
}

/// Known attack: a guest asks for all addresses that there could be, so that there is no room for another's.
#[test]
fn a_guest_that_scans_outside_leaves_room_for_the_others() {
    let mut lab = Lab::with_uplink(2, settings());
    lab.is_exact = false;
    for number in 0..2000_u32 {
        let v4 = Ipv4Addr::from_bits(Ipv4Addr::new(10, 77, 0, 0).to_bits() + 3 + number % 250);
        let v6 = format!("fd77::{:x}:{number:x}", 1 + number);
        let to = Station {
            v4,
            v6: v6.parse().unwrap(),
            ..gate(neighbour(200))
        };
        lab.send(1, &ipv6(station(1), to, 17, &udp(1000, 53, &[0; 1200])));
        lab.outside().received();
    }
    assert!(lab.outside().core.asked() <= 512);
    assert!(lost(&lab, Reason::Neighbours) + lost(&lab, Reason::NeighboursHeld) > 1000);
    introduce(&mut lab, 2, neighbour(200));
    lab.passes(2, 1, &ipv4(station(2), station(1), 17, &udp(1, 2, b"in")));
}

/// Known attack: whoever is outside begins flows by addresses that he makes up, until nobody else reaches the guest.
#[test]
fn a_flood_from_outside_leaves_guests_room_for_one_another() {
    let mut lab = Lab::with_uplink(3, settings());
    lab.is_exact = true;
    lab.policy = Box::new(|question| {
        let is_outside = matches!(question.flow.peer, IpAddr::V4(peer) if peer.octets()[0] == 198);
        (!is_outside).then_some(true)
    });
    for number in 0..5000_u32 {
        let from = Station {
            v4: Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + number),
            ..neighbour(200)
        };
        lab.outside().send(
            &[0; HEADER_LEN],
            &ipv4(from, station(2), 17, &udp(1000, 53, &[0; 1000])),
        );
        if number % 8 == 7 {
            lab.run();
        }
    }
    let held = lab.guest(2).core.port.flows.held();
    let limits = Limits::default();
    assert!(held.questions <= limits.questions, "{held:?}");
    assert!(held.held_bytes <= limits.held_bytes, "{held:?}");
    assert!(lab.refused(2, Ingress, Reason::Questions) > 4000);
    lab.passes(3, 2, &ipv4(station(3), station(2), 17, &udp(1, 2, b"in")));
    lab.passes(2, 3, &ipv4(station(2), station(3), 17, &udp(3, 4, b"out")));
    introduce(&mut lab, 2, neighbour(201));
}

/// Known attack: a guest sends outside what it can, and nothing of another's is taken.
#[test]
fn a_guests_flood_outside_leaves_room_for_the_others() {
    let (mut lab, other) = (Lab::with_uplink(2, settings()), neighbour(200));
    introduce(&mut lab, 1, other);
    // Whose thread stands still.
    lab.outside = None;
    lab.send_all(
        1,
        (0..3000_u32).map(|number| out(1, other, &number.to_be_bytes())),
    );
    assert_eq!(lab.refused(1, Egress, Reason::InboxFull), 3000 - 1024);
    lab.send(2, &out(2, other, b"another's"));
    assert_eq!(lab.refused(2, Egress, Reason::InboxFull), 0);
}

/// Known attack: a packet waits for an answer from outside, which comes once the guest may not send it any more.
#[test]
fn what_was_let_pass_leaves_no_more_after_an_update() {
    let (mut lab, other) = (Lab::with_uplink(1, settings()), neighbour(200));
    lab.send(1, &out(1, other, b"waits"));
    let [question] = lab.outside().received().try_into().unwrap();
    lab.policy = Box::new(|_| Some(false));
    lab.epoch.policy += 1;
    let epoch = lab.enter(1);
    lab.run();
    assert_eq!(lab.in_force, [epoch]);
    lab.arrive(&[answer(&question, other)]);
    assert!(lab.outside().received().is_empty());
    assert_eq!(lost(&lab, Reason::Overtaken), 1);
    assert!(lab.logged(Reason::Overtaken));
}

#[test]
fn what_an_isolated_guest_sent_leaves_no_more() {
    let (mut lab, other) = (Lab::with_uplink(1, settings()), neighbour(200));
    lab.send(1, &out(1, other, b"waits"));
    let [question] = lab.outside().received().try_into().unwrap();
    lab.hear(ToDevices::Isolate {
        guest: guest(1),
        isolated: true,
    });
    lab.run();
    lab.arrive(&[answer(&question, other)]);
    assert!(lab.outside().received().is_empty());
    lab.arrive(&[ipv4(other, station(1), 17, &udp(53, 1000, b"in"))]);
    assert!(lab.received(1).is_empty());
}
