//! A guest and a service of the host, both without manners. The first 48 bytes are the journal of a former
//! process; then each nine bytes are a step.
#![no_main]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bartizan_devices::vsock::{HOST_CID, Header, Journal, Limits, MAX_PAYLOAD, Services, Switch};
use bartizan_fuzz::vsock::{GUEST, SERVICE, epoll, memfd};
use bartizan_local::admission::Service;
use libfuzzer_sys::fuzz_target;

const CONNECTIONS: usize = 4;
const MOST_STEPS: usize = 256;

fuzz_target!(|data: &[u8]| {
    let (journal, steps) = data.split_at(data.len().min(12 * CONNECTIONS));
    let service = Service {
        port: 1,
        socket: SERVICE.path(),
    };
    let services = Services::new(&[service]).expect("one service");
    let limits = Limits {
        connections: CONNECTIONS,
    };
    let journal = Some(Journal::new(memfd(journal).into()));
    let switch = Switch::new(GUEST, services, limits, (epoll(), 0), journal).expect("a switch");
    let mut host = Host {
        switch,
        streams: Vec::new(),
    };
    for step in steps.as_chunks().0.iter().take(MOST_STEPS) {
        host.step(*step);
    }
    host.drain(MAX_PAYLOAD);
    host.switch.expire(Instant::now() + Duration::from_secs(60));
    host.switch.forget();
    drop(host);
    while SERVICE.accept().is_some() {}
});

struct Host {
    switch: Switch,
    streams: Vec<UnixStream>,
}

impl Host {
    fn step(&mut self, [action, port, flags, n0, n1, n2, n3, l0, l1]: [u8; 9]) {
        let (number, size) = (
            u32::from_le_bytes([n0, n1, n2, n3]),
            u16::from_le_bytes([l0, l1]),
        );
        match action {
            0..0xc0 => self.guest(u16::from(action % 9), port, flags, number, size),
            0xc0..0xe0 => self.service(port, size),
            0xe0.. => self.drain(size.into()),
        }
        if action & 0x20 != 0 {
            self.drain(MAX_PAYLOAD);
        }
    }

    /// The guest sends a packet, of its own CID or another's.
    fn guest(&mut self, op: u16, port: u8, flags: u8, number: u32, size: u16) {
        let data = if op == 5 { size } else { 0 };
        let header = Header {
            src_cid: u64::from(GUEST) + u64::from(flags >> 7),
            dst_cid: HOST_CID + u64::from(flags >> 6 & 1),
            src_port: (port & 7).into(),
            dst_port: 1 + u32::from(port >> 7),
            len: data.into(),
            kind: 1 + u16::from(flags >> 5 & 1),
            op,
            flags: (flags & 3).into(),
            buf_alloc: number,
            fwd_cnt: if flags & 4 == 0 { 0 } else { size.into() },
        };
        if self.switch.is_open() {
            let _ = self.switch.receive(&header, &vec![0; data.into()]);
        }
        self.streams.extend(std::iter::from_fn(|| SERVICE.accept()));
    }

    /// The service writes, reads or goes away.
    fn service(&mut self, which: u8, size: u16) {
        let index = usize::from(which & 0x1f);
        if let Some(stream) = self.streams.get_mut(index) {
            match which >> 5 {
                0..4 => drop(stream.write(&vec![1; size.into()])),
                4..7 => drop(stream.read(&mut vec![0; size.into()])),
                _ => drop(self.streams.swap_remove(index)),
            }
        }
        (0..=CONNECTIONS).for_each(|slot| self.switch.host_ready(slot));
    }

    /// The guest takes all that there is for it.
    fn drain(&mut self, room: usize) {
        let mut payload = Vec::new();
        let mut packets = 0;
        while let Some(answer) = self.switch.next_packet(room, &mut payload) {
            assert_eq!(
                answer.dst_cid,
                u64::from(GUEST),
                "a packet for somebody else"
            );
            assert_eq!(answer.len as usize, payload.len());
            assert!(payload.len() <= room.min(MAX_PAYLOAD));
            packets += 1;
            assert!(packets < 1 << 20, "packets without end");
        }
        assert!(self.switch.is_open());
    }
}
