//! Known attacks: by who is outside, and who is not.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bartizan_local::flow::Direction::{Egress, Ingress};
use bartizan_local::flow::{Resolvers, ToDevices};

use super::{answer, gate, introduce, out};
use crate::net::device::tests::lab::{Lab, guest, neighbour, settings};
use crate::net::dns::sample::{A, ASKED, answer as answers, at, query};
use crate::net::frame::{Arp, Mac};
use crate::net::refusals::Reason;
use crate::net::sample::{Station, arp_request, interface, ipv4, ipv6, station, tcp, tcp_at, udp};
use crate::net::uplink::Settings;

/// Somebody outside with a guest's addresses.
fn posing_as(number: u8) -> Station {
    Station {
        mac: neighbour(200).mac,
        ..station(number)
    }
}

/// Known attack: somebody outside has the address of a guest that has no device just then. He is asked about as who he is, whatever
/// was decided of the guest, and goes on in none of its flows.
#[test]
fn who_has_an_absent_guests_address_is_somebody_outside() {
    let mut lab = Lab::with_uplink(2, settings());
    lab.is_exact = true;
    lab.policy = Box::new(|question| Some(!question.flow.outside));
    lab.passes(
        2,
        1,
        &ipv4(station(2), station(1), 6, &tcp(1000, 80, 2, b"")),
    );
    lab.passes(
        1,
        2,
        &ipv4(station(1), station(2), 6, &tcp(80, 1000, 0x12, b"")),
    );
    lab.passes(
        1,
        2,
        &ipv4(station(1), station(2), 17, &udp(1000, 53, b"query")),
    );
    assert!(lab.asked.iter().all(|question| !question.flow.outside));
    lab.guests.truncate(1);
    lab.asked.clear();
    // In the middle of what the guest was about, and of what it was asked.
    lab.arrive(&[ipv4(
        posing_as(2),
        station(1),
        6,
        &tcp(1000, 80, 0x10, b"on"),
    )]);
    assert_eq!(lab.refused(1, Ingress, Reason::TcpHandshake), 1);
    lab.arrive(&[ipv4(
        posing_as(2),
        station(1),
        17,
        &udp(53, 1000, b"answer"),
    )]);
    lab.arrive(&[ipv4(posing_as(2), station(1), 6, &tcp(2000, 80, 2, b""))]);
    lab.send(
        1,
        &ipv4(station(1), gate(station(2)), 17, &udp(1000, 53, b"more")),
    );
    assert_eq!(lab.asked.len(), 3);
    assert!(lab.asked.iter().all(|question| question.flow.outside));
    assert!(lab.received(1).is_empty() && lab.outside().received().is_empty());
    // By the station that the guest was to the other one nothing goes outside.
    lab.send(
        1,
        &ipv4(station(1), station(2), 17, &udp(1000, 53, b"more")),
    );
    assert!(lab.outside().received().is_empty());
    assert_eq!(lab.refused(1, Egress, Reason::Nobody), 1);
}

/// Known attack: somebody outside takes the address of a guest that runs, and has no device just then.
#[test]
fn nobody_outside_has_the_address_of_a_guest_that_is_admitted() {
    let mut lab = Lab::with_uplink(2, settings());
    let fabric = Arc::clone(&lab.fabric);
    let all = [interface(1), interface(2)];
    fabric.expect(all.iter());
    lab.guests.truncate(1);
    let query = udp(1000, 53, b"query");
    lab.shuts_out(
        &ipv4(posing_as(2), station(1), 17, &query),
        Reason::SpoofedAddress,
    );
    lab.shuts_out(
        &ipv6(posing_as(2), station(1), 17, &query),
        Reason::SpoofedAddress,
    );
    lab.shuts_out(
        &arp_request(posing_as(2), station(1).v4),
        Reason::SpoofedArp,
    );
    // Nor does the other guest hear that he is at the gate.
    lab.send(1, &arp_request(station(1), station(2).v4));
    assert!(lab.received(1).is_empty());
    lab.send(1, &ipv4(station(1), gate(station(2)), 17, &query));
    assert_eq!(lab.refused(1, Egress, Reason::Nobody), 1);
    // It is anybody's once it is the guest's no more.
    fabric.expect(all.iter().take(1));
    lab.arrive(&[ipv4(posing_as(2), station(1), 17, &query)]);
    assert_eq!(lab.received(1).len(), 1);
    assert!(lab.asked.iter().all(|question| question.flow.outside));
}

