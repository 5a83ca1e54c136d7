//! What is seen of a guest's flows, in its own thread's turns.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use bartizan_local::flow::Direction;
use bartizan_local::observation::{CapturedPacket, Filter, FlowEnd, FlowRecord, ObservationEnd};

use super::lab::{Lab, guest};
use crate::net::flow::Cursor;
use crate::net::observation::{Ask, Capture, Feed, Look, Watch};
use crate::net::sample::{arp_request, ipv4, station, tcp, udp};

const SYN: u8 = 2;
const ACK: u8 = 16;
const RST: u8 = 4;

fn datagram(from: u8, to: u8, ports: (u16, u16)) -> Vec<u8> {
    ipv4(
        station(from),
        station(to),
        17,
        &udp(ports.0, ports.1, b"data"),
    )
}

fn segment(from: u8, to: u8, ports: (u16, u16), flags: u8) -> Vec<u8> {
    ipv4(
        station(from),
        station(to),
        6,
        &tcp(ports.0, ports.1, flags, b""),
    )
}

fn ask(lab: &Lab, number: u8, ask: Ask) {
    let station = lab.station(guest(number));
    station.inbox.change(|mail| mail.asks.push(ask));
}

fn capture(lab: &mut Lab, number: u8, filter: Filter, packets: u64) -> Arc<Capture> {
    let feed = Feed::new(packets, u64::MAX, long());
    let capture = Arc::new(Capture {
        filter,
        snap: 30,
        feed,
    });
    ask(lab, number, Ask::Capture(Arc::clone(&capture)));
    lab.run();
    capture
}

fn watch(lab: &mut Lab, number: u8, filter: Filter) -> Arc<Watch> {
    let feed = Feed::new(u64::MAX, u64::MAX, long());
    let watch = Arc::new(Watch { filter, feed });
    ask(lab, number, Ask::Watch(Arc::clone(&watch)));
    lab.run();
    watch
}

/// Nothing here takes as long.
fn long() -> Instant {
    Instant::now() + Duration::from_secs(600)
}

fn list(lab: &mut Lab, number: u8) -> Vec<FlowRecord> {
    let (mut all, mut next) = (Vec::new(), Some(Cursor::default()));
    while let Some(from) = next {
        let (answer, page) = sync_channel(1);
        let filter = Filter::default();
        let look = Look {
            from,
            filter,
            answer,
        };
        ask(lab, number, Ask::Look(look));
        lab.run();
        let flows;
        (flows, next) = page.recv().unwrap();
        all.extend(flows);
    }
    all
}

fn captured(capture: &Capture) -> Vec<CapturedPacket> {
    capture.feed.take(Instant::now()).items
}

#[test]
fn what_a_guest_sends_is_captured_whatever_becomes_of_it() {
    let mut lab = Lab::new();
    lab.policy = Box::new(|question| Some(question.flow.port != Some(1)));
    lab.is_exact = true;
    let everything = capture(&mut lab, 1, Filter::default(), u64::MAX);
    let frames = [
        arp_request(station(1), station(2).v4),
        datagram(1, 2, (9, 53)),
        datagram(1, 2, (9, 1)),
        // By an address that is another's.
        datagram(2, 1, (9, 53)),
    ];
    lab.send_all(1, frames.clone());
    lab.drain(1);
    let seen = captured(&everything);
    let sent = seen.iter().filter(|packet| packet.way == Direction::Egress);
    let sent: Vec<_> = sent.map(|packet| packet.bytes.clone()).collect();
    assert_eq!(sent, frames.map(|frame| frame[..30].to_vec()));
    // This host's own answer is what the guest was given.
    assert_eq!(seen.len(), 5);
    assert_eq!(lab.received(2).len(), 1);
    // What did not arrive was not given.
    lab.send(2, &datagram(2, 1, (9, 1)));
    assert_eq!(captured(&everything), []);
}

