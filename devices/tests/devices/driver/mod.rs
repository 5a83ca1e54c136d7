//! A guest: its RAM in a memfd, its driver's rings, and QEMU's end of the vhost-user link.

pub(crate) mod ring;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use bartizan_devices::vsock::{HEADER_LEN, HOST_CID, Header};
use bartizan_local::attachment::{Attach, Attached, DeviceKind};
use bartizan_write_tracking::{FileRange, Log, PAGE_SIZE};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

use self::ring::DriverRing;
use crate::daemon::{Daemon, attach_next, ticket};

pub(crate) const RAM: u64 = 4 << 20;
/// Where QEMU would have the RAM in its own address space.
const USER: u64 = 0x7000_0000_0000;

pub(crate) const REQUEST: u16 = 1;
pub(crate) const RESPONSE: u16 = 2;
pub(crate) const RST: u16 = 3;
pub(crate) const SHUTDOWN: u16 = 4;
pub(crate) const RW: u16 = 5;
pub(crate) const CREDIT_UPDATE: u16 = 6;
pub(crate) const CREDIT_REQUEST: u16 = 7;

/// A guest that survives its device's daemon.
pub(crate) struct Guest {
    pub(crate) cid: u32,
    pub(crate) memory: GuestMemoryMmap,
    ram: File,
    pub(crate) rx: DriverRing,
    pub(crate) tx: DriverRing,
    journal: File,
    /// What devices note of its RAM.
    log: OwnedFd,
    link: Option<(UnixStream, Frontend)>,
}

impl Guest {
    pub(crate) fn new(cid: u32) -> Self {
        let ram = ram_file(RAM, SealFlags::SHRINK);
        let mapped = FileOffset::new(ram.try_clone().unwrap(), 0);
        let range = (GuestAddress(0), usize::try_from(RAM).unwrap(), Some(mapped));
        let memory = GuestMemoryMmap::from_ranges_with_files([range]).unwrap();
        let journal = journal_file();
        let mut rx = DriverRing::new(0x10_000);
        let tx = DriverRing::new(0x20_000);
        rx.offer_all(&memory);
        Self {
            cid,
            memory,
            ram,
            rx,
            tx,
            journal,
            log: Log::create(RAM).unwrap(),
            link: None,
        }
    }

    pub(crate) fn attached(cid: u32, daemon: &Daemon, services: &[(u32, PathBuf)]) -> Self {
        let mut guest = Self::new(cid);
        guest.attach(daemon, services);
        guest
    }

    /// Has a device admitted, attaches it and sets it up as QEMU does at start, and as a replay does after a restart
    /// of the daemon: with each ring's base at its used index.
    pub(crate) fn attach(&mut self, daemon: &Daemon, services: &[(u32, PathBuf)]) {
        self.try_attach(daemon, services).unwrap();
    }

    pub(crate) fn try_attach(
        &mut self,
        daemon: &Daemon,
        services: &[(u32, PathBuf)],
    ) -> vhost::Result<()> {
        daemon.admit(self.cid, services);
        let wish = Attach {
            ticket: ticket(self.cid),
            device: DeviceKind::Vsock,
            logged: true,
        };
        let (link, answer) = attach_next(daemon, &wish, &[&self.journal, &self.log]);
        assert_eq!(answer, Attached::Serving);
        let frontend = Frontend::from_stream(link.try_clone().unwrap(), 2);
        self.link = Some((link, frontend));
        self.set_up()
    }

