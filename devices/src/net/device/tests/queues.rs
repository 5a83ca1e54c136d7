//! Guests whose drivers use several queues.

use proptest::prelude::*;
use rustix::event::{EventfdFlags, eventfd};
use vhost::vhost_user::VhostUserBackendReqHandlerMut;

use super::lab::{Lab, SIZE, SPARE};
use crate::net::device::BATCH;
use crate::net::header::{HEADER_LEN, feature};
use crate::net::sample::{ipv4, station, udp};

fn frame(from: u8, to: u8, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    ipv4(station(from), station(to), 17, &udp(ports.0, ports.1, data))
}

impl Lab {
    /// The first guest sends a frame of that flow by that queue, and takes back an answer, by which queue it comes.
    #[track_caller]
    fn answered_by(&mut self, port: u16, queue: usize) -> usize {
        self.guest(1).sends_by = queue;
        let sent = frame(1, 2, (port, 53), b"question");
        self.passes(1, 2, &sent);
        let answer = frame(2, 1, (53, port), b"answer");
        self.send(2, &answer);
        let by = [0, 1, 2].map(|queue| self.guest(1).received_by(queue));
        let came = by.iter().position(|frames| *frames == [answer.clone()]);
        assert_eq!(by.iter().flatten().count(), 1);
        came.unwrap()
    }

    /// Has the first guest's QEMU switch a pair.
    fn switch(&mut self, pair: u32, on: bool) {
        for ring in [2 * pair, 2 * pair + 1] {
            self.guest(1).backend.set_vring_enable(ring, on).unwrap();
        }
    }
}

#[test]
fn answers_come_by_the_queue_that_the_guest_sent_by() {
    let mut lab = Lab::with_queues(3);
    for port in 1000..1030 {
        for queue in [usize::from(port) % 3, 2, 0] {
            assert_eq!(lab.answered_by(port, queue), queue, "{port}");
        }
    }
}

#[test]
fn packets_of_a_flow_that_begins_elsewhere_come_by_one_queue_and_in_order() {
    let mut lab = Lab::with_queues(3);
    let mut by = [0; 3];
    for port in 1000..1100 {
        let sent: Vec<_> = (0..20)
            .map(|number| frame(2, 1, (port, 7), &[number]))
            .collect();
        // What waits for a verdict is few: the first one alone does.
        lab.send(2, &sent[0]);
        lab.send_all(2, sent[1..].iter().cloned());
        let came = [0, 1, 2].map(|queue| lab.guest(1).received_by(queue));
        let queue = came.iter().position(|frames| !frames.is_empty()).unwrap();
        assert_eq!(came[queue], sent);
        assert_eq!(came.iter().flatten().count(), sent.len());
        by[queue] += 1;
    }
    assert!(by.iter().all(|flows| *flows > 5), "{by:?}");
}

#[test]
fn a_queue_that_is_switched_off_is_not_used() {
    let mut lab = Lab::with_queues(2);
    assert_eq!(lab.answered_by(1000, 1), 1);
    lab.switch(1, false);
    lab.send(2, &frame(2, 1, (53, 1000), b"late"));
    let late = lab.guest(1).received_by(0);
    assert_eq!((late.len(), lab.guest(1).received_by(1).len()), (1, 0));
    // What the guest still sends by it goes nowhere, and it has its buffers back (vhost-user, "Ring states").
    lab.guest(1).sends_by = 1;
    let off = frame(1, 2, (1000, 53), b"off");
    lab.send_all(1, vec![off; 3 * BATCH]);
    assert!(lab.received(2).is_empty() && lab.guest(1).has_all_back());
    lab.switch(1, true);
    lab.run();
    assert!(lab.received(2).is_empty());
    assert_eq!(lab.answered_by(1000, 1), 1);
}

/// A device that takes over is told of its rings before it is told which of them run: nothing is discarded meanwhile.
#[test]
fn a_queue_that_is_not_switched_on_yet_keeps_what_was_sent() {
    let mut lab = Lab::with_queues(2);
    lab.switch(1, false);
    let backend = &mut lab.guest(1).backend;
    let base = backend.get_vring_base(3).unwrap();
    backend.set_vring_base(3, base.num).unwrap();
    let kick = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    backend.set_vring_kick(3, Some(kick.into())).unwrap();
    lab.guest(1).sends_by = 1;
    lab.send(1, &frame(1, 2, (1000, 53), b"early"));
    assert!(lab.received(2).is_empty() && !lab.guest(1).has_all_back());
    lab.switch(1, true);
    lab.run();
    assert_eq!(lab.received(2), [frame(1, 2, (1000, 53), b"early")]);
}