/// Routers on the way to who is outside say what became of a packet, and of nothing else.
#[test]
fn routers_outside_tell_of_flows_to_outside_alone() {
    let mut lab = Lab::with_uplink(2, settings());
    let router = Station {
        v4: Ipv4Addr::new(198, 51, 100, 1),
        ..neighbour(200)
    };
    introduce(&mut lab, 1, neighbour(201));
    lab.passes(
        1,
        2,
        &ipv4(station(1), station(2), 17, &udp(1000, 53, b"in")),
    );
    let error = |quoted: &[u8]| {
        // Fragmentation is needed, for an MTU of 1280.
        let head = [3, 4, 0, 0, 0, 0, 5, 0];
        let message = [head.as_slice(), &quoted[14..]].concat();
        ipv4(router, station(1), 1, &message)
    };
    let of_outside = ipv4(station(1), neighbour(201), 17, &udp(1000, 53, b"first"));
    lab.arrive(&[error(&of_outside)]);
    assert_eq!(lab.received(1).len(), 1);
    for quoted in [
        // What two guests have with one another.
        ipv4(station(1), station(2), 17, &udp(1000, 53, b"in")),
        // What nobody sent.
        ipv4(station(1), neighbour(201), 17, &udp(1001, 53, b"first")),
        ipv4(station(2), neighbour(201), 17, &udp(1000, 53, b"first")),
        ipv4(neighbour(201), station(1), 17, &udp(53, 1000, b"first")),
    ] {
        lab.arrive(&[error(&quoted)]);
        assert!(lab.received(1).is_empty(), "{quoted:02x?}");
    }
    assert_eq!(lab.refused(1, Ingress, Reason::NoFlow), 4);
}

/// Known attack: a guest has somebody outside answer in the name of a server there, so that his own address takes a name.
#[test]
fn servers_outside_give_names_only_where_the_settings_say_so() {
    let server = neighbour(53);
    let asks = ipv4(
        station(1),
        gate(server),
        17,
        &udp(4000, 53, &query(7, "db.test", A)),
    );
    let message = answers(7, "db.test", A, &[at(&ASKED, 300, "198.51.100.7")]);
    let says = ipv4(server, station(1), 17, &udp(53, 4000, &message));
    for (resolvers, is_told) in [(Vec::new(), false), (vec![IpAddr::V4(server.v4)], true)] {
        let mut lab = Lab::with_uplink(
            1,
            Settings {
                resolvers,
                ..settings()
            },
        );
        lab.hear(ToDevices::Resolvers(Resolvers {
            guest: guest(1),
            servers: vec![server.v4.into()],
        }));
        lab.run();
        lab.send(1, &asks);
        let [question] = lab.outside().received().try_into().unwrap();
        lab.arrive(&[answer(&question, server)]);
        lab.outside().received();
        lab.arrive(std::slice::from_ref(&says));
        assert_eq!(lab.resolved.len(), usize::from(is_told));
        // It is a packet like any, where no name is known by it.
        assert_eq!(lab.received(1).len(), usize::from(!is_told));
    }
}

/// Known attack: one guest's packets wait for the gateway, and take all places there.
#[test]
fn each_guest_has_places_where_packets_wait_for_the_gateway() {
    let router = neighbour(254);
    let mut lab = Lab::with_uplink(
        2,
        Settings {
            gateway: Some(router.v4),
            ..settings()
        },
    );
    let far = Station {
        v4: Ipv4Addr::new(192, 0, 2, 7),
        ..router
    };
    for number in 0..100_u8 {
        lab.send(1, &out(1, far, &[number]));
    }
    lab.send(2, &out(2, far, b"another's"));
    let questions = lab.outside().received();
    let question = Arp::question((Mac(station(1).mac), station(1).v4), router.v4);
    assert_eq!(questions, std::slice::from_ref(&question));
    lab.arrive(&[answer(&question, router)]);
    let left = lab.outside().received();
    let of = |number: u8| {
        left.iter()
            .filter(move |frame| frame[6..12] == station(number).mac)
    };
    assert_eq!((of(1).count(), of(2).count()), (16, 1));
}

