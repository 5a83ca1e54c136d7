use std::time::{Duration, Instant};

use bartizan_local::flow::{Direction, Epoch, Guest, Verdict, Width};
use bartizan_local::observation::FlowEnd;
use proptest::prelude::*;

use super::super::{FlowError, Flows, Judged, Limits, Numbers, tcp};
use super::*;
use crate::net::header::Header;
use crate::net::packet::Packet;
use crate::net::sample::{Station, ipv4, station, tcp_at};
use crate::net::uplink::GATE;

const SYN: u8 = Flags::SYN;
const ACK: u8 = Flags::ACK;
const RST: u8 = Flags::RST;
const FIN: u8 = Flags::FIN | Flags::ACK;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Where the other end's data begins: in the middle, and around where numbers wrap.
const BASES: [u32; 6] = [70_000, 0, 1, u32::MAX, u32::MAX - 2, 1 << 31];
const WAYS: [Direction; 2] = [Direction::Egress, Direction::Ingress];

/// A connection of a guest's with another station.
struct Connection {
    flows: Flows,
    peer: Station,
    now: Instant,
}

impl Connection {
    fn new(peer: Station) -> Self {
        let (guest, now) = (
            Guest {
                vm: [1; 16],
                boot: 1,
            },
            Instant::now(),
        );
        let mut flows = Flows::new(guest, Limits::default(), Numbers::default(), now);
        flows.set_available(true, now);
        Self { flows, peer, now }
    }

    /// One that is open, by whom it was begun, and from which number on the other end sends.
    fn open(peer: Station, begun: Direction, base: u32) -> Self {
        let mut one = Self::new(peer);
        one.begin(begun, base);
        one
    }

    fn begin(&mut self, begun: Direction, base: u32) {
        let first = base.wrapping_sub(1);
        if begun == Direction::Egress {
            self.first(begun, SYN, (7, 0));
            self.there(SYN | ACK, first, b"");
            self.guest(ACK, base);
        } else {
            self.first(begun, SYN, (first, 0));
            self.guest(SYN | ACK, base);
            self.there(ACK, base, b"");
        }
    }

    fn outside(begun: Direction, base: u32) -> Self {
        let outside = Station {
            mac: GATE.0,
            ..station(9)
        };
        Self::open(outside, begun, base)
    }

    fn judge(
        &mut self,
        way: Direction,
        flags: u8,
        numbers: (u32, u32),
        data: &[u8],
    ) -> Result<Judged, FlowError> {
        let bytes = match way {
            Direction::Egress => ipv4(
                station(1),
                self.peer,
                6,
                &tcp_at((80, 1000), flags, numbers, data),
            ),
            Direction::Ingress => ipv4(
                self.peer,
                station(1),
                6,
                &tcp_at((1000, 80), flags, numbers, data),
            ),
        };
        let packet = Packet::new(&Header::default(), bytes, 0, 1500).unwrap();
        self.flows.judge(packet, way, self.now)
    }

    /// One that is asked about, and allowed.
    fn first(&mut self, way: Direction, flags: u8, numbers: (u32, u32)) {
        let judged = self.judge(way, flags, numbers, b"");
        for question in self.flows.take_questions() {
            let verdict = Verdict {
                number: question.number,
                guest: question.guest,
                epoch: Epoch::default(),
                allowed: true,
                allowed_unavailable: false,
                reason: "test/rule".into(),
                width: Width::default(),
                begin_within_s: None,
            };
            assert_eq!(self.flows.settle(&verdict, self.now).len(), 1);
        }
        assert!(judged.is_ok(), "{judged:?}");
    }

    /// A segment of the guest's passes.
    #[track_caller]
    fn guest(&mut self, flags: u8, acknowledges: u32) {
        let judged = self.judge(Direction::Egress, flags, (8, acknowledges), b"");
        assert!(matches!(judged, Ok(Judged::Pass(_))), "{judged:?}");
    }

    /// A segment of the other end's reaches the guest.
    #[track_caller]
    fn there(&mut self, flags: u8, number: u32, data: &[u8]) {
        let judged = self.judge(Direction::Ingress, flags, (number, 8), data);
        assert!(matches!(judged, Ok(Judged::Pass(_))), "{judged:?}");
    }

    /// Both ends go on.
    #[track_caller]
    fn goes_on(&mut self, next: u32) {
        self.there(ACK, next, b"");
        self.guest(ACK, next);
    }