#[test]
fn a_driver_that_knows_of_no_more_queues_has_one() {
    let mut lab = Lab::with_queues(2);
    lab.guest(1).take_features(feature::OFFERED);
    lab.guest(1).sends_by = 1;
    lab.send(1, &frame(1, 2, (1000, 53), b"unheard"));
    assert!(lab.received(2).is_empty());
    for port in 1000..1050 {
        lab.send(2, &frame(2, 1, (53, port), b"first"));
        assert_eq!(lab.guest(1).received_by(0).len(), 1);
    }
}

/// Known attack: a guest has more queues than others, so that more of its packets than of theirs are moved.
#[test]
fn a_guest_has_no_more_of_a_turn_for_having_more_queues() {
    let mut lab = Lab::with_queues(3);
    assert_eq!(lab.answered_by(1000, 0), 0);
    let guest = lab.guest(1);
    let offered = SIZE / 2;
    for queue in 0..3 {
        guest.sends_by = queue;
        for _ in 0..offered {
            guest.offer_frame(&[0; HEADER_LEN], &frame(1, 2, (1000, 53), b"flood"));
        }
    }
    let mut before = [1, 0, 0];
    for _ in 0..3 {
        let now = lab.now;
        let guest = lab.guest(1);
        assert!(guest.core.turn(&mut guest.backend, now));
        let taken = [0, 1, 2].map(|queue| guest.taken(queue));
        let each = [0, 1, 2].map(|queue| usize::from(taken[queue] - before[queue]));
        assert_eq!(each.iter().sum::<usize>(), BATCH);
        // Each queue had its turn.
        assert!(each.iter().all(|taken| *taken >= BATCH / 4), "{each:?}");
        before = taken;
    }
    lab.run();
    assert!(
        [0, 1, 2]
            .iter()
            .all(|queue| lab.guest(1).taken(*queue) >= offered)
    );
}

#[test]
fn a_queue_without_room_holds_up_no_other_for_a_while_and_loses_nothing() {
    let mut lab = Lab::with_queues(2);
    // Two flows that have places of their own.
    let apart = |port: &u16| {
        lab.answered_by(*port, 1);
        assert_eq!(lab.answered_by(1000, 0), 0);
        lab.send(2, &frame(2, 1, (53, *port), b"still"));
        let by = [0, 1].map(|queue| lab.guest(1).received_by(queue).len());
        by == [0, 1]
    };
    let slow_port = (2000..2100).find(apart).unwrap();
    let of = |port: u16, count: u16| {
        let numbered = move |number: u16| frame(2, 1, (53, port), &number.to_be_bytes());
        (0..count).map(numbered).collect::<Vec<_>>()
    };
    // As many as its second queue has buffers, and some.
    let slow = of(slow_port, SIZE + 20);
    lab.send_all(2, slow.clone());
    assert!(lab.guest(1).is_to_kick(2) && !lab.guest(1).is_to_kick(0));
    for _ in 0..3 {
        lab.send_all(2, of(1000, 100));
        assert_eq!(lab.guest(1).received_by(0), of(1000, 100));
    }
    // More than may wait while others go on: all wait, and arrive.
    let more = of(slow_port, 100);
    lab.send_all(2, more.clone());
    lab.send_all(2, of(1000, 10));
    assert!(lab.guest(1).received_by(0).is_empty());
    let mut came = Vec::new();
    loop {
        let frames = lab.guest(1).received_by(1);
        if frames.is_empty() {
            break;
        }
        came.extend(frames);
        lab.run();
    }
    assert_eq!(came, [slow, more].concat());
    assert_eq!(lab.guest(1).received_by(0), of(1000, 10));
    assert!(!lab.guest(1).is_to_kick(2));
}

