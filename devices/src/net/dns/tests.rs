use std::time::Duration;

use super::sample::{A, ASKED, answer, at, query};
use super::*;
use crate::net::frame::Mac;
use crate::net::sample::{Station, ipv4, station, udp};

const GUEST: Guest = Guest {
    vm: [1; 16],
    boot: 1,
};
/// The guest's port.
const PORT_OF_GUEST: u16 = 40_000;

/// The first station's, who believes the second.
fn names() -> Names {
    let mut names = Names::new(GUEST, Numbers::default(), &[]);
    let servers = vec![station(2).v4.into()];
    let resolvers = Resolvers {
        guest: GUEST,
        servers,
    };
    names.believe(&resolvers, Instant::now());
    names
}

fn datagram(from: Station, to: Station, ports: (u16, u16), message: &[u8]) -> Packet {
    Packet::own(ipv4(from, to, 17, &udp(ports.0, ports.1, message))).unwrap()
}

fn asks(names: &mut Names, id: u16, now: Instant) {
    let message = query(id, "db.test", A);
    let packet = datagram(station(1), station(2), (PORT_OF_GUEST, PORT), &message);
    names.sent(&packet, now);
}

fn says(id: u16, address: &str) -> Packet {
    let message = answer(id, "db.test", A, &[at(&ASKED, 300, address)]);
    datagram(station(2), station(1), (PORT, PORT_OF_GUEST), &message)
}

/// What is told, and whether the guest has the packet at once.
fn receives(names: &mut Names, packet: Packet, now: Instant) -> (Vec<Resolved>, bool) {
    let passes = names
        .received(packet, true, &NoGuests, now)
        .unwrap()
        .is_some();
    (names.take_found(), passes)
}

/// A segment on which nobody is.
struct NoGuests;

impl Directory for NoGuests {
    fn whose(&self, _: IpAddr) -> Option<Mac> {
        None
    }

    fn is_guests(&self, _: IpAddr) -> bool {
        false
    }

    fn still_lets_pass(&self, _: &Packet) -> bool {
        true
    }
}

#[test]
fn what_matches_is_told_and_waits() {
    let (mut names, now) = (names(), Instant::now());
    asks(&mut names, 7, now);
    let packet = says(7, "10.77.0.3");
    let (told, passes) = receives(&mut names, packet.clone(), now);
    let [told] = <[_; 1]>::try_from(told).unwrap();
    assert!(!passes);
    assert_eq!((told.guest, told.name.as_str()), (GUEST, "db.test"));
    let of_server: IpAddr = station(2).v4.into();
    let of_db: IpAddr = station(3).v4.into();
    assert_eq!((told.resolver, told.addresses), (of_server, vec![of_db]));
    assert_eq!(told.ttl_s, 300);
    let noted = Noted {
        number: told.number,
        guest: GUEST,
        anew: true,
    };
    // What is another's does not count.
    let other = Guest { boot: 2, ..GUEST };
    let nothing = (None, Changed::default());
    assert_eq!(
        names.note(&Noted {
            guest: other,
            ..noted
        }),
        nothing
    );
    // Of what is held no more it is not known what changes.
    let any = (None, Changed::Any);
    let number = told.number + 1;
    assert_eq!(names.note(&Noted { number, ..noted }), any);
    let known = (Some(packet), Changed::Of(vec![of_db]));
    assert_eq!(names.note(&noted), known);
    let anew = false;
    assert_eq!(names.note(&Noted { anew, ..noted }), nothing);
}

