//! A guest's RAM, and its rings as its driver has them.

use std::sync::Arc;

use rustix::event::{EventfdFlags, epoll, eventfd};
use vhost::vhost_user::VhostUserBackendReqHandlerMut;
use vhost::vhost_user::message::{VhostUserMemoryRegion, VhostUserVringAddrFlags};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_INDIRECT_DESC;
use vm_memory::{Bytes, GuestAddress};

use crate::net::device::{Core, KICKS};
use crate::net::header::{HEADER_LEN, feature};
use crate::vhost_user::noted::Noted;
use crate::vhost_user::{Backend, Memory, Offer};

/// Bytes of a guest's RAM.
pub(in crate::net::device::tests) const RAM: u64 = 8 << 20;
/// Descriptors of a ring.
pub(in crate::net::device::tests) const SIZE: u16 = 256;
pub(in crate::net::device::tests) const NEXT: u16 = 1;
pub(in crate::net::device::tests) const WRITE: u16 = 2;
pub(in crate::net::device::tests) const INDIRECT: u16 = 4;
/// Most pairs of rings.
const PAIRS: usize = 3;
/// Where things are in RAM, by rings: one's three parts a page apart, and the buffers of each.
pub(in crate::net::device::tests) const RINGS: [u64; 2 * PAIRS] = [0x1_0000, 0x2_0000, 0x3_0000, 0x4_0000, 0x5_0000, 0x6_0000];
pub(in crate::net::device::tests) const BUFFERS: [u64; 2 * PAIRS] = [
    0x10_0000, 0x40_0000, 0x20_0000, 0x50_0000, 0x30_0000, 0x60_0000,
];
const BUFFER: u64 = 4 << 10;
/// Bytes of a frame that two buffers take, behind a header.
const IN_TWO: usize = (8 << 10) - 64;
/// In tests' RAM nothing else is here.
pub(in crate::net::device::tests) const SPARE: u64 = 0x70_0000;

/// One of them, by the station of the same number.
pub(in crate::net::device::tests) struct NetGuest {
    pub(in crate::net::device::tests) core: Core,
    pub(in crate::net::device::tests) backend: Backend,
    /// The pair that it sends by.
    pub(in crate::net::device::tests) sends_by: usize,
    /// Who measures its RAM.
    pub(in crate::net::device::tests) noted: Noted,
    sent: [u16; PAIRS],
    received: [u16; PAIRS],
}

