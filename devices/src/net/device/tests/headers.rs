//! Known attacks: virtio-net headers that are not true of their frames.

use super::lab::Lab;
use crate::net::header::{HEADER_LEN, Header, feature};
use crate::net::refusals::Reason;
use crate::net::sample::{arp_request, ipv4, ipv6, station, tcp, udp};

/// Of a TCP segment over IPv4, to be summed up and cut into pieces of 1000 bytes.
const CUT: Header = Header {
    flags: 1,
    cutting: 1,
    header_len: 54,
    piece: 1000,
    sum_from: 34,
    sum_at: 16,
};

fn segment(size: usize) -> Vec<u8> {
    ipv4(station(1), station(2), 6, &tcp(1000, 80, 2, &vec![7; size]))
}

impl Lab {
    fn send_with(&mut self, header: &Header, buffers: u16, frame: &[u8]) {
        self.guest(1).offer_frame(&header.to_bytes(buffers), frame);
        self.run();
    }

    #[track_caller]
    fn blocks_with(&mut self, header: &Header, frame: &[u8], reason: Reason) {
        self.blocks_what(1, reason, |lab| lab.send_with(header, 0, frame));
    }
}

#[test]
fn bogus_gso_sizes() {
    let mut lab = Lab::new();
    for piece in [0, 1, 47, 1461, 9000, 0xffff] {
        let header = Header { piece, ..CUT };
        lab.blocks_with(&header, &segment(4000), Reason::VirtioHeader);
    }
}

#[test]
fn bogus_gso_types() {
    let mut lab = Lab::new();
    let v6 = ipv6(station(1), station(2), 6, &tcp(1000, 80, 2, &[7; 4000]));
    // Fragments of UDP, segments of UDP, one that there is not, with congestion notification, of the other version.
    for cutting in [2, 3, 5, 6, 0x7f, 0x81, 0x84, 0xff, 4] {
        let header = Header { cutting, ..CUT };
        lab.blocks_with(&header, &segment(4000), Reason::VirtioHeader);
    }
    let header = Header {
        sum_from: 54,
        ..CUT
    };
    lab.blocks_with(&header, &v6, Reason::VirtioHeader);
    // Of what is no TCP, and without a checksum to be filled in.
    let datagram = ipv4(station(1), station(2), 17, &udp(1000, 53, &[0; 400]));
    let header = Header { sum_at: 6, ..CUT };
    lab.blocks_with(&header, &datagram, Reason::VirtioHeader);
    lab.blocks_with(
        &CUT,
        &arp_request(station(1), station(2).v4),
        Reason::VirtioHeader,
    );
    let header = Header { flags: 0, ..CUT };
    lab.blocks_with(&header, &segment(4000), Reason::VirtioHeader);
}

#[test]
fn bogus_checksum_offsets() {
    let mut lab = Lab::new();
    let plain = Header {
        cutting: 0,
        piece: 0,
        ..CUT
    };
    for (sum_from, sum_at) in [
        // In the Ethernet header, in IP's, behind TCP's, at the frame's end, past it.
        (0, 16),
        (14, 10),
        (24, 16),
        (33, 16),
        (35, 16),
        (54, 16),
        (0xffff, 16),
        (0xffff, 0xffff),
        (34, 0),
        (34, 15),
        (34, 17),
        (34, 6),
        (34, 0xffff),
    ] {
        let header = Header {
            sum_from,
            sum_at,
            ..plain
        };
        lab.blocks_with(&header, &segment(100), Reason::VirtioHeader);
    }
    // Of what has no such checksum.
    let echo = ipv4(station(1), station(2), 1, &[8, 0, 0, 0, 0, 7, 0, 1]);
    lab.blocks_with(&plain, &echo, Reason::VirtioHeader);
    lab.blocks_with(
        &plain,
        &arp_request(station(1), station(2).v4),
        Reason::VirtioHeader,
    );
}

#[test]
fn bogus_flags_and_what_was_not_negotiated() {
    let mut lab = Lab::new();
    for flags in [2, 3, 4, 5, 7, 0x80, 0xff] {
        let header = Header { flags, ..CUT };
        lab.blocks_with(&header, &segment(4000), Reason::VirtioHeader);
    }
    lab.guest(1).take_features(feature::CHECKSUM);
    lab.blocks_with(&CUT, &segment(4000), Reason::VirtioHeader);
    lab.guest(1).take_features(0);
    let plain = Header {
        cutting: 0,
        piece: 0,
        ..CUT
    };
    lab.blocks_with(&plain, &segment(100), Reason::VirtioHeader);
    // Longer than the MTU, without anything to be done about it.
    lab.blocks_with(&Header::default(), &segment(4000), Reason::Oversized);
}

/// What is a hint, or means nothing that way, reaches nobody: the receiver gets a header that was made from the frame.
#[test]
fn bogus_lengths_and_buffer_counts_are_not_passed_on() {
    let mut lab = Lab::new();
    let frame = segment(4000);
    let header = Header {
        header_len: 0xffff,
        ..CUT
    };
    lab.send_with(&header, 0xffff, &frame);
    let first = lab.guest(2).receive();
    let (got, rest) = first.split_at(HEADER_LEN);
    // In two buffers of 4 KiB.
    assert_eq!(got, CUT.to_bytes(1).as_slice());
    assert_eq!(rest, frame);
}

#[test]
fn a_long_packet_is_for_nobody_who_takes_none() {
    let mut lab = Lab::new();
    lab.guest(2)
        .take_features(feature::OFFERED & !feature::GUEST_TCP4);
    lab.send_with(&CUT, 0, &segment(4000));
    assert!(lab.received(2).is_empty());
    let ingress = bartizan_local::flow::Direction::Ingress;
    assert_eq!(lab.refused(2, ingress, Reason::Offload), 1);
}