/// Known attack: forged answers, and those that nobody asked for.
#[test]
fn what_matches_no_query_tells_nothing_and_leaves_the_query() {
    let (mut names, now) = (names(), Instant::now());
    asks(&mut names, 7, now);
    let good = answer(7, "db.test", A, &[at(&ASKED, 300, "10.77.0.66")]);
    let (server, guest) = (station(2), station(1));
    let forged = [
        // Another id; another server, who is believed by nobody; from another port, to another port; another question.
        says(8, "10.77.0.66"),
        datagram(station(3), guest, (PORT, PORT_OF_GUEST), &good),
        datagram(server, guest, (PORT + 1, PORT_OF_GUEST), &good),
        datagram(server, guest, (PORT, PORT_OF_GUEST + 1), &good),
        datagram(
            server,
            guest,
            (PORT, PORT_OF_GUEST),
            &answer(7, "bank.test", A, &[at(&ASKED, 300, "10.77.0.66")]),
        ),
        // The same name in other letters than it was asked about.
        datagram(
            server,
            guest,
            (PORT, PORT_OF_GUEST),
            &answer(7, "DB.test", A, &[at(&ASKED, 300, "10.77.0.66")]),
        ),
        // No message at all.
        datagram(server, guest, (PORT, PORT_OF_GUEST), b""),
    ];
    for packet in forged {
        let (told, passes) = receives(&mut names, packet, now);
        assert!(told.is_empty() && passes, "{told:?}");
    }
    let (told, _) = receives(&mut names, says(7, "10.77.0.3"), now);
    assert_eq!(told.len(), 1);
    // Known attack: another answer to what was answered.
    let (told, passes) = receives(&mut names, says(7, "10.77.0.66"), now);
    assert!(told.is_empty() && passes);
}

/// Known attack: an answer to a query of long ago, whose id is guessed meanwhile.
#[test]
fn an_answer_after_its_time_tells_nothing() {
    let (mut names, now) = (names(), Instant::now());
    asks(&mut names, 7, now);
    let late = now + Duration::from_secs(10);
    let (told, passes) = receives(&mut names, says(7, "10.77.0.3"), late);
    assert!(told.is_empty() && passes);
}

#[test]
fn no_server_is_believed_before_it_is_told_or_after_somebody_else_decides() {
    let now = Instant::now();
    let mut nobody = Names::new(GUEST, Numbers::default(), &[]);
    asks(&mut nobody, 7, now);
    assert!(
        receives(&mut nobody, says(7, "10.77.0.3"), now)
            .0
            .is_empty()
    );
    let mut names = names();
    asks(&mut names, 7, now);
    names.begin_anew();
    assert!(receives(&mut names, says(7, "10.77.0.3"), now).0.is_empty());
}

/// An answer that says nothing of addresses is not worth a wait.
#[test]
fn an_answer_without_addresses_passes_at_once_and_is_the_only_one() {
    let (mut names, now) = (names(), Instant::now());
    asks(&mut names, 7, now);
    let nothing = answer(7, "db.test", A, &[]);
    let packet = datagram(station(2), station(1), (PORT, PORT_OF_GUEST), &nothing);
    let (told, passes) = receives(&mut names, packet, now);
    assert!(told.is_empty() && passes);
    assert!(
        receives(&mut names, says(7, "10.77.0.66"), now)
            .0
            .is_empty()
    );
}

#[test]
fn an_answer_that_is_not_noted_in_time_is_let_go_of() {
    let (mut names, now) = (names(), Instant::now());
    asks(&mut names, 7, now);
    let (told, _) = receives(&mut names, says(7, "10.77.0.3"), now);
    let until = names.next_deadline().unwrap();
    assert_eq!(names.expire(until - Duration::from_millis(1)), 0);
    assert_eq!(names.expire(until), 1);
    assert_eq!(names.next_deadline(), None);
    let late = Noted {
        number: told[0].number,
        guest: GUEST,
        anew: true,
    };
    assert_eq!(names.note(&late), (None, Changed::Any));
}

#[test]
fn what_nobody_can_be_told_the_guest_does_not_get() {
    let (mut names, now) = (names(), Instant::now());
    asks(&mut names, 7, now);
    let received = names.received(says(7, "10.77.0.3"), false, &NoGuests, now);
    assert_eq!(received, Err(NamesError::Unavailable));
    assert!(names.take_found().is_empty());
    // Of other packets it does not matter.
    let other = datagram(station(3), station(1), (PORT, 1), b"data");
    assert!(
        names
            .received(other, false, &NoGuests, now)
            .unwrap()
            .is_some()
    );
}

