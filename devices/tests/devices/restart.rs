//! kill -9 of the daemon, and what the supervisor's replay makes of it.

use bartizan_devices::vsock::Header;

use crate::daemon::Daemon;
use crate::driver::{Guest, REQUEST, RESPONSE, RST, RW};
use crate::service;

#[test]
fn open_connections_are_reset_and_new_ones_work() {
    let mut daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut guest = Guest::attached(42, &daemon, &services);
    guest.connect(1);
    guest.send_data(1, b"before");
    guest.expect(RW);
    daemon.replace();
    // Sent while nobody serves: the new daemon finds it on the ring without another kick.
    let request = Header {
        src_port: 1001,
        ..guest.header(REQUEST, 1)
    };
    guest.send(&request, &[]);
    guest.tx.kick.read().unwrap();
    guest.attach(&daemon, &services);
    // The journal names the connection that the guest would otherwise wait on for ever.
    assert_eq!(guest.expect(RST).0.dst_port, 1000);
    assert_eq!(guest.expect(RESPONSE).0.dst_port, 1001);
    guest.connect(1);
    guest.send_data(1, b"after");
    assert_eq!(guest.expect(RW).1, b"after");
}

#[test]
fn a_packet_of_a_forgotten_connection_is_reset() {
    let mut daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut guest = Guest::attached(42, &daemon, &services);
    guest.connect(1);
    guest.lose_journal();
    daemon.replace();
    guest.attach(&daemon, &services);
    guest.send_data(1, b"hello?");
    guest.expect(RST);
}

#[test]
fn many_restarts_under_load_leave_the_rings_whole() {
    let mut daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut guest = Guest::attached(42, &daemon, &services);
    for round in 0..10_u8 {
        guest.connect(1);
        for _ in 0..50 {
            guest.send_data(1, &[round; 100]);
            assert_eq!(guest.expect(RW).1, [round; 100]);
        }
        daemon.replace();
        guest.attach(&daemon, &services);
        guest.expect(RST);
    }
}
