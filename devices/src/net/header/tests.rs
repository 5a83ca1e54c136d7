use proptest::prelude::*;

use super::*;
use crate::net::sample::{arp_request, ipv4, ipv6, station, tcp, udp};

const ALL: u64 = feature::OFFERED;

fn long_tcp(is_v6: bool) -> Frame {
    let (a, b, body) = (station(1), station(2), tcp(1, 2, 0x10, &[7; 9000]));
    let bytes = if is_v6 {
        ipv6(a, b, 6, &body)
    } else {
        ipv4(a, b, 6, &body)
    };
    Frame::parse(&bytes).unwrap()
}

const CUT4: Header = Header {
    flags: 1,
    cutting: 1,
    header_len: 54,
    piece: 1460,
    sum_from: 34,
    sum_at: 16,
};

#[test]
fn work_that_is_true_of_the_frame_is_passed_on() {
    let frame = long_tcp(false);
    let work = CUT4.check(&frame, ALL, 1500).unwrap();
    assert_eq!(work, Work::Cut(Place { from: 34, at: 16 }, 1460));
    assert_eq!(work.header(&frame), CUT4);
    // The sender's hint is not believed.
    let lie = Header {
        header_len: 9000,
        ..CUT4
    };
    assert_eq!(lie.check(&frame, ALL, 1500).unwrap().header(&frame), CUT4);
    let cut6 = Header {
        cutting: 4,
        header_len: 74,
        piece: 1440,
        sum_from: 54,
        ..CUT4
    };
    let frame = long_tcp(true);
    assert_eq!(cut6.check(&frame, ALL, 1500).unwrap().header(&frame), cut6);
    let frame = Frame::parse(&ipv4(station(1), station(2), 17, &udp(1, 2, b"data"))).unwrap();
    let sum = Header {
        flags: 1,
        sum_from: 34,
        sum_at: 6,
        header_len: 42,
        ..Header::default()
    };
    assert_eq!(sum.check(&frame, ALL, 1500).unwrap().header(&frame), sum);
    assert_eq!(Header::from_bytes(&CUT4.to_bytes(3)), CUT4);
    assert_eq!(CUT4.to_bytes(0x0203)[10..], [3, 2]);
}

#[test]
fn work_that_is_not_is_refused() {
    let frame = long_tcp(false);
    let refused = |header: Header| header.check(&frame, ALL, 1500).unwrap_err();
    for piece in [0, 1, LEAST_PIECE - 1, 1461, u16::MAX] {
        assert_eq!(refused(Header { piece, ..CUT4 }), HeaderError::Cutting);
    }
    for sum_from in [0, 14, 33, 35, u16::MAX] {
        assert_eq!(refused(Header { sum_from, ..CUT4 }), HeaderError::Checksum);
    }
    for sum_at in [0, 6, 15, u16::MAX] {
        assert_eq!(refused(Header { sum_at, ..CUT4 }), HeaderError::Checksum);
    }
    assert_eq!(refused(Header { cutting: 4, ..CUT4 }), HeaderError::Cutting);
    assert_eq!(refused(Header { flags: 0, ..CUT4 }), HeaderError::Cutting);
    // UDP's, with congestion marks, unknown ones; what only a device says.
    for cutting in [3, 5, 0x81, 0xff] {
        assert_eq!(
            refused(Header { cutting, ..CUT4 }),
            HeaderError::NotNegotiated
        );
    }
    for flags in [2, 3, 4, 0x80] {
        assert_eq!(
            refused(Header { flags, ..CUT4 }),
            HeaderError::NotNegotiated
        );
    }
    assert_eq!(refused(Header::default()), HeaderError::TooLong);
    for lacks in [feature::CHECKSUM, feature::TCP4] {
        let refused = CUT4.check(&frame, ALL & !lacks, 1500);
        assert_eq!(refused, Err(HeaderError::NotNegotiated));
    }
    let arp = Frame::parse(&arp_request(station(1), station(2).v4)).unwrap();
    assert_eq!(CUT4.check(&arp, ALL, 1500), Err(HeaderError::Checksum));
}

proptest! {
    /// Nothing that is passed on reaches outside of the frame.
    #[test]
    fn any_header_is_true_or_refused(bytes: [u8; HEADER_LEN], features: u64, is_v6: bool) {
        let frame = long_tcp(is_v6);
        let end = frame.ip().unwrap().end;
        if let Ok(work) = Header::from_bytes(&bytes).check(&frame, features, 1500) {
            let passed = work.header(&frame);
            prop_assert!(usize::from(passed.sum_from) + usize::from(passed.sum_at) + 2 <= end);
            prop_assert!(usize::from(passed.header_len) <= end);
        }
    }
}
