//! DNS answers on their way: the first guest asks, the second one serves, the third one is somebody else.

use std::time::Duration;

use bartizan_local::flow::{Direction, Noted, Resolvers, ToDevices};

use super::lab::{Lab, guest};
use crate::net::dns::sample::{A, ASKED, answer, at, query};
use crate::net::flow::Limits;
use crate::net::refusals::Reason;
use crate::net::sample::{ipv4, station, tcp, udp};

const PORT: u16 = 40_000;
const SYN: u8 = 2;
const SYN_ACK: u8 = 18;
const ACK: u8 = 16;

fn lab() -> Lab {
    let mut lab = Lab::with(&[false; 3], Limits::default());
    lab.hear(ToDevices::Resolvers(Resolvers {
        guest: guest(1),
        servers: vec![station(2).v4.into()],
    }));
    lab.run();
    lab
}

fn asks(id: u16) -> Vec<u8> {
    let message = query(id, "db.test", A);
    ipv4(station(1), station(2), 17, &udp(PORT, 53, &message))
}

/// Of the station of that number: the third one has it.
fn says(number: u8, id: u16) -> Vec<u8> {
    let message = answer(id, "db.test", A, &[at(&ASKED, 300, "10.77.0.3")]);
    ipv4(station(number), station(1), 17, &udp(53, PORT, &message))
}

/// All answers that were told are noted.
fn note(lab: &mut Lab, anew: bool) {
    for resolved in std::mem::take(&mut lab.resolved) {
        lab.hear(ToDevices::Noted(Noted {
            number: resolved.number,
            guest: resolved.guest,
            anew,
        }));
    }
    lab.run();
}

fn connects(flags: u8) -> Vec<u8> {
    ipv4(station(1), station(3), 6, &tcp(PORT, 443, flags, b""))
}

#[test]
fn a_guest_has_its_answer_once_that_is_noted() {
    let mut lab = lab();
    lab.passes(1, 2, &asks(7));
    lab.send(2, &says(2, 7));
    assert!(lab.received(1).is_empty());
    assert_eq!(lab.resolved.len(), 1);
    assert_eq!(lab.resolved[0].guest, guest(1));
    note(&mut lab, false);
    assert_eq!(lab.received(1), [says(2, 7)]);
    // The server's own device has nothing to tell.
    assert!(lab.resolved.is_empty());
}

/// Known attack: a guest that nobody believes answers another guest's query, or what it did not ask.
#[test]
fn an_answer_of_another_guest_passes_and_tells_nothing() {
    let mut lab = lab();
    lab.passes(1, 2, &asks(7));
    lab.passes(3, 1, &says(3, 7));
    // Known attack: in the server's name.
    let forged = [&says(3, 7)[..6], &station(3).mac, &says(2, 7)[12..]].concat();
    lab.send(3, &forged);
    assert_eq!(lab.refused(3, Direction::Egress, Reason::SpoofedAddress), 1);
    // Of a server that is believed, to whom did not ask it.
    let unsolicited = answer(9, "db.test", A, &[at(&ASKED, 300, "10.77.0.3")]);
    let unsolicited = ipv4(station(2), station(1), 17, &udp(53, PORT, &unsolicited));
    lab.passes(2, 1, &unsolicited);
    assert!(lab.resolved.is_empty());
}

/// Known attack: a guest asks, and gives itself the answer, by way of a server of its own that it poses as.
#[test]
fn a_guests_own_packets_are_no_answers_to_itself() {
    let mut lab = lab();
    lab.passes(1, 2, &asks(7));
    let own = answer(7, "db.test", A, &[at(&ASKED, 300, "10.77.0.3")]);
    lab.send(1, &ipv4(station(1), station(1), 17, &udp(53, PORT, &own)));
    let posing = ipv4(station(2), station(1), 17, &udp(53, PORT, &own));
    let posing = [&station(1).mac[..], &station(1).mac, &posing[12..]].concat();
    lab.send(1, &posing);
    assert!(lab.resolved.is_empty() && lab.received(1).is_empty());
}

#[test]
fn an_answer_whose_flow_may_not_be_tells_nothing() {
    let mut lab = lab();
    lab.is_exact = true;
    lab.policy = Box::new(|question| Some(question.guest != guest(1)));
    lab.send(1, &asks(7));
    assert!(lab.received(2).is_empty());
    // The query never was.
    lab.policy = Box::new(|_| Some(true));
    lab.now += Duration::from_secs(20);
    lab.passes(2, 1, &says(2, 7));
    assert!(lab.resolved.is_empty());
}