#[test]
fn nothing_is_copied_once_there_is_enough() {
    let mut lab = Lab::new();
    let two = capture(&mut lab, 1, Filter::default(), 2);
    for _ in 0..5 {
        lab.send(1, &datagram(1, 2, (9, 53)));
    }
    let found = two.feed.take(Instant::now());
    assert_eq!(
        (found.items.len(), found.end),
        (2, Some(ObservationEnd::Packets))
    );
    // The guest's thread has let go of it.
    assert_eq!(Arc::strong_count(&two), 1);
}

#[test]
fn a_connection_is_told_of_once_it_is_over_and_why() {
    let mut lab = Lab::new();
    let watch = watch(&mut lab, 1, Filter::default());
    lab.send(1, &segment(1, 2, (9, 80), SYN));
    lab.send(2, &segment(2, 1, (80, 9), SYN | ACK));
    lab.send(1, &segment(1, 2, (9, 80), ACK));
    lab.send(2, &segment(2, 1, (80, 9), RST | ACK));
    let live = list(&mut lab, 1);
    assert_eq!((live.len(), live[0].end), (1, None));
    assert_eq!((live[0].sent.packets, live[0].received.packets), (2, 2));
    assert!(watch.feed.take(Instant::now()).items.is_empty());
    lab.now += Duration::from_secs(60);
    lab.run();
    let told = watch.feed.take(Instant::now()).items;
    assert_eq!((told.len(), told[0].end), (1, Some(FlowEnd::Closed)));
    assert_eq!(told[0].decision.as_ref().unwrap().rule, "test/rule");
    let listed = list(&mut lab, 1);
    assert_eq!((listed.len(), listed[0].end), (1, told[0].end));
    assert_eq!(
        (listed[0].sent, listed[0].flow),
        (told[0].sent, told[0].flow)
    );
}

/// Known attack: more flows end at once than are remembered, so that nobody who watches hears of some.
#[test]
fn however_many_end_at_once_each_is_told_of_or_counted() {
    const FLOWS: u16 = 6000;
    let mut lab = Lab::new();
    let everything = watch(&mut lab, 1, Filter::default());
    let ports = Some((1000, 2999));
    let some = Filter {
        ports,
        ..Filter::default()
    };
    let some = watch(&mut lab, 1, some);
    lab.send_all(1, (0..FLOWS).map(|port| datagram(1, 2, (1000 + port, 53))));
    assert_eq!(lab.guest(1).core.port.flows.len(), usize::from(FLOWS));
    lab.now += Duration::from_secs(60);
    lab.run();
    assert!(lab.guest(1).core.port.flows.is_empty());
    let found = some.feed.take(Instant::now());
    assert_eq!((found.items.len(), found.dropped), (2000, 0));
    // More than what waits for a reader.
    let found = everything.feed.take(Instant::now());
    assert!(found.dropped > 0);
    let all = found.items.len() as u64 + found.dropped;
    assert_eq!(all, u64::from(FLOWS));
    // Nothing is kept for nobody.
    everything.feed.end(ObservationEnd::Time);
    some.feed.end(ObservationEnd::Time);
    lab.send(1, &datagram(1, 2, (9, 53)));
    lab.now += Duration::from_secs(60);
    lab.run();
    assert!(lab.guest(1).core.port.flows.take_ended().is_empty());
}

/// Known attack: flows wait for a verdict for ever, and nobody hears of them.
#[test]
fn a_flow_that_nobody_decides_on_is_told_of_as_such() {
    let mut lab = Lab::new();
    lab.policy = Box::new(|_| None);
    lab.send(1, &datagram(1, 2, (9, 53)));
    let waits = list(&mut lab, 1);
    assert_eq!(
        (waits.len(), &waits[0].decision, waits[0].end),
        (1, &None, None)
    );
    lab.now += Duration::from_secs(60);
    lab.run();
    let over = list(&mut lab, 1);
    assert_eq!(over[0].end, Some(FlowEnd::Undecided));
}

#[test]
fn a_device_that_ends_ends_what_is_seen_of_it() {
    let mut lab = Lab::new();
    let capture = capture(&mut lab, 1, Filter::default(), u64::MAX);
    lab.guests.clear();
    assert_eq!(
        capture.feed.take(Instant::now()).end,
        Some(ObservationEnd::Gone)
    );
}
