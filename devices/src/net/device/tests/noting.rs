//! What devices write of guests' RAM is noted, whatever guests do.

use proptest::prelude::*;
use vhost::vhost_user::VhostUserBackendReqHandlerMut;

use super::lab::{BUFFERS, Lab, NEXT, RAM, RINGS, SIZE, SPARE, WRITE};
use crate::net::header::{HEADER_LEN, feature};
use crate::net::sample::{ipv4, station, udp};
use crate::vhost_user::noted::Pages;

/// What the two guests do between two looks at their RAM.
#[derive(Clone, Debug)]
enum Act {
    /// A guest sends so many frames with so many bytes of data.
    Send(u8, usize, usize),
    /// It takes what there is for it, and offers its buffers again.
    Take(u8),
    /// It takes these features, or not.
    Features(u8, u64),
    /// It writes anything into a descriptor, and offers it: a ring, which, where and how much, flags, next.
    Describe(u8, usize, u16, (u64, u32), u16, u16),
    /// It says how far it has offered chains of a ring: so many more.
    Offer(u8, usize, u16),
    /// Its QEMU takes a ring back and gives it again.
    Stop(u8, u32),
    /// Its QEMU switches a ring.
    Switch(u8, u32, bool),
}

fn acts() -> impl Strategy<Value = Act> {
    let guest = 1..3_u8;
    let place = prop_oneof![0..RAM, Just(RAM - 7), SPARE..SPARE + 0x8000];
    let size = prop_oneof![0..9000_u32, any::<u32>()];
    prop_oneof![
        6 => (guest.clone(), 1..40_usize, prop_oneof![0..1400_usize, Just(1400)])
            .prop_map(|(guest, count, size)| Act::Send(guest, count, size)),
        3 => guest.clone().prop_map(Act::Take),
        1 => (guest.clone(), any::<u64>()).prop_map(|(guest, bits)| Act::Features(guest, bits)),
        2 => (guest.clone(), 0..2_usize, 0..SIZE, (place, size), 0..8_u16, 0..SIZE)
            .prop_map(|(guest, ring, index, place, flags, next)| {
                Act::Describe(guest, ring, index, place, flags, next)
            }),
        1 => (guest.clone(), 0..2_usize, 0..SIZE).prop_map(|(guest, ring, more)| Act::Offer(guest, ring, more)),
        1 => (guest.clone(), 0..2_u32).prop_map(|(guest, ring)| Act::Stop(guest, ring)),
        1 => (guest, 0..2_u32, any::<bool>()).prop_map(|(guest, ring, on)| Act::Switch(guest, ring, on)),
    ]
}

fn frame(from: u8, port: u16, data: &[u8]) -> Vec<u8> {
    ipv4(station(from), station(3 - from), 17, &udp(port, 53, data))
}

impl Lab {
    fn act(&mut self, act: &Act) {
        match *act {
            Act::Send(number, count, size) => {
                for port in (1000..).take(count) {
                    let frame = frame(number, port, &vec![number; size]);
                    self.guest(number).offer_frame(&[0; HEADER_LEN], &frame);
                }
            }
            Act::Take(number) => {
                self.received(number);
            }
            Act::Features(number, bits) => {
                let features = bits & (feature::OFFERED | feature::EVENT_INDEX);
                self.guest(number).take_features(features);
            }
            Act::Describe(number, ring, index, place, flags, next) => {
                let guest = self.guest(number);
                guest.describe(ring, index, place, flags, next);
                guest.offer(index);
            }
            Act::Offer(number, ring, more) => {
                let guest = self.guest(number);
                let index = guest.offered(ring).wrapping_add(more);
                guest.offer_any(ring, &[], index);
            }
            Act::Stop(..) | Act::Switch(..) => {}
        }
    }

    /// What is said to the devices, which write then, too.
    fn say(&mut self, act: &Act) {
        match *act {
            Act::Stop(number, ring) => {
                let backend = &mut self.guest(number).backend;
                let base = backend.get_vring_base(ring).unwrap();
                backend.set_vring_base(ring, base.num).unwrap();
                let ring = u8::try_from(ring).unwrap();
                backend.set_vring_kick(ring, None).unwrap();
            }
            Act::Switch(number, ring, on) => {
                let backend = &mut self.guest(number).backend;
                backend.set_vring_enable(ring, on).unwrap();
            }
            _ => {}
        }
    }

    /// Has devices do that, and all that comes of it; returns the pages that each guest's device noted.
    fn noting(&mut self, what: impl FnOnce(&mut Self)) -> Vec<Pages> {
        self.guests.iter_mut().for_each(|guest| guest.noted.begin());
        what(self);
        self.run();
        let guests = self.guests.iter_mut();
        guests.map(|guest| guest.noted.end()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_that_is_written_is_noted(acts in prop::collection::vec(acts(), 1..12)) {
        let mut lab = Lab::new();
        for act in acts {
            lab.act(&act);
            lab.noting(|lab| lab.say(&act));
        }
    }
}

/// The pages of these places.
fn pages(places: impl IntoIterator<Item = u64>) -> Pages {
    places.into_iter().map(|at| at / 4096).collect()
}

/// The buffer and the used rings, in which they say whether they want kicks, and nothing else.
#[test]
fn no_more_is_noted_than_is_written() {
    let mut lab = Lab::new();
    let used = |ring: usize| RINGS[ring] + 0x2000;
    lab.noting(|_| ());
    let idle = [pages([used(1)]), pages([used(1)])];
    assert_eq!(lab.noting(|_| ()), idle);
    let sent = frame(1, 1000, b"data");
    lab.guest(1).offer_frame(&[0; HEADER_LEN], &sent);
    let noted = lab.noting(|_| ());
    let receiver = pages([used(1), used(0), BUFFERS[0]]);
    assert_eq!(noted, [idle[0].clone(), receiver]);
    assert_eq!(lab.received(2), [sent]);
}

/// What QEMU stops for is the guest's RAM as it is then.
#[test]
fn nothing_is_written_once_qemu_has_its_rings_back() {
    let mut lab = Lab::new();
    let noted = lab.noting(|lab| {
        for number in [1, 2] {
            for ring in [0, 1] {
                lab.guest(number).backend.get_vring_base(ring).unwrap();
            }
        }
    });
    // That they want kicks again, whoever serves next.
    assert!(noted.iter().all(|pages| pages.len() <= 2));
    for (port, flags) in [(1000, WRITE), (1001, NEXT)] {
        for number in [1, 2] {
            let guest = lab.guest(number);
            guest.describe(0, 0, (SPARE, 100), flags, 0);
            guest.offer_frame(&[0; HEADER_LEN], &frame(number, port, b"late"));
        }
        for on in [false, true] {
            let noted = lab.noting(|lab| {
                for (number, ring) in [(1, 0), (1, 1), (2, 0), (2, 1)] {
                    let backend = &mut lab.guest(number).backend;
                    backend.set_vring_enable(ring, on).unwrap();
                }
            });
            assert_eq!(noted, [Pages::new(), Pages::new()]);
        }
    }
}
