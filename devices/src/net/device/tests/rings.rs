//! Known attacks by descriptors, and by what lies behind them.

use bartizan_local::flow::Direction;

use super::lab::{INDIRECT, Lab, NEXT, RAM, SIZE, SPARE, WRITE, descriptor};
use crate::net::refusals::Reason;
use crate::net::sample::{ipv4, station, udp};

fn frame() -> Vec<u8> {
    ipv4(station(1), station(2), 17, &udp(1000, 53, b"whole"))
}

impl Lab {
    /// A chain of the first guest's that begins at descriptor 0 is refused, and given back.
    #[track_caller]
    fn blocks_chain(&mut self, reason: Reason) {
        self.blocks_what(1, reason, |lab| {
            lab.guest(1).offer(0);
            lab.run();
        });
        assert!(self.guest(1).has_all_back());
    }
}

/// Each test ends with a frame that passes: the ring goes on.
#[test]
fn descriptor_loops() {
    let mut lab = Lab::new();
    // Of nothing, to itself and in a circle.
    lab.guest(1).describe(1, 0, (SPARE, 0), NEXT, 0);
    lab.blocks_chain(Reason::Descriptors);
    lab.guest(1).describe(1, 0, (SPARE, 0), NEXT, 1);
    lab.guest(1).describe(1, 1, (SPARE, 0), NEXT, 0);
    lab.blocks_chain(Reason::Descriptors);
    // Of something: longer than any frame.
    for size in [1, 60, 0x1_0000] {
        lab.guest(1).describe(1, 0, (SPARE, size), NEXT, 1);
        lab.guest(1).describe(1, 1, (SPARE, size), NEXT, 0);
        lab.blocks_chain(Reason::Oversized);
    }
    lab.passes(1, 2, &frame());
}

#[test]
fn descriptors_outside_ram() {
    let mut lab = Lab::new();
    for place in [
        (RAM, 100),
        (RAM - 50, 100),
        (0x10_0000_0000, 100),
        (u64::MAX - 3, 100),
        (u64::MAX, 1),
        (RAM - 4, 12),
    ] {
        lab.guest(1).describe(1, 0, place, 0, 0);
        lab.blocks_chain(Reason::Descriptors);
        // Behind a header that is in RAM.
        lab.guest(1).describe(1, 0, (SPARE, 12), NEXT, 1);
        lab.guest(1).describe(1, 1, place, 0, 0);
        lab.blocks_chain(Reason::Descriptors);
    }
    lab.guest(1).describe(1, 0, (0, u32::MAX), 0, 0);
    lab.blocks_chain(Reason::Oversized);
    lab.passes(1, 2, &frame());
}

#[test]
fn chains_that_end_early_or_lead_nowhere() {
    let mut lab = Lab::new();
    for size in 0..12 {
        lab.guest(1).describe(1, 0, (SPARE, size), 0, 0);
        lab.blocks_chain(Reason::Descriptors);
    }
    lab.guest(1).describe(1, 0, (SPARE, 4), NEXT, SIZE);
    lab.blocks_chain(Reason::Descriptors);
    lab.guest(1).describe(1, 0, (SPARE, 4), NEXT, 0xffff);
    lab.blocks_chain(Reason::Descriptors);
    // For the device to write into: there is nothing to be read.
    lab.guest(1).describe(1, 0, (SPARE, 100), WRITE, 0);
    lab.blocks_chain(Reason::Descriptors);
    lab.passes(1, 2, &frame());
}

#[test]
fn chains_of_indirect_chains() {
    let mut lab = Lab::new();
    let table = SPARE + 0x1000;
    let of = |size| (table, size);
    // One that is told to hold another, which holds the first.
    lab.guest(1).write(&descriptor(of(16), INDIRECT, 0), table);
    lab.guest(1).describe(1, 0, of(16), INDIRECT, 0);
    lab.blocks_chain(Reason::Descriptors);
    // Of no whole descriptors, of none, of more than any ring has.
    for size in [15, 17, 1, 0, 16 * 0x1_0000] {
        lab.guest(1).describe(1, 0, of(size), INDIRECT, 0);
        lab.blocks_chain(Reason::Descriptors);
    }
    // Outside of RAM, at its end, misaligned past it.
    for at in [RAM, RAM - 8, u64::MAX - 15, 0x10_0000_0000] {
        lab.guest(1).describe(1, 0, (at, 32), INDIRECT, 0);
        lab.blocks_chain(Reason::Descriptors);
    }
    // A loop inside of one.
    lab.guest(1).write(&descriptor((SPARE, 0), NEXT, 0), table);
    lab.guest(1).describe(1, 0, of(16), INDIRECT, 0);
    lab.blocks_chain(Reason::Descriptors);
    // Said to have another descriptor behind it, which virtio 1.2 section 2.7.5.3.1 forbids: what it holds is looked at, alone.
    lab.guest(1).write(&descriptor((SPARE, 60), 0, 0), table);
    lab.guest(1).describe(1, 0, of(16), INDIRECT | NEXT, 0);
    lab.blocks_chain(Reason::EtherType);
    lab.passes(1, 2, &frame());
    // And one as it should be.
    let sent = frame();
    lab.guest(1).write(&[0; 12], SPARE);
    lab.guest(1).write(&sent, SPARE + 12);
    let size = u32::try_from(12 + sent.len()).unwrap();
    lab.guest(1).write(&descriptor((SPARE, size), 0, 0), table);
    lab.guest(1).describe(1, 0, of(16), INDIRECT, 0);
    lab.guest(1).offer(0);
    lab.run();
    assert_eq!(lab.received(2), [sent]);
}

