//! What is outside of the host, at the other end of a socket in a TAP device's place.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Instant;

use bartizan_local::flow::Direction;

use super::{Lab, Limits};
use crate::net::fabric::Fabric;
use crate::net::header::HEADER_LEN;
use crate::net::refusals::Reason;
use crate::net::sample::Station;
use crate::net::uplink::{Core, Settings, Tap, Uplink};

/// The other end of an uplink.
pub(in crate::net::device::tests) struct Outside {
    pub(in crate::net::device::tests) core: Core,
    tap: Tap,
    end: UnixDatagram,
}

impl Outside {
    pub(super) fn turn(&mut self, now: Instant) -> bool {
        self.core.turn(&mut self.tap, now).unwrap()
    }

    /// What came since this was asked last: headers and frames.
    pub(in crate::net::device::tests) fn received_whole(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut buffer = vec![0; 1 << 17];
        while let Ok(size) = self.end.recv(&mut buffer) {
            all.push(buffer[..size].to_vec());
        }
        all
    }

    /// Without headers, which ask for nothing.
    pub(in crate::net::device::tests) fn received(&self) -> Vec<Vec<u8>> {
        let all = self.received_whole().into_iter();
        all.map(|mut bytes| {
            let frame = bytes.split_off(HEADER_LEN);
            assert_eq!(bytes, [0; HEADER_LEN]);
            frame
        })
        .collect()
    }

    pub(in crate::net::device::tests) fn send(&self, header: &[u8], frame: &[u8]) {
        self.end.send(&[header, frame].concat()).unwrap();
    }
}

impl Lab {
    /// As many guests, whose segment has an uplink.
    pub(in crate::net::device::tests) fn with_uplink(guests: usize, settings: Settings) -> Self {
        let (end, tap) = UnixDatagram::pair().unwrap();
        for socket in [&end, &tap] {
            socket.set_nonblocking(true).unwrap();
        }
        let uplink = Arc::new(Uplink::new(settings).unwrap());
        let fabric = Arc::new(Fabric::with_uplinks(&[Arc::clone(&uplink)]));
        let mut lab = Self::on(&fabric, &vec![false; guests], Limits::default());
        lab.outside = Some(Outside {
            core: Core::new(&fabric, &uplink),
            tap: Tap::new(tap.into()),
            end,
        });
        lab
    }

    pub(in crate::net::device::tests) fn outside(&self) -> &Outside {
        self.outside.as_ref().unwrap()
    }

    /// Frames come from outside, and everything happens that comes of them.
    pub(in crate::net::device::tests) fn arrive(&mut self, frames: &[Vec<u8>]) {
        for frame in frames {
            self.arrive_with(&[0; HEADER_LEN], frame);
        }
    }

    pub(in crate::net::device::tests) fn arrive_with(&mut self, header: &[u8], frame: &[u8]) {
        self.outside().send(header, frame);
        self.run();
    }

    /// An attack from outside: it reaches nobody, nobody is asked, nothing goes back, it is counted and logged.
    #[track_caller]
    pub(in crate::net::device::tests) fn shuts_out(&mut self, frame: &[u8], reason: Reason) {
        let of = |lab: &Self| lab.outside().core.refusals().of(Direction::Ingress, reason);
        let (before, asked) = (of(self), self.asked.len());
        self.arrive(&[frame.to_vec()]);
        let refusals = self.outside().core.refusals();
        assert_eq!(of(self) - before, 1, "{reason}: {refusals:?}");
        assert_eq!(self.asked.len(), asked);
        for number in (1..).take(self.guests.len()) {
            assert_eq!(self.received(number), Vec::<Vec<u8>>::new());
        }
        assert_eq!(self.outside().received(), Vec::<Vec<u8>>::new());
        assert!(self.logged(reason), "{reason}");
    }
}

/// Somebody on the segment's network outside of this host.
pub(in crate::net::device::tests) fn neighbour(number: u8) -> Station {
    Station {
        mac: [2, 0, 0, 0, 0x99, number],
        v4: Ipv4Addr::new(10, 77, 0, number),
        v6: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number.into()),
    }
}

/// An uplink without a gateway.
pub(in crate::net::device::tests) fn settings() -> Settings {
    Settings {
        segment: "front".into(),
        tap: "tap".into(),
        gateway: None,
        gateway_v6: None,
        gateway_mac: None,
        resolvers: Vec::new(),
    }
}