    #[track_caller]
    fn is_over(&mut self) {
        for way in WAYS {
            let judged = self.judge(way, ACK, (8, 8), b"");
            assert_eq!(judged, Err(FlowError::Tcp(TcpError::Handshake)));
        }
    }

    /// Whether it is still known after so long.
    fn lives(&mut self, time: Duration) -> bool {
        self.now += time;
        self.flows.expire(self.now);
        !self.flows.is_empty()
    }

    /// It is known for as long as one that is open.
    #[track_caller]
    fn idles_as_if_open(&mut self) {
        assert!(self.lives(3 * HOUR - SECOND));
        assert!(!self.lives(SECOND));
    }

    /// The other end's FIN was taken, and the guest has sent none, or the other way round.
    #[track_caller]
    fn idles_as_if_closing(&mut self) {
        assert!(self.lives(119 * SECOND));
        assert!(!self.lives(SECOND));
    }

    /// Whoever asks for a connection now begins another one.
    #[track_caller]
    fn is_followed_by_another(&mut self, base: u32) {
        let before = self.flows.remembered().len();
        self.begin(Direction::Ingress, base.wrapping_add(1 << 31));
        self.goes_on(base.wrapping_add(1 << 31));
        let over = self.flows.remembered();
        assert_eq!(over.len(), before + 1);
        assert_eq!(over.last().unwrap().end, Some(FlowEnd::Closed));
    }
}

/// Of all that is not that number.
fn wrong(next: u32) -> impl Iterator<Item = u32> {
    let far = [1, 2, 1448, 65_535, 1 << 30, 1 << 31, (1 << 31) + 1];
    let ahead = far.map(|by: u32| next.wrapping_add(by));
    let behind = far.map(|by: u32| next.wrapping_sub(by));
    ahead.into_iter().chain(behind)
}

/// Known attack: whoever is outside ends a guest's connections with others, of which he knows no number.
#[test]
fn a_blind_reset_reaches_the_guest_and_changes_nothing() {
    for (begun, base) in WAYS.iter().flat_map(|way| BASES.map(|base| (*way, base))) {
        let mut one = Connection::outside(begun, base);
        for (number, flags) in wrong(base).flat_map(|number| [(number, RST), (number, RST | ACK)]) {
            one.there(flags, number, b"");
            one.goes_on(base);
        }
        one.there(RST, base.wrapping_add(1), b"");
        one.idles_as_if_open();
    }
}

/// Known attack: by blind ones a connection that has idled is known for ever.
#[test]
fn a_blind_reset_keeps_no_connection() {
    let mut one = Connection::outside(Direction::Egress, 5);
    assert!(one.lives(2 * HOUR));
    one.there(RST, 6, b"");
    assert!(one.lives(HOUR - SECOND));
    assert!(!one.lives(SECOND));
}

#[test]
fn a_reset_of_what_the_guest_wants_next_ends_the_connection() {
    for (begun, base) in WAYS.iter().flat_map(|way| BASES.map(|base| (*way, base))) {
        let mut one = Connection::outside(begun, base);
        one.there(ACK, base, b"data");
        let next = base.wrapping_add(4);
        one.guest(ACK, next);
        // Of what it wanted before.
        one.there(RST, base, b"");
        // Acknowledgements that come late take nothing back.
        one.guest(ACK, base);
        one.goes_on(next);
        one.there(RST, next, b"");
        one.is_over();
        assert!(!one.lives(5 * SECOND));
    }
}

#[test]
fn a_reset_by_whose_address_is_his_own_counts_as_it_is() {
    for begun in WAYS {
        let mut one = Connection::open(station(2), begun, 100);
        one.there(RST, 7, b"");
        one.is_over();
        let mut one = Connection::outside(begun, 100);
        one.guest(RST, 7);
        one.is_over();
    }
    // And a FIN as soon as it comes.
    let mut one = Connection::open(station(2), Direction::Egress, 100);
    one.there(FIN, 7, b"");
    one.idles_as_if_closing();
}

#[test]
fn a_reset_before_the_handshake_is_done_counts_as_it_is() {
    let outside = Connection::outside(Direction::Egress, 0).peer;
    let mut one = Connection::new(outside);
    one.first(Direction::Egress, SYN, (7, 0));
    one.there(RST | ACK, 0, b"");
    one.is_over();
}