impl NetGuest {
    pub(super) fn new(core: Core, pairs: usize) -> Self {
        let (noted, ram, log) = Noted::new(RAM);
        let offer = Offer {
            features: feature::OFFERED | feature::QUEUES | feature::EVENT_INDEX,
            space: None,
            pairs,
        };
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap());
        let mut backend = Backend::new(offer, epoll, KICKS)
            .unwrap()
            .logged(Some(log));
        let region = VhostUserMemoryRegion::new(0, RAM, 0, 0);
        backend.set_mem_table(&[region], vec![ram], None).unwrap();
        for (index, at) in (0..).zip(RINGS).take(2 * pairs) {
            backend.set_vring_num(index, SIZE.into()).unwrap();
            backend.set_vring_base(index, 0).unwrap();
            let flags = VhostUserVringAddrFlags::empty();
            backend
                .set_vring_addr(index, flags, at, at + 0x2000, at + 0x1000, 0)
                .unwrap();
            let kick = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
            let index = u8::try_from(index).unwrap();
            backend.set_vring_kick(index, Some(kick.into())).unwrap();
        }
        let mut guest = Self {
            core,
            backend,
            sends_by: 0,
            noted,
            sent: [0; PAIRS],
            received: [0; PAIRS],
        };
        let several = if pairs > 1 { feature::QUEUES } else { 0 };
        guest.take_features(feature::OFFERED | several);
        for (ring, index) in
            (0..pairs).flat_map(|pair| (0..SIZE).map(move |index| (2 * pair, index)))
        {
            let at = BUFFERS[ring] + u64::from(index) * BUFFER;
            guest.describe(ring, index, (at, 4 << 10), WRITE, 0);
            guest.publish(ring, index, index);
        }
        guest
    }

    /// What the driver takes of what is offered.
    pub(in crate::net::device::tests) fn take_features(&mut self, features: u64) {
        let basic = (1 << VIRTIO_F_VERSION_1) | (1 << VIRTIO_RING_F_INDIRECT_DESC);
        self.backend.set_features(basic | features).unwrap();
    }

    pub(in crate::net::device::tests) fn ram(&self) -> &Memory {
        &self.backend.ram.memory
    }

    pub(in crate::net::device::tests) fn write(&self, bytes: &[u8], at: u64) {
        self.ram().write_slice(bytes, GuestAddress(at)).unwrap();
    }

    /// Writes a descriptor of the rx ring (0) or the tx ring (1).
    pub(in crate::net::device::tests) fn describe(
        &self,
        ring: usize,
        index: u16,
        (at, size): (u64, u32),
        flags: u16,
        next: u16,
    ) {
        self.write(
            &descriptor((at, size), flags, next),
            RINGS[ring] + 16 * u64::from(index),
        );
    }

    fn publish(&self, ring: usize, entry: u16, head: u16) {
        let available = RINGS[ring] + 0x1000;
        let place = available + 4 + 2 * u64::from(entry % SIZE);
        self.write(&head.to_le_bytes(), place);
        self.write(&entry.wrapping_add(1).to_le_bytes(), available + 2);
    }

    /// Offers these chains of a ring, true or not, up to that index.
    pub(in crate::net::device::tests) fn offer_any(&self, ring: usize, heads: &[u16], index: u16) {
        let available = RINGS[ring] + 0x1000;
        for (entry, head) in (0..).zip(heads) {
            self.write(&head.to_le_bytes(), available + 4 + 2 * entry);
        }
        self.write(&index.to_le_bytes(), available + 2);
    }

    /// How far it has offered chains of a ring.
    pub(in crate::net::device::tests) fn offered(&self, ring: usize) -> u16 {
        let at = GuestAddress(RINGS[ring] + 0x1002);
        u16::from_le(self.ram().read_obj(at).unwrap())
    }

    /// Has the device look at a chain of the tx ring.
    pub(in crate::net::device::tests) fn offer(&mut self, head: u16) {
        let pair = self.sends_by;
        self.publish(2 * pair + 1, self.sent[pair], head);
        self.sent[pair] = self.sent[pair].wrapping_add(1);
    }

    /// A frame with its header, in a chain of two.
    pub(in crate::net::device::tests) fn offer_frame(&mut self, header: &[u8], frame: &[u8]) {
        let (ring, sent) = (2 * self.sends_by + 1, self.sent[self.sends_by]);
        let head = sent % (SIZE / 2) * 2;
        let at = BUFFERS[ring] + u64::from(head) * BUFFER;
        let at = if frame.len() > IN_TWO { SPARE } else { at };
        self.write(header, at);
        self.write(frame, at + 64);
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        self.describe(ring, head, (at, size(header)), NEXT, head + 1);
        self.describe(ring, head + 1, (at + 64, size(frame)), 0, 0);
        self.offer(head);
    }

    /// Whether the device gave all chains back.
    pub(in crate::net::device::tests) fn has_all_back(&self) -> bool {
        self.used(2 * self.sends_by + 1) == self.sent[self.sends_by]
    }

    /// How many chains of a pair's tx ring it gave back, of all times.
    pub(in crate::net::device::tests) fn taken(&self, pair: usize) -> u16 {
        self.used(2 * pair + 1)
    }

    fn used(&self, ring: usize) -> u16 {
        let at = GuestAddress(RINGS[ring] + 0x2002);
        u16::from_le(self.ram().read_obj(at).unwrap())
    }

    /// By which entry it is to kick, of those that it offers.
    pub(in crate::net::device::tests) fn is_to_kick_by(&self, ring: usize) -> u16 {
        let at = RINGS[ring] + 0x2004 + 8 * u64::from(SIZE);
        u16::from_le(self.ram().read_obj(GuestAddress(at)).unwrap())
    }

    /// Whether the device has told it to kick.
    pub(in crate::net::device::tests) fn is_to_kick(&self, ring: usize) -> bool {
        let at = GuestAddress(RINGS[ring] + 0x2000);
        u16::from_le(self.ram().read_obj(at).unwrap()) & 1 == 0
    }

    pub(super) fn received(&mut self) -> Vec<Vec<u8>> {
        self.received_by(0)
    }

    /// By the rx ring of that pair.
    pub(in crate::net::device::tests) fn received_by(&mut self, pair: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while self.received[pair] != self.used(2 * pair) {
            let mut bytes = self.receive_by(pair);
            let buffers = u16::from_le_bytes([bytes[10], bytes[11]]);
            for _ in 1..buffers {
                let more = self.receive_by(pair);
                bytes.extend(more);
            }
            frames.push(bytes.split_off(HEADER_LEN));
        }
        frames
    }

    /// The bytes of the next used buffer, which is offered again.
    pub(in crate::net::device::tests) fn receive(&mut self) -> Vec<u8> {
        self.receive_by(0)
    }

    fn receive_by(&mut self, pair: usize) -> Vec<u8> {
        let (ring, received) = (2 * pair, self.received[pair]);
        let entry = RINGS[ring] + 0x2004 + 8 * u64::from(received % SIZE);
        let [head, size]: [u32; 2] = self.ram().read_obj(GuestAddress(entry)).unwrap();
        let mut bytes = vec![0; size as usize];
        let at = GuestAddress(BUFFERS[ring] + u64::from(head) * BUFFER);
        self.ram().read_slice(&mut bytes, at).unwrap();
        let offered = received.wrapping_add(SIZE);
        self.publish(ring, offered, u16::try_from(head).unwrap());
        self.received[pair] = received.wrapping_add(1);
        bytes
    }
}

/// A descriptor's bytes (virtio 1.2 section 2.7.5).
pub(in crate::net::device::tests) fn descriptor(
    (at, size): (u64, u32),
    flags: u16,
    next: u16,
) -> Vec<u8> {
    [
        at.to_le_bytes().as_slice(),
        &size.to_le_bytes(),
        &flags.to_le_bytes(),
        &next.to_le_bytes(),
    ]
    .concat()
}
