//! A guest and its host's own network stack in a namespace of its own, by a real TAP device.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;

use bartizan_devices::net::checksum;
use bartizan_devices::net::header::HEADER_LEN;
use bartizan_devices::net::uplink::GATE;
use bartizan_local::flow::Direction;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::decider::Decider;
use super::guest::{NetGuest, boot};
use super::sample::{Station, arp_request, ipv4, station};
use crate::daemon::{Around, Daemon};

/// The daemon's user, who owns the TAP device and nothing else; nobody's.
const USER: u32 = 64_125;
/// The network stack at the other end of the TAP device.
const HOST: u8 = 254;

/// A namespace, gone when dropped, its TAP device with it.
struct Namespace {
    name: String,
}

impl Namespace {
    fn new(name: &str) -> Self {
        let name = format!("bartizan-{name}-{}", std::process::id());
        let words = format!(
            "set -e
            ip netns add {name}
            ip -n {name} tuntap add dev bartizan0 mode tap user {USER}
            ip -n {name} address add {}/24 dev bartizan0
            ip -n {name} link set bartizan0 up",
            station(HOST).v4
        );
        assert!(shell(&words));
        Self { name }
    }

    /// Devices in it, as a user without capabilities.
    fn devices(&self) -> Daemon {
        let command = format!(
            "ip netns exec {} setpriv --reuid {USER} --regid {USER} --clear-groups",
            self.name
        );
        Daemon::start_in(Around {
            command: command.split(' ').map(str::to_owned).collect(),
            owner: Some(USER),
            config: "uplinks: [{ segment: front, tap: bartizan0 }]\n".into(),
        })
    }

    /// Sends a datagram from there, of which the kernel leaves the checksum to the TAP device.
    fn send(&self, from: Station, to: Station, port: u16, data: &'static [u8]) {
        let namespace = File::open(format!("/run/netns/{}", self.name)).unwrap();
        let send = move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).unwrap();
            let socket = UdpSocket::bind(SocketAddr::new(from.v4.into(), 9)).unwrap();
            socket.send_to(data, (to.v4, port)).unwrap();
        };
        std::thread::spawn(send).join().unwrap();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        shell(&format!("ip netns del {}", self.name));
    }
}

fn shell(words: &str) -> bool {
    let status = Command::new("sh").args(["-c", words]).status();
    status.unwrap().success()
}

/// As guests see the host's stack.
fn host() -> Station {
    Station {
        mac: GATE.0,
        ..station(HOST)
    }
}

fn echo(from: Station) -> Vec<u8> {
    let mut message = [[8, 0, 0, 0, 0, 7, 0, 1].as_slice(), b"ping"].concat();
    let sum = !checksum::sum([message.as_slice()]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(from, host(), 1, &message)
}

/// The address of a station's that the kernel knows in the namespace.
fn known(namespace: &Namespace, address: IpAddr) -> String {
    let shown = Command::new("ip")
        .args(["-n", &namespace.name, "neigh", "show", &address.to_string()])
        .output();
    String::from_utf8(shown.unwrap().stdout).unwrap()
}

#[test]
fn a_guest_and_the_hosts_stack_reach_one_another_by_a_tap_device() {
    let namespace = Namespace::new("tap");
    let daemon = namespace.devices();
    assert!(daemon.status().contains("CapEff:\t0000000000000000"));
    let decider = Decider::new(&daemon);
    let mut guest = NetGuest::attached(41, &daemon);
    let own = guest.station();
    // Outward: the kernel is asked whose its address is, and answers the echo.
    guest.send(&arp_request(own, host().v4));
    assert_eq!(guest.receive()[22..28], GATE.0);
    guest.send(&echo(own));
    let flow = decider.decide(boot(41), true);
    assert_eq!(flow.direction, Direction::Egress);
    assert_eq!(flow.peer, IpAddr::V4(host().v4));
    let answer = guest.receive();
    assert_eq!((&answer[6..12], answer[34]), (GATE.0.as_slice(), 0));
    assert!(answer.ends_with(b"ping"));
    // Inward: the kernel asks whose the guest's address is.
    namespace.send(host(), own, 7, b"from the host");
    let flow = decider.decide(boot(41), true);
    assert_eq!((flow.direction, flow.port), (Direction::Ingress, Some(7)));
    assert_eq!(flow.peer, IpAddr::V4(host().v4));
    let bytes = guest.rx.receive(&guest.memory);
    let (header, frame) = bytes.split_at(HEADER_LEN);
    // The checksum is left to the guest: behind 34 bytes, in the 6th.
    assert_eq!(header, [1, 0, 42, 0, 0, 0, 34, 0, 6, 0, 1, 0]);
    assert!(frame.ends_with(b"from the host"));
    let mac = own.mac.map(|byte| format!("{byte:02x}")).join(":");
    let shown = known(&namespace, own.v4.into());
    assert!(shown.contains(&mac), "{shown}");
    // What is denied does not arrive.
    namespace.send(host(), own, 8, b"denied");
    decider.decide(boot(41), false);
    guest.expect_silence(host());
}

/// Known attack: somebody in the host's network sends in a guest's name.
#[test]
fn nobody_at_the_tap_device_is_a_guest() {
    let namespace = Namespace::new("forged");
    let daemon = namespace.devices();
    let decider = Decider::new(&daemon);
    let mut guest = NetGuest::attached(41, &daemon);
    let other = NetGuest::attached(42, &daemon);
    let (own, forged) = (guest.station(), other.station());
    assert!(shell(&format!(
        "ip -n {} address add {}/32 dev bartizan0",
        namespace.name, forged.v4,
    )));
    // The kernel asks in that name whose the guest's address is, and is not answered.
    namespace.send(forged, own, 7, b"forged");
    daemon.wait_until_logged("reason=spoofed-arp");
    assert!(shell(&format!(
        "ip -n {0} neigh replace {1} lladdr {2} dev bartizan0",
        namespace.name,
        own.v4,
        own.mac.map(|byte| format!("{byte:02x}")).join(":"),
    )));
    daemon.wait_until_logged("reason=spoofed-address");
    guest.expect_silence(forged);
    decider.wait_until_heard();
}

#[test]
fn without_its_tap_device_the_daemon_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("devices.yaml");
    let at = directory.path().display();
    let text = format!(
        "control_socket: {at}/c.sock\ndecisions_socket: {at}/d.sock\nhypervisor_uid: 0\nallowed_uids: [1]\nuplinks: [{{ segment: front, tap: bartizan-none }}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_bartizan-devices"));
    let ended = daemon.arg("--config").arg(&config).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("`bartizan-none`"), "{said}");
}