/// Known attack: whoever is outside has a connection forgotten that idles, by a FIN that the guest does not take.
#[test]
fn a_blind_fin_does_not_shorten_the_life() {
    for (begun, base) in WAYS.iter().flat_map(|way| BASES.map(|base| (*way, base))) {
        for number in wrong(base) {
            let mut one = Connection::outside(begun, base);
            one.there(FIN, number, b"");
            // To what it has already, or cannot take, a guest says what it wants.
            one.goes_on(base);
            one.idles_as_if_open();
        }
    }
}

#[test]
fn a_fin_that_the_guest_acknowledges_closes() {
    for (begun, base) in WAYS.iter().flat_map(|way| BASES.map(|base| (*way, base))) {
        for data in [b"".as_slice(), b"last"] {
            let size = u32::try_from(data.len()).unwrap();
            let end = base.wrapping_add(size).wrapping_add(1);
            // Not before that, though it comes twice.
            let mut one = Connection::outside(begun, base);
            one.there(FIN, base, data);
            one.there(FIN, base, data);
            one.idles_as_if_open();
            let mut one = Connection::outside(begun, base);
            one.there(FIN, base, data);
            one.guest(ACK, end);
            one.there(FIN, base, data);
            one.guest(ACK, end);
            one.idles_as_if_closing();
            // The other end's first, and both at once.
            let mut one = Connection::outside(begun, base);
            one.there(FIN, base, data);
            one.guest(ACK, end);
            one.guest(FIN, end);
            one.there(ACK, end, b"");
            one.is_followed_by_another(base);
            let mut one = Connection::outside(begun, base);
            one.there(FIN, base, data);
            one.guest(FIN, end);
            one.is_followed_by_another(base);
            // The guest's first.
            let mut one = Connection::outside(begun, base);
            one.guest(FIN, base);
            one.there(ACK, base, b"");
            one.there(FIN, base, data);
            one.guest(ACK, end);
            one.is_followed_by_another(base);
            // That of a connection that is closing shortens it no further.
            let mut one = Connection::outside(begun, base);
            one.guest(FIN, base);
            one.there(FIN, end, data);
            one.guest(ACK, base);
            one.idles_as_if_closing();
        }
    }
}

#[test]
fn a_closed_connection_is_known_for_half_a_minute() {
    let mut one = Connection::outside(Direction::Ingress, 5);
    one.guest(FIN, 5);
    one.there(FIN, 5, b"");
    one.guest(ACK, 6);
    // Whoever goes on in it keeps it no longer.
    assert!(one.lives(29 * SECOND));
    one.there(ACK, 6, b"");
    one.guest(ACK, 6);
    assert!(!one.lives(SECOND));
}

/// Known attack: wrong ones come between the right one and the guest's word, or before it.
#[test]
fn blind_fins_do_not_hide_the_right_one() {
    let mut one = Connection::outside(Direction::Egress, 50);
    for number in wrong(50) {
        one.there(FIN, number, b"");
    }
    one.there(FIN, 50, b"");
    for number in wrong(50) {
        one.there(FIN, number, b"");
    }
    one.guest(ACK, 51);
    one.idles_as_if_closing();
    // One that the guest has passed is none, and the next counts.
    let mut one = Connection::outside(Direction::Egress, 50);
    one.there(FIN, 52, b"");
    one.there(ACK, 50, b"data");
    one.guest(ACK, 54);
    one.there(FIN, 60, b"");
    one.there(FIN, 54, b"and");
    one.guest(ACK, 58);
    one.idles_as_if_closing();
}

/// Which a guest does not acknowledge at once, nor any more once it has taken the RST.
#[test]
fn a_reset_right_behind_data_ends_the_connection() {
    for base in BASES {
        let mut one = Connection::outside(Direction::Egress, base);
        one.there(ACK, base, b"answer");
        one.there(ACK, base.wrapping_add(6), b"more");
        one.there(RST, base.wrapping_add(11), b"");
        one.goes_on(base);
        one.there(RST, base.wrapping_add(10), b"");
        one.is_over();
        // Behind a gap, or behind a FIN that was no end.
        let mut one = Connection::outside(Direction::Egress, base);
        one.there(ACK, base.wrapping_add(6), b"more");
        one.there(RST, base.wrapping_add(10), b"");
        one.idles_as_if_open();
        let mut one = Connection::outside(Direction::Egress, base);
        one.there(ACK | FIN, base, b"last");
        one.there(RST, base.wrapping_add(5), b"");
        one.is_over();
    }
}

