//! What comes from outside to a segment with a guest, as a TAP device hands it over. The input in pieces, each of twelve bytes of
//! header and a frame.
#![no_main]

use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Instant;

use bartizan_devices::net::Fabric;
use bartizan_devices::net::frame::{Frame, Mac};
use bartizan_devices::net::uplink::{Core, GATE, Settings, Tap, Uplink, is_outside};
use bartizan_fuzz::pieces;
use bartizan_local::admission::{Interface, Ipv4, Ipv6};
use bartizan_local::flow::Guest;
use libfuzzer_sys::fuzz_target;

const MOST_FRAMES: usize = 64;
const STATION: [u8; 6] = [2, 0, 0, 0, 7, 1];

fuzz_target!(|data: &[u8]| {
    let (outside, tap) = UnixDatagram::pair().expect("sockets");
    for socket in [&outside, &tap] {
        socket.set_nonblocking(true).expect("a socket");
    }
    let settings = Settings {
        segment: "front".into(),
        tap: "tap".into(),
        gateway: None,
        gateway_v6: None,
        gateway_mac: None,
        resolvers: Vec::new(),
    };
    let uplink = Arc::new(Uplink::new(settings).expect("an eventfd"));
    let fabric = Arc::new(Fabric::with_uplinks(&[Arc::clone(&uplink)]));
    let plug = fabric.plug(interface()).expect("nobody else is there");
    let mut core = Core::new(&fabric, &uplink);
    let mut tap = Tap::new(tap.into());
    let now = Instant::now();
    for piece in pieces::split(data).iter().take(MOST_FRAMES) {
        if outside.send(piece).is_err() {
            continue;
        }
        core.turn(&mut tap, now).expect("the socket is open");
        // What goes back is not looked at, so that there is room for the next.
        while outside.recv(&mut [0; 128]).is_ok() {}
        let mail = plug.station().inbox.take(Some(VecDeque::new()));
        for packet in mail.packets {
            assert_eq!(packet.frame.source, GATE);
            assert_eq!(packet.frame.destination, Mac(STATION));
            let again = Frame::parse(&packet.bytes).expect("it was parsed");
            assert_eq!(again, packet.frame);
            let ip = packet.frame.ip().expect("nothing else is let in");
            assert!(is_outside(ip.source));
            let own = interface();
            let v4 = own.ipv4.map(|ip| IpAddr::V4(ip.address));
            let v6 = own.ipv6.map(|ip| IpAddr::V6(ip.address));
            assert!(![v4, v6].contains(&Some(ip.source)));
        }
    }
});

fn interface() -> Interface {
    Interface {
        guest: Guest {
            vm: [1; 16],
            boot: 1,
        },
        segment: "front".into(),
        mac: STATION,
        ipv4: Some(Ipv4 {
            address: [10, 77, 0, 1].into(),
            prefix: 24,
            gateway: None,
        }),
        ipv6: Some(Ipv6 {
            address: [0xfd77, 0, 0, 0, 0, 0, 0, 1].into(),
            prefix: 64,
        }),
        mtu: 1500,
    }
}
