//! Guests that break the rules: they harm themselves at most.

use bartizan_devices::vsock::Header;

use crate::daemon::Daemon;
use crate::driver::{CREDIT_REQUEST, CREDIT_UPDATE, Guest, REQUEST, RESPONSE, RST, RW};
use crate::service;

#[test]
fn a_forged_source_is_dropped_without_an_answer() {
    let daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut victim = Guest::attached(41, &daemon, &services);
    let mut guest = Guest::attached(42, &daemon, &services);
    victim.connect(1);
    for op in 0..9 {
        guest.send(
            &Header {
                src_cid: 41,
                ..guest.header(op, 1)
            },
            &[],
        );
    }
    guest.expect_silence();
    victim.send_data(1, b"mine");
    assert_eq!(victim.expect(RW).1, b"mine");
}

#[test]
fn another_guest_is_out_of_reach() {
    let daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut other = Guest::attached(41, &daemon, &services);
    let mut guest = Guest::attached(42, &daemon, &services);
    guest.send(
        &Header {
            dst_cid: 41,
            ..guest.header(REQUEST, 1)
        },
        &[],
    );
    assert_eq!(guest.expect(RST).0.src_cid, 41);
    other.expect_silence();
}

#[test]
fn a_guest_that_ignores_its_credit_is_reset() {
    let daemon = Daemon::start();
    let mut guest = Guest::attached(42, &daemon, &[(1, service::deaf(daemon.directory.path()))]);
    guest.connect(1);
    // The service's socket takes some hundred KiB, then the device's buffer fills.
    let mut packets = 0;
    loop {
        guest.send_data(1, &[0; 16 << 10]);
        guest.send(&guest.header(CREDIT_REQUEST, 1), &[]);
        let (header, _) = guest.receive();
        if header.op == RST {
            break;
        }
        assert_eq!(header.op, CREDIT_UPDATE);
        packets += 1;
        assert!(packets < 1000, "never reset");
    }
    assert!(
        packets >= 8,
        "reset within its credit, after {packets} packets"
    );
}

#[test]
fn what_a_guest_filled_is_given_back() {
    let mut daemon = Daemon::start();
    let mut guest = Guest::attached(42, &daemon, &[(1, service::deaf(daemon.directory.path()))]);
    for round in 0..3 {
        for port in 0..16 {
            let from = |header| Header {
                src_port: port,
                ..header
            };
            guest.send(&from(guest.header(REQUEST, 1)), &[]);
            guest.expect(RESPONSE);
            // Until the service's socket is full and 96 KiB wait in the device.
            let (mut sent, mut forwarded) = (0, 0);
            while sent - forwarded < 96 << 10 {
                let data = Header {
                    len: 16 << 10,
                    ..guest.header(RW, 1)
                };
                guest.send(&from(data), &[round; 16 << 10]);
                guest.send(&from(guest.header(CREDIT_REQUEST, 1)), &[]);
                sent += 16 << 10;
                forwarded = guest.expect(CREDIT_UPDATE).0.fwd_cnt;
            }
        }
        for port in 0..16 {
            guest.send(
                &Header {
                    src_port: port,
                    ..guest.header(RST, 1)
                },
                &[],
            );
        }
        guest.expect_silence();
    }
    assert!(daemon.is_alive());
}

#[test]
fn claims_about_the_future_and_unasked_answers_are_reset() {
    let daemon = Daemon::start();
    let mut guest = Guest::attached(42, &daemon, &[(1, service::echo(daemon.directory.path()))]);
    guest.connect(1);
    guest.send(
        &Header {
            fwd_cnt: 1,
            ..guest.header(CREDIT_UPDATE, 1)
        },
        &[],
    );
    guest.expect(RST);
    guest.connect(1);
    guest.send(&guest.header(RESPONSE, 1), &[]);
    guest.expect(RST);
    guest.send_data(1, b"to nobody");
    guest.expect(RST);
}

#[test]
fn broken_chains_are_given_back_and_the_rest_works() {
    let daemon = Daemon::start();
    let mut guest = Guest::attached(42, &daemon, &[(1, service::echo(daemon.directory.path()))]);
    let loops = |index| (0x1_0000, 0, 1, index);
    let broken = [
        (u64::MAX - 3, 44, 0, 0),
        (0x10_0000_0000, 44, 0, 0),
        (0, u32::MAX, 0, 0),
        (0, 43, 0, 0),
        loops(0),
        (0x3f_fff0, 0x100, 0, 0),
        (0x3f_0000, 0x1_0000, 4, 0),
        (0, 15, 4, 0),
    ];
    for (address, len, flags, next) in broken {
        guest
            .tx
            .describe(&guest.memory, 0, address, len, flags, next);
        guest.tx.offer(&guest.memory, 0);
        loop {
            let used = guest.tx.used_index(&guest.memory);
            if used == guest.tx.offered {
                break;
            }
            guest.tx.wait(&guest.memory, used);
        }
    }
    guest.connect(1);
}

#[test]
fn a_guest_that_breaks_its_ring_loses_its_device_only() {
    let mut daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut other = Guest::attached(41, &daemon, &services);
    let guest = Guest::attached(42, &daemon, &services);
    guest.tx.publish(&guest.memory, 20_000);
    guest.rx.publish(&guest.memory, 40_000);
    let mut wild = Guest::attached(43, &daemon, &services);
    wild.tx.describe(&wild.memory, 0, 0, 44, 0, 0);
    wild.tx.offer(&wild.memory, 0xffff);
    other.connect(1);
    other.send_data(1, b"unharmed");
    assert_eq!(other.expect(RW).1, b"unharmed");
    assert!(daemon.is_alive());
}