/// Known attack: a packet waits for an answer from outside, and its receiver has another name by then.
#[test]
fn what_was_let_pass_leaves_no_more_once_names_are_others() {
    let mut lab = Lab::with_uplink(2, settings());
    lab.hear(ToDevices::Resolvers(Resolvers {
        guest: guest(1),
        servers: vec![station(2).v4.into()],
    }));
    lab.run();
    lab.send(1, &out(1, neighbour(200), b"waits"));
    let [question] = lab.outside().received().try_into().unwrap();
    lab.passes(
        1,
        2,
        &ipv4(
            station(1),
            station(2),
            17,
            &udp(4000, 53, &query(7, "db.test", A)),
        ),
    );
    let message = answers(7, "db.test", A, &[at(&ASKED, 300, "10.77.0.200")]);
    lab.send(
        2,
        &ipv4(station(2), station(1), 17, &udp(53, 4000, &message)),
    );
    let resolved = lab.resolved.pop().unwrap();
    lab.hear(ToDevices::Noted(bartizan_local::flow::Noted {
        number: resolved.number,
        guest: resolved.guest,
        anew: true,
    }));
    lab.run();
    lab.arrive(&[answer(&question, neighbour(200))]);
    assert!(lab.outside().received().is_empty());
    lab.now += Duration::from_secs(1);
    lab.send(1, &out(1, neighbour(200), b"anew"));
    assert_eq!(lab.outside().received().len(), 1);
}

/// Known attack: what was decided without a name passes with the word that the name is known.
#[test]
fn what_was_decided_just_before_names_are_others_does_not_leave() {
    let mut lab = Lab::with_uplink(2, settings());
    lab.is_exact = true;
    lab.hear(ToDevices::Resolvers(Resolvers {
        guest: guest(1),
        servers: vec![station(2).v4.into()],
    }));
    lab.run();
    introduce(&mut lab, 1, neighbour(200));
    let asks = udp(4000, 53, &query(7, "db.test", A));
    lab.passes(1, 2, &ipv4(station(1), station(2), 17, &asks));
    let message = answers(7, "db.test", A, &[at(&ASKED, 300, "10.77.0.200")]);
    lab.send(
        2,
        &ipv4(station(2), station(1), 17, &udp(53, 4000, &message)),
    );
    let resolved = lab.resolved.pop().unwrap();
    lab.policy = Box::new(|_| None);
    let again = ipv4(
        station(1),
        gate(neighbour(200)),
        17,
        &udp(1000, 54, b"waits"),
    );
    lab.send(1, &again);
    let question = lab.asked.pop().unwrap();
    lab.policy = Box::new(|_| Some(true));
    // Both are there at its next turn.
    lab.answer(question);
    lab.hear(ToDevices::Noted(bartizan_local::flow::Noted {
        number: resolved.number,
        guest: resolved.guest,
        anew: true,
    }));
    lab.run();
    assert!(lab.outside().received().is_empty());
}

/// Known attack: somebody outside, who knows no number of a guest's connection, ends it by the other end's address. The guest hears of it,
/// as it would without devices; the connection goes on both ways, and is known for as long as before.
#[test]
fn who_knows_no_number_of_a_connection_does_not_end_it() {
    let (mut lab, other) = (Lab::with_uplink(1, settings()), neighbour(200));
    let forger = Station {
        mac: neighbour(201).mac,
        ..other
    };
    introduce(&mut lab, 1, other);
    let sends = |lab: &mut Lab, flags, numbers| {
        let segment = tcp_at((1000, 80), flags, numbers, b"");
        lab.send(1, &ipv4(station(1), gate(other), 6, &segment));
        let sent = ipv4(station(1), other, 6, &segment);
        assert_eq!(lab.outside().received(), [sent]);
    };
    let comes = |lab: &mut Lab, from, flags, number| {
        let segment = tcp_at((80, 1000), flags, (number, 8), b"");
        lab.arrive(&[ipv4(from, station(1), 6, &segment)]);
        let came = ipv4(gate(other), station(1), 6, &segment);
        assert_eq!(lab.received(1), [came]);
    };
    sends(&mut lab, 2, (7, 0));
    comes(&mut lab, other, 0x12, u32::MAX);
    sends(&mut lab, 0x10, (8, 0));
    for number in [1, u32::MAX, 1 << 31, 70_000] {
        comes(&mut lab, forger, 4, number);
        comes(&mut lab, forger, 0x11, number);
        comes(&mut lab, other, 0x10, 0);
        sends(&mut lab, 0x10, (8, 0));
    }
    // Neither forgotten as one that is reset, nor as one that is closing.
    lab.now += Duration::from_secs(600);
    lab.run();
    comes(&mut lab, other, 0x10, 0);
    comes(&mut lab, other, 4, 0);
    let late = tcp_at((80, 1000), 0x10, (0, 8), b"");
    lab.arrive(&[ipv4(other, station(1), 6, &late)]);
    assert_eq!(lab.refused(1, Ingress, Reason::TcpHandshake), 1);
}