/// Known attack: a FIN whose end is by chance what the guest acknowledges later.
#[test]
fn what_goes_on_behind_a_fin_had_none() {
    let mut one = Connection::outside(Direction::Egress, 50);
    one.there(FIN, 53, b"");
    one.there(ACK, 50, b"data");
    one.guest(ACK, 54);
    one.there(ACK, 54, b"more");
    one.guest(ACK, 58);
    one.idles_as_if_open();
}

/// It has forgotten the connection, and the other end may have, too.
#[test]
fn a_guest_that_begins_anew_does_so_by_other_numbers() {
    let mut one = Connection::outside(Direction::Egress, 1 << 31);
    one.guest(SYN, 0);
    one.there(RST, 1 << 31, b"");
    one.there(SYN | ACK, 4, b"");
    one.guest(ACK, 5);
    one.there(RST, 1 << 31, b"");
    one.goes_on(5);
    one.there(RST, 5, b"");
    one.is_over();
}

#[test]
fn a_connection_that_was_taken_up_is_known_by_what_the_guest_acknowledged() {
    for (flags, number, is_over) in [
        (RST, 41, false),
        (RST, 39, false),
        (RST, 40, true),
        (ACK, 41, false),
    ] {
        let mut one = Connection::new(Connection::outside(Direction::Egress, 0).peer);
        let until = one.now + HOUR;
        one.flows.pick_up_until(Some(until));
        one.first(Direction::Egress, ACK, (8, 40));
        one.there(ACK, 40, b"");
        one.there(flags, number, b"");
        if is_over {
            one.is_over();
        } else {
            one.goes_on(40);
        }
    }
    // Before the other end has shown that it is there, it counts as it is.
    let mut one = Connection::new(Connection::outside(Direction::Egress, 0).peer);
    let until = one.now + HOUR;
    one.flows.pick_up_until(Some(until));
    one.first(Direction::Egress, ACK, (8, 40));
    one.there(RST, 41, b"");
    one.is_over();
}

#[derive(Clone, Debug)]
enum Sent {
    /// What the guest acknowledges.
    Guest(u32),
    /// Any segment from outside.
    There(Segment),
}

/// Near the base, mostly.
fn number(base: u32) -> impl Strategy<Value = u32> {
    let near = (0..24_u32).prop_map(move |by| base.wrapping_sub(8).wrapping_add(by));
    prop_oneof![9 => near, 1 => any::<u32>()]
}

fn sent(base: u32) -> impl Strategy<Value = Sent> {
    let flags = prop_oneof![Just(RST), Just(FIN), Just(ACK), any::<u8>()];
    let there = (flags, number(base), 0..4_u32).prop_map(|(flags, sequence, size)| {
        Sent::There(Segment {
            flags: Flags(flags),
            sequence,
            acknowledgement: 0,
            size,
        })
    });
    prop_oneof![number(base).prop_map(Sent::Guest), there]
}

fn history() -> impl Strategy<Value = (u32, bool, Vec<Sent>)> {
    let base = prop_oneof![proptest::sample::select(BASES.to_vec()), any::<u32>()];
    base.prop_flat_map(|base| {
        let all = prop::collection::vec(sent(base), 0..60);
        (Just(base), any::<bool>(), all)
    })
}

/// A server sends more than may wait for a verdict, and resets: what the guest was not given ends nothing, so that its next segment reaches
/// the server, which says once more that there is no connection.
#[test]
fn what_did_not_pass_was_not_given() {
    for base in BASES {
        let mut one = Connection::outside(Direction::Egress, base);
        one.flows.enter(Epoch {
            policy: 2,
            ..Epoch::default()
        });
        let mut next = base;
        let (mut held, mut refused) = (0, 0);
        while refused < 3 {
            match one.judge(Direction::Ingress, ACK, (next, 8), b"data") {
                Ok(Judged::Held) => held += 1,
                Err(FlowError::TooManyHeld) => refused += 1,
                other => panic!("{other:?}"),
            }
            next = next.wrapping_add(4);
        }
        let reset = one.judge(Direction::Ingress, RST, (next, 8), b"");
        assert_eq!(reset, Err(FlowError::TooManyHeld));
        let question = one.flows.take_questions().remove(0);
        let verdict = Verdict {
            number: question.number,
            guest: question.guest,
            epoch: Epoch {
                policy: 2,
                ..Epoch::default()
            },
            allowed: true,
            allowed_unavailable: false,
            reason: "test/rule".into(),
            width: Width::default(),
            begin_within_s: None,
        };
        let given = one.flows.settle(&verdict, one.now);
        assert_eq!(given.len(), held);
        let end = base.wrapping_add(4 * u32::try_from(held).unwrap());
        one.guest(ACK, end);
        one.there(RST, end, b"");
        one.is_over();
    }
}

