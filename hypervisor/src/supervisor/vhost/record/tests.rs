use proptest::prelude::*;

use super::*;
use crate::qemu::ram::RamFile;

const USER: u64 = 0x7f00_0000_0000;

fn duplicate_of(file: impl AsFd) -> OwnedFd {
    file.as_fd().try_clone_to_owned().unwrap()
}

fn message(request: Request, payload: Vec<u8>, descriptors: Vec<OwnedFd>) -> Message {
    Message {
        descriptors,
        ..Message::new(request, payload)
    }
}

/// A session with ring 1 running at base 3, its used ring at offset 0x2000 of RAM.
fn session(ram: &RamFile) -> Recorded {
    let event = || duplicate_of(std::fs::File::open("/dev/null").unwrap());
    let table = [1, 0, 1 << 20, USER, 0].map(u64::to_ne_bytes).concat();
    let addresses = RingAddresses {
        index: 1,
        flags: 0,
        descriptors: USER,
        used: USER + 0x2000,
        available: USER + 0x1000,
        log: 0,
    };
    let number = |value: u64| value.to_ne_bytes().to_vec();
    let ring = |value: u32| {
        Ring {
            index: 1,
            number: value,
        }
        .bytes()
    };
    let mut recorded = Recorded::default();
    for mut message in [
        message(Request::SetOwner, vec![], vec![]),
        message(Request::SetFeatures, number(1 << 32), vec![]),
        message(Request::SetProtocolFeatures, number(1 << 3), vec![]),
        message(Request::SetMemoryTable, table, vec![duplicate_of(ram)]),
        message(Request::SetRingSize, ring(128), vec![]),
        message(Request::SetRingBase, ring(3), vec![]),
        message(Request::SetRingAddresses, addresses.bytes(), vec![]),
        message(Request::SetRingKick, number(1), vec![event()]),
        message(Request::SetRingCall, number(1), vec![event()]),
        message(Request::SetRingEnable, ring(1), vec![]),
    ] {
        recorded.record(&mut message, ram).unwrap();
    }
    recorded
}

fn told(recorded: &Recorded) -> Vec<(Request, usize)> {
    let repeat = recorded.repeat().unwrap();
    repeat
        .iter()
        .map(|one| (one.header.request, one.descriptors.len()))
        .collect()
}

#[test]
fn new_back_end_is_told_everything_in_order_and_begins_at_the_used_index() {
    let ram = RamFile::create(1 << 20).unwrap();
    let recorded = session(&ram);
    rustix::io::pwrite(&ram, &9u16.to_le_bytes(), 0x2002).unwrap();
    assert_eq!(
        told(&recorded),
        [
            (Request::SetOwner, 0),
            (Request::SetFeatures, 0),
            (Request::SetProtocolFeatures, 0),
            (Request::SetMemoryTable, 1),
            (Request::SetRingSize, 0),
            (Request::SetRingBase, 0),
            (Request::SetRingAddresses, 0),
            (Request::SetRingCall, 1),
            (Request::SetRingKick, 1),
            (Request::SetRingEnable, 0),
        ]
    );
    let repeat = recorded.repeat().unwrap();
    let base = repeat
        .iter()
        .find(|one| one.header.request == Request::SetRingBase)
        .unwrap();
    assert_eq!(
        base.payload,
        Ring {
            index: 1,
            number: 9
        }
        .bytes()
    );
    assert_eq!(recorded.wakers().count(), 2);
}

#[test]
fn stopped_ring_keeps_the_base_that_it_stopped_at() {
    let ram = RamFile::create(1 << 20).unwrap();
    let mut recorded = session(&ram);
    rustix::io::pwrite(&ram, &9u16.to_le_bytes(), 0x2002).unwrap();
    let stop = message(
        Request::GetRingBase,
        Ring {
            index: 1,
            number: 0,
        }
        .bytes(),
        vec![],
    );
    let answer = recorded.answer(&stop).unwrap().unwrap();
    assert_eq!(
        answer.payload,
        Ring {
            index: 1,
            number: 9
        }
        .bytes()
    );
    rustix::io::pwrite(&ram, &50u16.to_le_bytes(), 0x2002).unwrap();
    assert_eq!(recorded.position(1).unwrap(), 9);
    assert!(
        !told(&recorded)
            .iter()
            .any(|(request, _)| *request == Request::SetRingKick)
    );
}

#[test]
fn questions_about_the_back_end_have_no_answer_without_one() {
    let mut recorded = Recorded::default();
    let ask = |request| Message::new(request, vec![]);
    assert!(
        recorded
            .answer(&ask(Request::GetFeatures))
            .unwrap()
            .is_none()
    );
    assert!(recorded.answer(&ask(Request::GetConfig)).unwrap().is_none());
    assert!(recorded.answer(&ask(Request::SetOwner)).unwrap().is_some());
}

#[test]
fn descriptor_that_is_promised_but_absent_is_refused() {
    let ram = RamFile::create(4096).unwrap();
    let mut recorded = Recorded::default();
    for number in [0u64, 1 << 9, u64::MAX] {
        let mut kick = message(Request::SetRingKick, number.to_ne_bytes().to_vec(), vec![]);
        assert!(recorded.record(&mut kick, &ram).is_err(), "{number:#x}");
    }
    let mut polled = message(
        Request::SetRingKick,
        (1u64 << 8).to_ne_bytes().to_vec(),
        vec![],
    );
    recorded.record(&mut polled, &ram).unwrap();
}

proptest! {
    #[test]
    fn any_sequence_is_recorded_or_refused_without_a_panic(
        messages in proptest::collection::vec((0u32..26, proptest::collection::vec(any::<u8>(), 0..48)), 0..24),
    ) {
        let ram = RamFile::create(4096).unwrap();
        let mut recorded = Recorded::default();
        for (number, payload) in messages {
            let Some(request) = Request::from_number(number) else { continue };
            let mut message = Message::new(request, payload);
            if recorded.record(&mut message, &ram).is_ok() {
                let _ = recorded.answer(&message);
            }
        }
        let _ = recorded.repeat();
    }
}