    fn set_up(&mut self) -> vhost::Result<()> {
        let (_, frontend) = self.link.as_mut().unwrap();
        let features = frontend.get_features().unwrap();
        let offered = frontend.get_protocol_features().unwrap();
        assert!(offered.contains(VhostUserProtocolFeatures::CONFIG));
        frontend
            .set_protocol_features(VhostUserProtocolFeatures::CONFIG)
            .unwrap();
        frontend.set_owner().unwrap();
        let flags = VhostUserConfigFlags::empty();
        let (_, space) = frontend.get_config(0, 8, flags, &[0; 8]).unwrap();
        assert_eq!(space, u64::from(self.cid).to_le_bytes());
        frontend.set_features(features).unwrap();
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: RAM,
            userspace_addr: USER,
            mmap_offset: 0,
            mmap_handle: self.ram.as_raw_fd(),
        };
        frontend.set_mem_table(&[region])?;
        for (index, ring) in [(0, &self.rx), (1, &self.tx)] {
            frontend.set_vring_num(index, ring::SIZE)?;
            frontend.set_vring_base(index, ring.used_index(&self.memory))?;
            let place = VringConfigData {
                queue_max_size: ring::SIZE,
                queue_size: ring::SIZE,
                flags: 0,
                desc_table_addr: USER + ring.descriptors(),
                used_ring_addr: USER + ring.used(),
                avail_ring_addr: USER + ring.available(),
                log_addr: None,
            };
            frontend.set_vring_addr(index, &place)?;
            frontend.set_vring_kick(index, &ring.kick)?;
            frontend.set_vring_call(index, &ring.call)?;
            frontend.set_vring_enable(index, true)?;
        }
        // The answer shows that all of the above was taken.
        frontend.get_features().map(|_| ())
    }

    /// What QEMU does where the VM stops: takes the rings back.
    pub(crate) fn stop(&mut self) {
        let (_, frontend) = self.link.as_mut().unwrap();
        for (index, ring) in [(0, &self.rx), (1, &self.tx)] {
            let base = frontend.get_vring_base(index).unwrap();
            assert_eq!(base, u32::from(ring.used_index(&self.memory)));
        }
    }

    /// Takes what was noted: pages of the RAM.
    pub(crate) fn take_notes(&self) -> BTreeSet<u64> {
        let log = Log::map(&self.log, RAM).unwrap();
        let mut pages = BTreeSet::new();
        log.take(FileRange::new(0, RAM).unwrap(), |range| {
            pages.extend(range.offset() / PAGE_SIZE..range.end() / PAGE_SIZE);
        });
        pages
    }

    /// Has devices note in that file from the next attachment on.
    pub(crate) fn use_log(&mut self, log: OwnedFd) {
        self.log = log;
    }

    /// What QEMU does around a stop of the VM: takes the rings back and gives them again.
    pub(crate) fn stop_and_continue(&mut self) {
        self.stop();
        let (_, frontend) = self.link.as_mut().unwrap();
        for (index, ring) in [(0, &self.rx), (1, &self.tx)] {
            frontend
                .set_vring_base(index, ring.used_index(&self.memory))
                .unwrap();
            frontend.set_vring_kick(index, &ring.kick).unwrap();
            frontend.set_vring_call(index, &ring.call).unwrap();
        }
    }

    /// A packet to the host, of the guest's own CID, on guest port 1000.
    pub(crate) fn header(&self, op: u16, port: u32) -> Header {
        Header {
            src_cid: self.cid.into(),
            dst_cid: HOST_CID,
            src_port: 1000,
            dst_port: port,
            kind: 1,
            op,
            buf_alloc: 64 << 10,
            ..Header::default()
        }
    }

    pub(crate) fn send(&mut self, header: &Header, payload: &[u8]) {
        self.tx.send(&self.memory, &[&header.to_bytes(), payload]);
    }

    pub(crate) fn send_data(&mut self, port: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap();
        let header = Header {
            len,
            ..self.header(RW, port)
        };
        self.send(&header, payload);
    }

    /// The next packet from the host.
    pub(crate) fn receive(&mut self) -> (Header, Vec<u8>) {
        let bytes = self.rx.receive(&self.memory);
        let header = Header::from_bytes(bytes[..HEADER_LEN].try_into().unwrap());
        assert_eq!(header.dst_cid, u64::from(self.cid));
        assert_eq!(header.len as usize, bytes.len() - HEADER_LEN);
        (header, bytes[HEADER_LEN..].to_vec())
    }

    pub(crate) fn expect(&mut self, op: u16) -> (Header, Vec<u8>) {
        let (header, payload) = self.receive();
        assert_eq!(header.op, op, "{header:?}");
        (header, payload)
    }

    pub(crate) fn connect(&mut self, port: u32) {
        self.send(&self.header(REQUEST, port), &[]);
        self.expect(RESPONSE);
    }

    /// The next packet is the answer to a probe, so that nothing came before it.
    pub(crate) fn expect_silence(&mut self) {
        let probe = Header {
            src_port: 9999,
            ..self.header(REQUEST, 9998)
        };
        self.send(&probe, &[]);
        let (answer, _) = self.expect(RST);
        assert_eq!((answer.dst_port, answer.src_port), (9999, 9998));
    }

    pub(crate) fn use_ram(&mut self, ram: File) {
        self.ram = ram;
    }

    pub(crate) fn lose_journal(&mut self) {
        self.journal = journal_file();
    }

    /// Whether the device is gone.
    pub(crate) fn is_cut_off(&self) -> bool {
        let (link, _) = self.link.as_ref().unwrap();
        // Until the daemon's end, or the test's deadline.
        (&mut &*link).read(&mut [0]).unwrap() == 0
    }

    /// What QEMU does when it ends.
    pub(crate) fn hang_up(&mut self) {
        self.link = None;
    }
}

fn journal_file() -> File {
    ram_file(64 << 10, SealFlags::SHRINK | SealFlags::GROW)
}

pub(crate) fn ram_file(size: u64, seals: SealFlags) -> File {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create("ram", flags).unwrap());
    file.set_len(size).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file
}