/// Known attack: a guest asks without end, so that no other process of it has an answer that counts.
#[test]
fn queries_without_end_take_the_places_of_the_oldest() {
    let (mut names, now) = (names(), Instant::now());
    for id in 0..10_000 {
        asks(&mut names, id, now);
        // Once more is once.
        asks(&mut names, id, now);
    }
    assert_eq!(names.outstanding.len(), 256);
    assert!(
        receives(&mut names, says(9743, "10.77.0.3"), now)
            .0
            .is_empty()
    );
    assert_eq!(
        receives(&mut names, says(9744, "10.77.0.3"), now).0.len(),
        1
    );
    assert_eq!(
        receives(&mut names, says(9999, "10.77.0.3"), now).0.len(),
        1
    );
}

/// Known attack: answers without end wait for whoever decides.
#[test]
fn answers_without_end_do_not_wait() {
    let (mut names, now) = (names(), Instant::now());
    for id in 0..64 {
        asks(&mut names, id, now);
        assert!(!receives(&mut names, says(id, "10.77.0.3"), now).1);
    }
    asks(&mut names, 64, now);
    let more = names.received(says(64, "10.77.0.3"), true, &NoGuests, now);
    assert_eq!(more, Err(NamesError::TooManyHeld));
    assert!(names.take_found().is_empty());
    assert_eq!(names.drop_held(), 64);
    asks(&mut names, 65, now);
    assert!(!receives(&mut names, says(65, "10.77.0.3"), now).1);
}

/// Whoever decides next has heard of nothing, and the guest does not ask again.
#[test]
fn what_was_noted_is_told_again_to_whoever_decides_next() {
    let (mut names, now) = (names(), Instant::now());
    let note = |names: &mut Names, number| {
        let guest = GUEST;
        let anew = true;
        names.note(&Noted {
            number,
            guest,
            anew,
        })
    };
    for id in [7, 8, 9] {
        asks(&mut names, id, now);
        let address = if id == 9 { "10.77.0.9" } else { "10.77.0.3" };
        let (told, _) = receives(&mut names, says(id, address), now);
        // Of the last one nobody says that he knows it; the second is the first again.
        if id < 9 {
            assert!(note(&mut names, told[0].number).0.is_some());
        }
    }
    let later = now + Duration::from_secs(100);
    names.begin_anew();
    assert_eq!(names.drop_held(), 1);
    assert!(names.take_found().is_empty());
    let believe = |names: &mut Names, server: Station, now| {
        let servers = vec![server.v4.into()];
        let guest = GUEST;
        names.believe(&Resolvers { guest, servers }, now);
        names.take_found()
    };
    assert!(believe(&mut names, station(3), later).is_empty());
    let again = believe(&mut names, station(2), later);
    let [again] = <[_; 1]>::try_from(again).unwrap();
    assert_eq!(
        (again.name.as_str(), again.ttl_s, again.since_s),
        ("db.test", 300, 100)
    );
    // No packet waits for it, and what was decided meanwhile is asked about again.
    let address = vec![station(3).v4.into()];
    let changed = Changed::Of(address);
    assert_eq!(note(&mut names, again.number), (None, changed));
    let long_after = now + Duration::from_secs(48 * 3600);
    assert!(believe(&mut names, station(2), long_after).is_empty());
}

#[test]
fn what_is_told_again_is_bounded() {
    let (mut names, now) = (names(), Instant::now());
    for id in 0..1000_u16 {
        asks(&mut names, id, now);
        let [high, low] = id.to_be_bytes();
        let (told, _) = receives(&mut names, says(id, &format!("10.77.{high}.{low}")), now);
        let noted = Noted {
            number: told[0].number,
            guest: GUEST,
            anew: false,
        };
        assert!(names.note(&noted).0.is_some());
    }
    let resolvers = Resolvers {
        guest: GUEST,
        servers: vec![station(2).v4.into()],
    };
    names.believe(&resolvers, now);
    let again = names.take_found();
    assert_eq!(again.len(), 256);
    assert!(again[0].addresses == ["10.77.2.232".parse::<IpAddr>().unwrap()]);
}