/// What the guest has acknowledged, as the standard says it: of all numbers the last.
fn newer(number: u32, than: u32) -> bool {
    number != than && number.wrapping_sub(than).leading_zeros() > 0
}

proptest! {
    /// Known attack: whatever is sent from outside, by whomever: nothing ends that the guest did not acknowledge.
    #[test]
    fn nothing_from_outside_ends_what_the_guest_did_not_acknowledge((base, by_guest, all) in history()) {
        let mut outside = Outside { acknowledged: Some(base), ..Outside::default() };
        let (mut state, mut wanted, mut next_wanted, mut fins) = (Tcp::Open, base, base, Vec::new());
        for sent in all {
            let (mut may_be, mut given) = (vec![state], None);
            let (way, segment) = match sent {
                Sent::Guest(number) => {
                    let flags = Flags(ACK);
                    if newer(number, wanted) {
                        if fins.contains(&number) {
                            may_be.push(state.close(!by_guest));
                        }
                        if state == Tcp::Closing(!by_guest) {
                            may_be.push(Tcp::Open);
                        }
                        wanted = number;
                        if newer(number, next_wanted) {
                            next_wanted = number;
                        }
                    }
                    (Direction::Egress, Segment { flags, sequence: 0, acknowledgement: number, size: 0 })
                }
                Sent::There(segment) => {
                    if tcp::check(segment.flags).is_err() {
                        continue;
                    }
                    let behind = segment.sequence.wrapping_add(segment.length());
                    if segment.flags.has(RST) {
                        if [wanted, next_wanted].contains(&segment.sequence) {
                            may_be = vec![Tcp::Reset];
                        }
                    } else {
                        if segment.flags.has(FIN) {
                            fins.extend(newer(behind, wanted).then_some(behind));
                        }
                        if segment.sequence == next_wanted && !segment.flags.has(SYN) {
                            given = Some(behind);
                        }
                    }
                    (Direction::Ingress, segment)
                }
            };
            let by_beginner = (way == Direction::Egress) == by_guest;
            if let Ok(Some(Step::On(next))) = outside.step(state, &segment, way, by_beginner) {
                state = next;
                next_wanted = given.unwrap_or(next_wanted);
            }
            prop_assert!(may_be.contains(&state), "{state:?} {may_be:?}");
            prop_assert_eq!(outside.acknowledged, Some(wanted));
            if state == Tcp::Reset {
                break;
            }
        }
    }

    /// However its numbers wrap: a FIN behind data in pieces closes once the guest has all of it, and never before.
    #[test]
    fn a_fin_behind_data_closes(base: u32, pieces in prop::collection::vec(1..70_000_u32, 0..9)) {
        let mut outside = Outside { acknowledged: Some(base), ..Outside::default() };
        let fin = Segment {
            flags: Flags(FIN),
            sequence: pieces.iter().fold(base, |number, size| number.wrapping_add(*size)),
            acknowledgement: 0,
            size: 0,
        };
        let acknowledge = |acknowledgement| Segment {
            flags: Flags(ACK),
            sequence: 0,
            acknowledgement,
            size: 0,
        };
        let step = outside.step(Tcp::Open, &fin, Direction::Ingress, false);
        prop_assert_eq!(step, Ok(Some(Step::On(Tcp::Open))));
        let mut number = base;
        for size in pieces {
            number = number.wrapping_add(size);
            let step = outside.step(Tcp::Open, &acknowledge(number), Direction::Egress, true);
            prop_assert_eq!(step, Ok(Some(Step::On(Tcp::Open))));
        }
        let step = outside.step(Tcp::Open, &acknowledge(fin.sequence.wrapping_add(1)), Direction::Egress, true);
        prop_assert_eq!(step, Ok(Some(Step::On(Tcp::Closing(false)))));
    }
}