#[test]
fn more_descriptors_than_any_packet_needs() {
    let mut lab = Lab::new();
    let whole = ipv4(station(1), station(2), 17, &udp(1000, 53, &[7; 100]));
    let sent = [[0; 12].as_slice(), &whole].concat();
    lab.guest(1).write(&sent, SPARE);
    let pieces = |lab: &mut Lab, count: u16| {
        for index in 0..count {
            let is_last = index + 1 == count;
            let size = if is_last {
                u32::try_from(sent.len()).unwrap() - u32::from(count - 1)
            } else {
                1
            };
            let flags = if is_last { 0 } else { NEXT };
            let at = SPARE + u64::from(index);
            lab.guest(1)
                .describe(1, index, (at, size), flags, index + 1);
        }
    };
    pieces(&mut lab, 65);
    lab.blocks_chain(Reason::Oversized);
    pieces(&mut lab, 63);
    lab.guest(1).offer(0);
    lab.run();
    assert_eq!(lab.received(2), [whole]);
}

/// A guest that breaks its ring loses its device, and nobody else does.
#[test]
fn a_ring_that_is_broken_harms_its_guest_alone() {
    let mut lab = Lab::with(&[false; 3], crate::net::flow::Limits::default());
    lab.guest(1).offer(SIZE);
    lab.guest(1).offer(0xffff);
    lab.run();
    lab.passes(
        2,
        3,
        &ipv4(station(2), station(3), 17, &udp(1, 2, b"whole")),
    );
    assert!(lab.received(1).is_empty());
}

/// The frame, its header, its descriptors are changed once they were judged; what waits and what arrives is what was judged.
#[test]
fn a_header_changed_after_it_was_judged() {
    let mut lab = Lab::new();
    lab.policy = Box::new(|_| None);
    lab.send(1, &frame());
    let question = lab.asked[0].clone();
    assert_eq!(question.flow.port, Some(53));
    let changed = ipv4(station(1), station(2), 17, &udp(1000, 22, b"other"));
    for slot in 0..u64::from(SIZE) {
        // Where tests' frames lie, each 64 bytes into its buffer.
        lab.guest(1).write(&changed, 0x40_0000 + slot * 0x1000 + 64);
    }
    for index in 0..SIZE {
        lab.guest(1).describe(1, index, (RAM, u32::MAX), NEXT, 0);
    }
    lab.policy = Box::new(|question| Some(question.flow.port == Some(53)));
    lab.answer(question);
    lab.run();
    assert_eq!(lab.received(2), [frame()]);
}

/// The receiver's descriptors: what it offers it harms itself by.
#[test]
fn buffers_that_take_no_packet() {
    let mut lab = Lab::with(&[false; 3], crate::net::flow::Limits::default());
    for index in 0..SIZE {
        // Outside of RAM, of nothing, not to be written into, loops of these.
        let (place, flags) = match index % 4 {
            0 => ((RAM, 4096), WRITE),
            1 => ((SPARE, 0), WRITE),
            2 => ((SPARE, 4096), 0),
            _ => ((SPARE, 0), WRITE | NEXT),
        };
        lab.guest(2).describe(0, index, place, flags, index);
    }
    for port in 0..300 {
        lab.send(
            1,
            &ipv4(station(1), station(2), 17, &udp(port, 53, b"data")),
        );
    }
    assert!(lab.refused(2, Direction::Ingress, Reason::Buffers) > 0);
    lab.passes(
        1,
        3,
        &ipv4(station(1), station(3), 17, &udp(1, 2, b"whole")),
    );
}
