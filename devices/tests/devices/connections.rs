//! Connections of well-behaved guests.

use bartizan_devices::vsock::Header;

use crate::daemon::Daemon;
use crate::driver::{CREDIT_UPDATE, Guest, REQUEST, RST, RW, SHUTDOWN};
use crate::service;

const NO_MORE_SEND: u32 = 2;
const BOTH: u32 = 3;

#[test]
fn data_goes_there_and_back() {
    let daemon = Daemon::start();
    let mut guest = Guest::attached(42, &daemon, &[(1, service::echo(daemon.directory.path()))]);
    guest.connect(1);
    guest.send_data(1, b"hello");
    let (header, payload) = guest.expect(RW);
    assert_eq!(payload, b"hello");
    assert_eq!(
        (header.src_cid, header.src_port, header.dst_port),
        (2, 1, 1000)
    );
    assert_eq!(header.fwd_cnt, 5);
}

#[test]
fn an_unknown_port_and_a_service_that_is_away_are_reset() {
    let daemon = Daemon::start();
    let mut guest = Guest::attached(42, &daemon, &[(1, daemon.path("nobody.sock"))]);
    for port in [1, 2] {
        guest.send(&guest.header(REQUEST, port), &[]);
        assert_eq!(guest.expect(RST).0.src_port, port);
    }
}

#[test]
fn half_close_lets_the_answer_come_after_the_end() {
    let daemon = Daemon::start();
    let mut guest = Guest::attached(42, &daemon, &[(1, service::count(daemon.directory.path()))]);
    guest.connect(1);
    guest.send_data(1, &[7; 3000]);
    guest.send_data(1, &[7; 500]);
    guest.send(
        &Header {
            flags: NO_MORE_SEND,
            ..guest.header(SHUTDOWN, 1)
        },
        &[],
    );
    assert_eq!(guest.expect(RW).1, b"3500");
    assert_eq!(guest.expect(SHUTDOWN).0.flags, NO_MORE_SEND);
    guest.send(
        &Header {
            flags: BOTH,
            ..guest.header(SHUTDOWN, 1)
        },
        &[],
    );
    guest.expect(RST);
}

#[test]
fn bulk_flows_within_credit_both_ways() {
    const TOTAL: u32 = 8 << 20;
    let daemon = Daemon::start();
    let mut guest = Guest::attached(42, &daemon, &[(1, service::echo(daemon.directory.path()))]);
    guest.connect(1);
    let piece: Vec<u8> = (0..251).cycle().take(8 << 10).collect();
    let (mut sent, mut received, mut freed) = (0_u32, 0_u32, 0_u32);
    let mut expected = piece.iter().cycle();
    while received < TOTAL {
        // Half of the device's buffer under way at most.
        while sent < TOTAL && sent - freed < 64 << 10 {
            let len = u32::try_from(piece.len()).unwrap();
            let header = Header {
                len,
                fwd_cnt: received,
                ..guest.header(RW, 1)
            };
            guest.send(&header, &piece);
            sent += len;
        }
        let (header, payload) = guest.receive();
        assert!([RW, CREDIT_UPDATE, 7].contains(&header.op), "{header:?}");
        assert!(payload.iter().all(|byte| Some(byte) == expected.next()));
        freed = header.fwd_cnt;
        received += header.len;
        let news = Header {
            fwd_cnt: received,
            ..guest.header(CREDIT_UPDATE, 1)
        };
        guest.send(&news, &[]);
    }
}

#[test]
fn connections_survive_a_stop_of_the_machine() {
    let daemon = Daemon::start();
    let mut guest = Guest::attached(42, &daemon, &[(1, service::echo(daemon.directory.path()))]);
    guest.connect(1);
    guest.stop_and_continue();
    guest.send_data(1, b"still there");
    assert_eq!(guest.expect(RW).1, b"still there");
}

#[test]
fn the_table_is_bounded_and_closing_makes_room() {
    let daemon = Daemon::start();
    let mut guest = Guest::attached(42, &daemon, &[(1, service::echo(daemon.directory.path()))]);
    let from = |guest: &Guest, op, port| Header {
        src_port: port,
        ..guest.header(op, 1)
    };
    for port in 0..16 {
        guest.send(&from(&guest, REQUEST, port), &[]);
        guest.expect(crate::driver::RESPONSE);
    }
    guest.send(&from(&guest, REQUEST, 16), &[]);
    assert_eq!(guest.expect(RST).0.dst_port, 16);
    guest.send(&from(&guest, RST, 3), &[]);
    guest.send(&from(&guest, REQUEST, 16), &[]);
    guest.expect(crate::driver::RESPONSE);
}
