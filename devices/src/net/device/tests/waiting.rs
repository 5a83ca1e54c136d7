//! Packets that their sender's side let pass, and that wait for a buffer of their receiver's.

use bartizan_local::flow::Direction::Ingress;
use bartizan_local::flow::ToDevices;

use super::lab::{Lab, SIZE, guest};
use crate::net::refusals::Reason;
use crate::net::sample::{ipv4, station, udp};

/// How many wait, after as many as the receiver had buffers for: of either port as many as may wait for a verdict.
const WAIT: usize = 8;

fn to(port: u16) -> Vec<u8> {
    ipv4(station(2), station(1), 17, &udp(1000, port, b"data"))
}

/// The second guest has sent to either port in turn, and the first one has taken nothing yet.
fn waiting() -> Lab {
    let mut lab = Lab::new();
    lab.is_exact = true;
    lab.passes(2, 1, &to(0));
    lab.passes(2, 1, &to(1));
    let ports = [0, 1].into_iter().cycle();
    lab.send_all(2, ports.take(usize::from(SIZE) + WAIT).map(to));
    lab
}

#[track_caller]
fn only_what_was_delivered_is(lab: &mut Lab) {
    lab.run();
    assert_eq!(lab.drain(1).len(), usize::from(SIZE));
    assert_eq!(lab.refused(1, Ingress, Reason::Overtaken), WAIT as u64);
}

#[test]
fn they_come_when_there_is_room() {
    let mut lab = waiting();
    assert_eq!(lab.drain(1).len(), usize::from(SIZE) + WAIT);
}

#[test]
fn they_are_judged_by_what_holds_for_their_receiver_when_there_is_room() {
    let mut lab = waiting();
    lab.policy = Box::new(|question| Some(question.flow.port == Some(1)));
    lab.epoch.policy += 1;
    lab.enter(1);
    lab.run();
    let received = lab.drain(1);
    let waited = received.get(usize::from(SIZE)..).unwrap();
    assert_eq!(waited, vec![to(1); WAIT / 2]);
}

#[test]
fn nothing_comes_of_who_was_isolated_meanwhile() {
    let mut lab = waiting();
    lab.hear(ToDevices::Isolate {
        guest: guest(2),
        isolated: true,
    });
    only_what_was_delivered_is(&mut lab);
}

#[test]
fn nothing_comes_of_who_is_decided_on_anew() {
    let mut lab = waiting();
    lab.epoch.policy += 1;
    let epoch = lab.enter(2);
    lab.run();
    assert!(lab.in_force.contains(&epoch));
    only_what_was_delivered_is(&mut lab);
}

#[test]
fn nothing_comes_of_who_is_gone_nor_in_its_name() {
    let mut lab = waiting();
    let gone = lab.guests.pop();
    drop(gone);
    only_what_was_delivered_is(&mut lab);
}