#[test]
fn an_answer_that_is_not_noted_does_not_arrive() {
    let mut lab = lab();
    let lost = |lab: &Lab| lab.refused(1, Direction::Ingress, Reason::NamesNotNoted);
    lab.passes(1, 2, &asks(7));
    lab.send(2, &says(2, 7));
    lab.now += Duration::from_secs(5);
    lab.run();
    assert_eq!(lost(&lab), 1);
    note(&mut lab, false);
    assert!(lab.received(1).is_empty());
    assert!(lab.logged(Reason::NamesNotNoted));
    // Asked once more.
    lab.passes(1, 2, &asks(8));
    lab.send(2, &says(2, 8));
    note(&mut lab, false);
    assert_eq!(lab.received(1), [says(2, 8)]);
}

/// Known attack: a server answers and is isolated, and what it said still counts since it waited for its receiver's verdict.
#[test]
fn an_answer_of_who_was_isolated_meanwhile_tells_nothing() {
    let mut lab = lab();
    lab.passes(1, 2, &asks(7));
    lab.policy = Box::new(|_| None);
    lab.epoch.policy += 1;
    lab.enter(1);
    lab.run();
    lab.asked.clear();
    lab.send(2, &says(2, 7));
    lab.hear(ToDevices::Isolate {
        guest: guest(2),
        isolated: true,
    });
    lab.run();
    lab.policy = Box::new(|_| Some(true));
    for question in std::mem::take(&mut lab.asked) {
        lab.answer(question);
    }
    lab.run();
    assert!(lab.resolved.is_empty() && lab.received(1).is_empty());
    assert_eq!(lab.refused(1, Direction::Ingress, Reason::Overtaken), 1);
}

/// Known attack: what passed by a policy that holds no more comes after it.
#[test]
fn what_begins_while_an_answer_waits_takes_it_away() {
    let mut lab = lab();
    for cut in [false, true] {
        lab.passes(1, 2, &asks(7));
        lab.send(2, &says(2, 7));
        if cut {
            lab.hear(ToDevices::Isolate {
                guest: guest(1),
                isolated: true,
            });
        } else {
            lab.epoch.policy += 1;
            lab.enter(1);
        }
        lab.run();
        note(&mut lab, false);
        assert!(lab.received(1).is_empty(), "{cut}");
    }
    let lost = lab.refused(1, Direction::Ingress, Reason::NamesNotNoted);
    assert_eq!(lost, 2);
}

#[test]
fn what_was_decided_of_an_address_is_asked_about_again_once_it_has_a_name() {
    let mut lab = lab();
    lab.is_exact = true;
    lab.policy = Box::new(|question| Some(question.flow.port == Some(53)));
    lab.send(1, &connects(SYN));
    let asked = |lab: &Lab| {
        let all = lab.asked.iter();
        all.filter(|one| one.guest == guest(1) && one.flow.port == Some(443))
            .count()
    };
    assert_eq!(asked(&lab), 1);
    lab.passes(1, 2, &asks(7));
    lab.send(2, &says(2, 7));
    lab.policy = Box::new(|_| Some(true));
    // It was known before.
    note(&mut lab, false);
    lab.send(1, &connects(SYN));
    assert_eq!((asked(&lab), lab.received(3).len()), (1, 0));
    lab.passes(1, 2, &asks(8));
    lab.send(2, &says(2, 8));
    note(&mut lab, true);
    lab.passes(1, 3, &connects(SYN));
    assert_eq!(asked(&lab), 2);
}

/// A connection outlives the name that it began by; no other begins.
#[test]
fn flows_begin_for_as_long_as_a_verdict_says_and_go_on_beyond() {
    let mut lab = lab();
    (lab.is_exact, lab.begin_within_s) = (true, Some(60));
    lab.passes(1, 3, &connects(SYN));
    let reply = |flags| ipv4(station(3), station(1), 6, &tcp(443, PORT, flags, b""));
    lab.passes(3, 1, &reply(SYN_ACK));
    lab.passes(1, 3, &connects(ACK));
    let other = |port| ipv4(station(1), station(3), 6, &tcp(port, 443, SYN, b""));
    lab.asked.clear();
    lab.now += Duration::from_secs(59);
    lab.passes(1, 3, &other(1));
    assert!(lab.asked.is_empty());
    lab.now += Duration::from_secs(1);
    lab.policy = Box::new(|question| Some(question.since_s > 0));
    lab.send(1, &other(2));
    assert!(lab.received(3).is_empty());
    // The first one goes on, by another policy as well: that there is no name now is no word on it.
    lab.asked.clear();
    lab.passes(1, 3, &connects(ACK));
    assert!(lab.asked.is_empty());
    lab.epoch.policy += 1;
    lab.enter(1);
    lab.run();
    lab.send(1, &other(3));
    lab.passes(1, 3, &connects(ACK));
    let ages = lab.asked.iter().filter(|one| one.guest == guest(1));
    let ages: Vec<_> = ages.map(|one| one.since_s).collect();
    assert_eq!(ages, [0, 60]);
}
