//! Flows that were allowed and are not any more, or while nobody can decide.

use bartizan_local::flow::{Direction, FromDevices, Guest, GuestEpoch, ToDevices};

use super::decider::Decider;
use super::guest::{NetGuest, boot};
use super::sample::{ipv4, tcp};
use crate::daemon::Daemon;

/// Both guests, with a flow from the first to port 53 of the second.
fn with_flow(daemon: &Daemon, decider: &Decider, unavailable: bool) -> (NetGuest, NetGuest) {
    let mut a = NetGuest::attached(41, daemon);
    let mut b = NetGuest::attached(42, daemon);
    let sent = a.send_udp(b.station(), (1000, 53), b"first");
    for guest in [41, 42] {
        let question = decider.question();
        assert_eq!(question.guest, boot(guest));
        decider.answer(&question, true, unavailable);
    }
    assert_eq!(b.receive(), sent);
    (a, b)
}

#[test]
fn another_policy_cuts_an_established_flow() {
    let daemon = Daemon::start();
    let mut decider = Decider::new(&daemon);
    let (mut a, mut b) = with_flow(&daemon, &decider, false);
    decider.enter(boot(41));
    a.send_udp(b.station(), (1000, 53), b"cut");
    decider.decide(boot(41), false);
    let other = a.send_udp(b.station(), (1000, 54), b"other");
    decider.decide(boot(41), true);
    decider.decide(boot(42), true);
    assert_eq!(b.receive(), other);
}

#[test]
fn a_verdict_of_a_former_policy_lets_nothing_pass() {
    let daemon = Daemon::start();
    let mut decider = Decider::new(&daemon);
    let (mut a, mut b) = with_flow(&daemon, &decider, false);
    let sent = a.send_udp(b.station(), (1000, 60), b"held");
    let former = decider.question();
    let epoch = decider.epoch;
    decider.enter(boot(41));
    let present = std::mem::replace(&mut decider.epoch, epoch);
    decider.answer(&former, true, false);
    // It is asked again, under a number of its own.
    let again = decider.question();
    assert!(again.flow == former.flow && again.number != former.number);
    decider.epoch = present;
    decider.answer(&again, true, false);
    decider.decide(boot(42), true);
    assert_eq!(b.receive(), sent);
}

#[test]
fn while_nobody_decides_flows_follow_what_was_decided_for_that() {
    for unavailable in [true, false] {
        let daemon = Daemon::start();
        let decider = Decider::new(&daemon);
        let (mut a, mut b) = with_flow(&daemon, &decider, unavailable);
        drop(decider);
        daemon.wait_until_logged("nobody decides on flows now");
        let known = a.send_udp(b.station(), (1000, 53), b"known");
        a.send_udp(b.station(), (1000, 99), b"new");
        let similar = a.send_udp(b.station(), (1001, 53), b"similar");
        if unavailable {
            assert_eq!(b.receive(), known);
            assert_eq!(b.receive(), similar);
        }
        b.expect_silence(a.station());
        // Whoever comes back is asked what is new.
        let decider = Decider::new(&daemon);
        let sent = a.send_udp(b.station(), (1000, 99), b"new");
        decider.decide(boot(41), true);
        decider.decide(boot(42), true);
        assert_eq!(b.receive(), sent);
    }
}

#[test]
fn a_newer_link_is_the_one_that_decides_and_is_asked_what_is_open() {
    let daemon = Daemon::start();
    let former = Decider::new(&daemon);
    let (mut a, mut b) = with_flow(&daemon, &former, false);
    let sent = a.send_udp(b.station(), (1000, 60), b"held");
    let open = former.question();
    let decider = Decider::connected(&daemon);
    let again = decider.question();
    assert_eq!(again, open);
    assert!(former.is_over());
    decider.answer(&again, true, false);
    decider.decide(boot(42), true);
    assert_eq!(b.receive(), sent);
}

/// Known attack: the enclave is ended, and the one that comes after it knows nothing of who is cut off.
#[test]
fn who_is_cut_off_stays_so_and_whoever_decides_next_hears_of_it_first() {
    let daemon = Daemon::start();
    let former = Decider::new(&daemon);
    let (mut a, b) = with_flow(&daemon, &former, true);
    let isolate = |isolated| ToDevices::Isolate {
        // Of whichever boot.
        guest: Guest {
            boot: 0,
            ..boot(42)
        },
        isolated,
    };
    former.say(&isolate(true));
    former.wait_until_heard();
    let mut decider = Decider::connected(&daemon);
    assert_eq!(decider.hear(), FromDevices::Isolated(boot(42).vm));
    decider.enter(boot(42));
    a.send_udp(b.station(), (1000, 53), b"lost");
    decider.decide(boot(41), true);
    a.expect_silence(b.station());
    decider.say(&isolate(false));
    decider.enter(boot(42));
    // Nobody is cut off any more: the next one hears nothing of that kind.
    let last = Decider::connected(&daemon);
    let epoch = GuestEpoch {
        guest: boot(42),
        epoch: last.epoch,
    };
    last.say(&ToDevices::Epoch(epoch));
    loop {
        match last.hear() {
            FromDevices::InForce(heard) if heard == epoch => break,
            FromDevices::Isolated(vm) => panic!("{vm:?} is cut off still"),
            _ => {}
        }
    }
}

#[test]
fn nobody_but_the_hypervisor_decides() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let (mut a, mut b) = with_flow(&daemon, &decider, false);
    let stranger = Decider::stranger(&daemon);
    assert!(stranger.is_over());
    // The link that there was goes on.
    let sent = a.send_udp(b.station(), (1000, 60), b"asked");
    decider.decide(boot(41), true);
    decider.decide(boot(42), true);
    assert_eq!(b.receive(), sent);
}

#[test]
fn a_new_devices_process_serves_on_and_asks_anew() {
    let mut daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let (mut a, mut b) = with_flow(&daemon, &decider, true);
    daemon.replace();
    let decider = Decider::new(&daemon);
    a.attach(&daemon);
    b.attach(&daemon);
    let sent = a.send_udp(b.station(), (1000, 53), b"after");
    decider.decide(boot(41), true);
    decider.decide(boot(42), true);
    assert_eq!(b.receive(), sent);
}

/// Known attack: a segment without a handshake, of a guest that was not there before.
#[test]
fn an_established_connection_survives_the_devices_process_and_none_that_never_was() {
    let mut daemon = Daemon::start();
    let _decider = Decider::new(&daemon);
    let mut a = NetGuest::attached(41, &daemon);
    let mut b = NetGuest::attached(42, &daemon);
    daemon.replace();
    let decider = Decider::new(&daemon);
    a.attach(&daemon);
    b.attach(&daemon);
    let mut c = NetGuest::attached(43, &daemon);
    let stations = [a.station(), b.station(), c.station()];
    let segment = |from: usize, to: usize, ports: (u16, u16)| {
        ipv4(
            stations[from],
            stations[to],
            6,
            &tcp(ports.0, ports.1, 0x10, b"data"),
        )
    };
    c.send(&segment(2, 1, (40_000, 80)));
    daemon.wait_until_logged("tcp-handshake");
    let there = segment(0, 1, (40_000, 80));
    a.send(&there);
    assert_eq!(decider.decide(boot(41), true).direction, Direction::Egress);
    assert_eq!(decider.decide(boot(42), true).direction, Direction::Ingress);
    assert_eq!(b.receive(), there);
    let back = segment(1, 0, (80, 40_000));
    b.send(&back);
    assert_eq!(a.receive(), back);
}
