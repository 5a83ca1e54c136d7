//! A guest with a network device: its RAM, its rings, and QEMU's end of its link.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use bartizan_devices::net::header::HEADER_LEN;
use bartizan_local::attachment::{Attached, DeviceKind};
use bartizan_local::flow;
use rustix::fs::SealFlags;
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

use super::sample::{self, Station, arp_request, interface, ipv4, udp};
use crate::daemon::{Daemon, attach_next, ticket, unlogged};
use crate::driver::ring::{self, DriverRing};
use crate::driver::{RAM, ram_file};

const USER: u64 = 0x7000_0000_0000;

pub(crate) struct NetGuest {
    pub(crate) number: u8,
    pub(crate) memory: GuestMemoryMmap,
    ram: File,
    pub(crate) rx: DriverRing,
    pub(crate) tx: DriverRing,
    link: Option<(UnixStream, Frontend)>,
    /// Whether it was attached before.
    runs: bool,
}

/// The boot of the guest of that number.
pub(crate) fn boot(number: u8) -> flow::Guest {
    flow::Guest {
        vm: [number; 16],
        boot: 1,
    }
}

impl NetGuest {
    pub(crate) fn attached(number: u8, daemon: &Daemon) -> Self {
        let ram = ram_file(RAM, SealFlags::SHRINK);
        let mapped = FileOffset::new(ram.try_clone().unwrap(), 0);
        let range = (GuestAddress(0), usize::try_from(RAM).unwrap(), Some(mapped));
        let memory = GuestMemoryMmap::from_ranges_with_files([range]).unwrap();
        let mut rx = DriverRing::new(0x10_000);
        rx.offer_all(&memory);
        let mut guest = Self {
            number,
            memory,
            ram,
            rx,
            tx: DriverRing::new(0x20_000),
            link: None,
            runs: false,
        };
        guest.attach(daemon);
        guest
    }

    pub(crate) fn attach(&mut self, daemon: &Daemon) {
        let cid = u32::from(self.number);
        daemon.admit_with(cid, &[], Some(interface(self.number)), self.runs);
        self.runs = true;
        let (link, answer) = attach_next(daemon, &unlogged(ticket(cid), DeviceKind::Network), &[]);
        assert_eq!(answer, Attached::Serving);
        let frontend = Frontend::from_stream(link.try_clone().unwrap(), 2);
        self.link = Some((link, frontend));
        self.set_up();
    }

    fn set_up(&mut self) {
        let (_, frontend) = self.link.as_mut().unwrap();
        let features = frontend.get_features().unwrap();
        frontend.get_protocol_features().unwrap();
        frontend
            .set_protocol_features(VhostUserProtocolFeatures::empty())
            .unwrap();
        frontend.set_owner().unwrap();
        frontend.set_features(features).unwrap();
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: RAM,
            userspace_addr: USER,
            mmap_offset: 0,
            mmap_handle: self.ram.as_raw_fd(),
        };
        frontend.set_mem_table(&[region]).unwrap();
        for (index, ring) in [(0, &self.rx), (1, &self.tx)] {
            frontend.set_vring_num(index, ring::SIZE).unwrap();
            let base = ring.used_index(&self.memory);
            frontend.set_vring_base(index, base).unwrap();
            let place = VringConfigData {
                queue_max_size: ring::SIZE,
                queue_size: ring::SIZE,
                flags: 0,
                desc_table_addr: USER + ring.descriptors(),
                used_ring_addr: USER + ring.used(),
                avail_ring_addr: USER + ring.available(),
                log_addr: None,
            };
            frontend.set_vring_addr(index, &place).unwrap();
            frontend.set_vring_kick(index, &ring.kick).unwrap();
            frontend.set_vring_call(index, &ring.call).unwrap();
            frontend.set_vring_enable(index, true).unwrap();
        }
        // The answer shows that all of the above was taken.
        frontend.get_features().unwrap();
    }

    pub(crate) fn station(&self) -> Station {
        sample::station(self.number)
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.tx.send(&self.memory, &[&[0; HEADER_LEN], frame]);
    }

    /// A datagram over IPv4.
    pub(crate) fn send_udp(&mut self, to: Station, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
        let frame = ipv4(self.station(), to, 17, &udp(ports.0, ports.1, data));
        self.send(&frame);
        frame
    }

    /// The next frame for it, which lies in one buffer.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        let bytes = self.rx.receive(&self.memory);
        let (header, frame) = bytes.split_at(HEADER_LEN);
        assert_eq!(header, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        frame.to_vec()
    }

    /// The next frame for it is this host's answer to a question of its own: nothing came before that.
    pub(crate) fn expect_silence(&mut self, of: Station) {
        self.send(&arp_request(self.station(), of.v4));
        let answer = self.receive();
        assert_eq!(answer[12..14], [8, 6], "{answer:02x?}");
        assert_eq!(answer[22..28], of.mac);
    }
}
