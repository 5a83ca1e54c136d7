use proptest::prelude::{any, proptest};

use super::super::header::HEADER_LEN;
use super::*;

const GUEST: u32 = 42;

fn request() -> Header {
    Header {
        src_cid: GUEST.into(),
        dst_cid: HOST_CID,
        src_port: 1000,
        dst_port: 1027,
        kind: STREAM,
        op: op::REQUEST,
        buf_alloc: 4096,
        ..Header::default()
    }
}

#[test]
fn accepts_a_request() {
    let packet = judge(&request(), GUEST).unwrap();
    assert_eq!(
        packet.ports,
        Ports {
            guest: 1000,
            host: 1027
        }
    );
    assert_eq!(packet.operation, Operation::Request);
}

#[test]
fn a_forged_source_is_refused_for_every_operation_and_never_answered() {
    for op in 0..=8 {
        let header = Header {
            src_cid: u64::from(GUEST) + 1,
            op,
            ..request()
        };
        let error = judge(&header, GUEST).unwrap_err();
        assert_eq!(
            error,
            PacketError::ForgedSource {
                expected: 42,
                found: 43
            }
        );
        assert!(!error.is_answered());
    }
}

#[test]
fn the_upper_half_of_the_source_counts() {
    let header = Header {
        src_cid: u64::from(GUEST) | 1 << 32,
        ..request()
    };
    assert!(matches!(
        judge(&header, GUEST),
        Err(PacketError::ForgedSource { .. })
    ));
}

#[test]
fn refuses_what_is_not_served() {
    let wrong = |header| judge(&header, GUEST).unwrap_err();
    assert_eq!(
        wrong(Header {
            dst_cid: 43,
            ..request()
        }),
        PacketError::WrongDestination(43)
    );
    assert_eq!(
        wrong(Header {
            kind: 2,
            ..request()
        }),
        PacketError::UnknownType(2)
    );
    assert_eq!(
        wrong(Header { op: 0, ..request() }),
        PacketError::UnknownOperation(0)
    );
    assert_eq!(
        wrong(Header {
            len: 1,
            ..request()
        }),
        PacketError::UnexpectedPayload(1)
    );
    let data = Header {
        op: op::RW,
        len: 65_537,
        ..request()
    };
    assert_eq!(wrong(data), PacketError::TooLarge(65_537));
}

proptest! {
    #[test]
    fn any_header_round_trips_and_is_judged(bytes in any::<[u8; HEADER_LEN]>(), cid in any::<u32>()) {
        let header = Header::from_bytes(&bytes);
        assert_eq!(header.to_bytes(), bytes);
        if let Ok(packet) = judge(&header, cid) {
            assert_eq!(header.src_cid, u64::from(cid));
            assert!(packet.len <= MAX_PAYLOAD);
        }
    }

    #[test]
    fn a_plausible_header_is_judged(op in 0..9_u16, kind in 0..3_u16, len in any::<u32>(), flags in any::<u32>()) {
        let header = Header { op, kind, len, flags, ..request() };
        if let Ok(packet) = judge(&header, GUEST) {
            assert!(packet.len == 0 || packet.operation == Operation::Data);
        }
    }
}