/// Known attack: one of a guest's rings breaks the rules. It rests; what the others do is as before.
#[test]
fn a_broken_ring_of_several_rests_alone() {
    let mut lab = Lab::with_queues(2);
    lab.guest(1).sends_by = 1;
    lab.guest(1).offer(SIZE);
    lab.run();
    assert_eq!(lab.answered_by(1000, 0), 0);
    lab.guest(1).sends_by = 1;
    lab.send(1, &frame(1, 2, (1001, 53), b"rests"));
    assert!(lab.received(2).is_empty());
}

#[test]
fn a_guest_is_to_kick_while_its_device_rests() {
    let mut lab = Lab::with_queues(2);
    assert_eq!(lab.answered_by(1000, 1), 1);
    let kicks = [0, 1, 2, 3].map(|ring| lab.guest(1).is_to_kick(ring));
    // Of buffers only where packets wait for some.
    assert_eq!(kicks, [false, true, false, true]);
}

#[test]
fn a_guest_with_event_indices_is_to_kick_by_what_it_sends_next() {
    let mut lab = Lab::with_queues(2);
    let features = feature::OFFERED | feature::QUEUES | feature::EVENT_INDEX;
    lab.guest(1).take_features(features);
    for sent in 1..5 {
        assert_eq!(lab.answered_by(1000, 1), 1);
        let by = [1, 3].map(|ring| lab.guest(1).is_to_kick_by(ring));
        assert_eq!(by, [0, sent]);
    }
    // Of buffers where packets wait for some, by the first one that it offers behind those it has offered.
    let answers = (0..SIZE + 1).map(|number| frame(2, 1, (53, 1000), &number.to_be_bytes()));
    let answers: Vec<_> = answers.collect();
    assert_eq!(lab.guest(1).is_to_kick_by(2), 0);
    lab.send_all(2, answers.clone());
    // Four came before, and their buffers were offered again.
    assert_eq!(lab.guest(1).is_to_kick_by(2), SIZE + 4);
    let mut came = lab.guest(1).received_by(1);
    lab.run();
    came.extend(lab.guest(1).received_by(1));
    assert_eq!(came, answers);
}

/// A ring: descriptors (where, how long, flags, which is next), heads, index.
type AnyRing = (Vec<(u64, u32, u16, u16)>, Vec<u16>, u16);

fn any_ring() -> impl Strategy<Value = AnyRing> {
    let at = prop_oneof![4 => SPARE..SPARE + 0x1000, 1 => any::<u64>()];
    let size = prop_oneof![4 => 0..200_u32, 1 => any::<u32>()];
    let descriptor = (at, size, 0..8_u16, 0..20_u16);
    let heads = prop::collection::vec(0..20_u16, 16);
    let index = prop_oneof![4 => 0..16_u16, 1 => any::<u16>()];
    (prop::collection::vec(descriptor, 16), heads, index)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever stands in a guest's rings, of which some are on, by flags or event indices: its device comes to rest, and the others'
    /// packets pass.
    #[test]
    fn any_rings_are_survived(
        rings in prop::collection::vec(any_ring(), 6),
        data in prop::collection::vec(any::<u8>(), 0x200),
        on in 0..8_u32,
        has_event_index: bool,
    ) {
        let mut lab = Lab::with_queues(3);
        let indices = if has_event_index { feature::EVENT_INDEX } else { 0 };
        lab.guest(1).take_features(feature::OFFERED | feature::QUEUES | indices);
        lab.guest(1).write(&data, SPARE);
        for (ring, (descriptors, heads, index)) in rings.iter().enumerate() {
            for (nth, (at, size, flags, next)) in (0..).zip(descriptors) {
                lab.guest(1).describe(ring, nth, (*at, *size), *flags, *next);
            }
            lab.guest(1).offer_any(ring, heads, *index);
        }
        for pair in 0..3 {
            lab.switch(pair, on & 1 << pair != 0);
        }
        for port in 1000..1010 {
            lab.guest(2).offer_frame(&[0; HEADER_LEN], &frame(2, 1, (port, 7), b"any"));
        }
        let now = lab.now;
        let mut turns = 0;
        while { let guest = lab.guest(1); guest.core.turn(&mut guest.backend, now) } {
            turns += 1;
            assert!(turns < 20);
        }
        lab.run();
        lab.received(2);
        // The second one's device goes on.
        prop_assert!(lab.guest(2).has_all_back());
    }
}
