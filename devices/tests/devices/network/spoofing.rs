//! Guests that say what they are not.

use bartizan_local::admission::AdmissionReply;
use bartizan_local::admission::AdmissionRequest;

use super::decider::Decider;
use super::guest::{NetGuest, boot};
use super::sample::{Station, arp_request, ethernet, interface, ipv4, ipv6, station, udp};
use crate::daemon::{Daemon, admission, ask, ticket};

#[test]
fn what_is_not_the_guests_own_goes_nowhere() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let mut a = NetGuest::attached(41, &daemon);
    let mut b = NetGuest::attached(42, &daemon);
    let (own, to) = (a.station(), b.station());
    let other = station(43);
    let of_mac = Station {
        mac: other.mac,
        ..own
    };
    let of_ip = Station {
        v4: other.v4,
        v6: other.v6,
        ..own
    };
    let data = udp(1000, 53, b"forged");
    a.send(&ipv4(of_mac, to, 17, &data));
    a.send(&ipv4(of_ip, to, 17, &data));
    a.send(&ipv6(of_ip, to, 17, &data));
    // Known attack: as a DHCP server, and as a router.
    a.send(&ipv4(own, to, 17, &udp(67, 68, b"offer")));
    a.send(&ipv6(
        own,
        to,
        58,
        &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0],
    ));
    // An answer that nobody asked for, in another's name.
    let mut reply = arp_request(of_ip, to.v4);
    reply[21] = 2;
    a.send(&reply);
    a.send(&arp_request(of_ip, to.v4));
    let everybody = Station {
        mac: [0xff; 6],
        ..to
    };
    a.send(&ipv4(own, everybody, 17, &data));
    // The address of one station, the MAC of another.
    let torn = Station {
        mac: to.mac,
        ..other
    };
    a.send(&ipv4(own, torn, 17, &data));
    let sent = a.send_udp(to, (1000, 7), b"honest");
    assert_eq!(decider.decide(boot(41), true).port, Some(7));
    decider.decide(boot(42), true);
    assert_eq!(b.receive(), sent);
    a.expect_silence(to);
}

#[test]
fn neighbours_are_told_by_the_host() {
    let daemon = Daemon::start();
    let mut a = NetGuest::attached(41, &daemon);
    let b = NetGuest::attached(42, &daemon);
    let (own, to) = (a.station(), b.station());
    let group = Station {
        mac: [0x33, 0x33, 0xff, 0, 0, 42],
        v6: "ff02::1:ff00:2a".parse().unwrap(),
        ..to
    };
    let question = [
        [135, 0, 0, 0, 0, 0, 0, 0].as_slice(),
        &to.v6.octets(),
        &[1, 1],
        &own.mac,
    ]
    .concat();
    a.send(&ipv6(own, group, 58, &question));
    let answer = a.receive();
    assert_eq!(answer[..14], ethernet(to, own, 0x86dd, b""));
    assert_eq!((answer[54], answer[58]), (136, 0x60));
    assert_eq!(answer[62..78], to.v6.octets());
    assert_eq!(answer[80..86], to.mac);
    // Nobody has this one.
    a.send(&arp_request(own, station(99).v4));
    a.expect_silence(to);
}

#[test]
fn two_guests_of_one_address_are_not_admitted() {
    let daemon = Daemon::start();
    let _first = NetGuest::attached(41, &daemon);
    let mut second = admission(ticket(42), 42, &[]);
    second.network = Some(interface(41));
    let reply = ask(&daemon.hypervisor(), &AdmissionRequest::Admit(second));
    assert!(matches!(reply, AdmissionReply::Refused(why) if why.contains("has that MAC")));
}
