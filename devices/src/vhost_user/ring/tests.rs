use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use vm_memory::Bytes;

use super::*;

#[test]
fn only_an_eventfd_is_kept_to_be_signalled() {
    let mut ring = Ring::new().unwrap();
    let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    ring.signal_to(Some(event.into())).unwrap();
    let (socket, _peer) = UnixStream::pair().unwrap();
    let (pipe, _end) = std::io::pipe().unwrap();
    for other in [
        OwnedFd::from(socket),
        pipe.into(),
        tempfile::tempfile().unwrap().into(),
    ] {
        let refused = ring.signal_to(Some(other.into()));
        assert!(matches!(refused, Err(RingError::NotAnEvent)), "{refused:?}");
    }
}

fn write(event: &OwnedFd, count: u64) {
    rustix::io::write(event, &count.to_ne_bytes()).unwrap();
}

/// How many events there are now.
fn events(epoll: &OwnedFd) -> usize {
    let mut events = Vec::with_capacity(4);
    let buffer = rustix::buffer::spare_capacity(&mut events);
    epoll::wait(epoll, buffer, Some(&AT_ONCE)).unwrap()
}

#[test]
fn each_kick_is_an_event_though_none_is_read() {
    let mut ring = Ring::new().unwrap();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let kick = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let start = |ring: &mut Ring| {
        let shared = kick.try_clone().unwrap();
        ring.start(Some(shared.into()), &epoll, 7).unwrap();
    };
    start(&mut ring);
    assert_eq!(events(&epoll), 0);
    for _ in 0..3 {
        write(&kick, 1);
        assert_eq!(events(&epoll), 1);
        assert_eq!(events(&epoll), 0);
    }
    // What was kicked while nobody watched is not lost.
    ring.stop(&View::of(&Memory::default()), &epoll);
    write(&kick, 1);
    assert_eq!(events(&epoll), 0);
    start(&mut ring);
    assert_eq!(events(&epoll), 1);
    assert_eq!(events(&epoll), 0);
}

/// Known attack: QEMU has the device's thread wait for ever in a signal to itself.
#[test]
fn a_full_counter_is_not_waited_for() {
    let mut ring = Ring::new().unwrap();
    let call = eventfd(0, EventfdFlags::empty()).unwrap();
    ring.signal_to(Some(call.try_clone().unwrap().into()))
        .unwrap();
    fcntl_setfl(&call, OFlags::empty()).unwrap();
    write(&call, u64::MAX - 1);
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        ring.signal(&View::of(&Memory::default()));
        done.send(ring).unwrap();
    });
    let mut ring = is_done.recv_timeout(Duration::from_secs(10)).unwrap();
    // One with room is signalled.
    let mut count = [0; 8];
    rustix::io::read(&call, &mut count).unwrap();
    ring.signal_to(Some(call.try_clone().unwrap().into()))
        .unwrap();
    ring.signal(&View::of(&Memory::default()));
    rustix::io::read(&call, &mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 1);
}

#[test]
fn a_driver_that_looks_by_itself_is_not_signalled() {
    let ram = Memory::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
    let mut ring = Ring::new().unwrap();
    let [descriptors, available, used] = [0, 0x2000, 0x3000].map(GuestAddress);
    ring.place(&ram, descriptors, available, used).unwrap();
    let call = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let shared = call.try_clone().unwrap();
    ring.signal_to(Some(shared.into())).unwrap();
    let mut count = [0; 8];
    for (flags, signalled) in [(NO_INTERRUPT, false), (0, true), (NO_INTERRUPT, false)] {
        ram.write_obj(flags.to_le(), available).unwrap();
        let view = View::of(&ram);
        ring.give_back(&view, 0, 0);
        ring.signal(&view);
        assert_eq!(rustix::io::read(&call, &mut count).is_ok(), signalled);
    }
}

const DESCRIPTORS: GuestAddress = GuestAddress(0);
const AVAILABLE: GuestAddress = GuestAddress(0x2000);
const USED: GuestAddress = GuestAddress(0x3000);

/// RAM with a ring of 64 descriptors that runs.
fn running() -> (Memory, Ring) {
    let ram = Memory::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
    let mut ring = Ring::new().unwrap();
    ring.resize(64).unwrap();
    ring.place(&ram, DESCRIPTORS, AVAILABLE, USED).unwrap();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    ring.start(None, &epoll, 0).unwrap();
    ring.enable(true);
    (ram, ring)
}

/// Offers chains up to that index.
fn offer(ram: &Memory, index: u16) {
    ram.write_obj(index.to_le(), GuestAddress(AVAILABLE.0 + 2))
        .unwrap();
}

fn used(ram: &Memory) -> (u16, u16) {
    let word = |at| u16::from_le(ram.read_obj(GuestAddress(USED.0 + at)).unwrap());
    (word(0), word(2))
}

#[test]
fn a_guest_is_to_kick_only_while_nobody_looks() {
    let (ram, mut ring) = running();
    let view = View::of(&ram);
    assert!(!ring.want_kicks(&view, false));
    assert_eq!(used(&ram).0, NO_NOTIFY);
    offer(&ram, 1);
    // It may have seen that it need not kick.
    assert!(ring.want_kicks(&view, true));
    assert_eq!(used(&ram).0, 0);
    // Once: what waits for more than it has offered is not looked at over and over.
    assert!(!ring.want_kicks(&view, true));
    assert!(ring.pop(&view).is_some() && ring.pop(&view).is_none());
    // Whatever stands there from before, as who served the ring last has left it.
    ring.want_kicks(&view, false);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    assert_eq!(ring.stop(&view, &epoll), 1);
    assert_eq!(used(&ram).0, 0);
    ram.write_obj(NO_NOTIFY.to_le(), USED).unwrap();
    ring.place(&ram, DESCRIPTORS, AVAILABLE, USED).unwrap();
    ring.start(None, &epoll, 0).unwrap();
    assert!(!ring.want_kicks(&view, true));
    assert_eq!(used(&ram).0, 0);
}

#[test]
fn chains_are_given_back_several_at_a_time() {
    let (ram, mut ring) = running();
    let view = View::of(&ram);
    for head in 0..MOST_UNSEEN - 1 {
        ring.add_used(&view, &[(head, 7)]);
    }
    assert_eq!(used(&ram).1, 0);
    // Those of one packet are seen together.
    ring.add_used(&view, &[(40, 8), (41, 9)]);
    assert_eq!(used(&ram).1, MOST_UNSEEN + 1);
    ring.add_used(&view, &[(42, 10)]);
    assert_eq!(used(&ram).1, MOST_UNSEEN + 1);
    ring.signal(&view);
    assert_eq!(used(&ram).1, MOST_UNSEEN + 2);
    let entry = |index: u64| -> (u32, u32) {
        let at = |field| GuestAddress(USED.0 + 4 + 8 * index + field);
        let word = |field| u32::from_le(ram.read_obj(at(field)).unwrap());
        (word(0), word(4))
    };
    assert_eq!((entry(3), entry(31), entry(32)), ((3, 7), (40, 8), (41, 9)));
}

/// Known attack: a guest offers more than there is, or gives what is no descriptor of its table.
#[test]
fn a_ring_that_breaks_its_rules_rests() {
    let (ram, mut ring) = running();
    let view = View::of(&ram);
    offer(&ram, 65);
    assert!(ring.pop(&view).is_none());
    offer(&ram, 1);
    assert!(ring.pop(&view).is_none());
    ring.place(&ram, DESCRIPTORS, AVAILABLE, USED).unwrap();
    ram.write_obj(64_u16.to_le(), GuestAddress(AVAILABLE.0 + 4))
        .unwrap();
    let mut chain = ring.pop(&view).unwrap();
    assert!(chain.next().is_none());
    ring.give_back(&view, 64, 0);
    offer(&ram, 2);
    assert!(ring.pop(&view).is_none());
    assert_eq!(used(&ram).1, 0);
}

/// A guest that offers something just as its device goes to rest, and does not kick since it was told not to, would wait for ever.
#[test]
fn nothing_that_is_offered_waits_for_a_kick_that_does_not_come() {
    exchange_chains(false);
}

#[test]
fn nor_by_event_indices() {
    exchange_chains(true);
}

fn exchange_chains(has_event_index: bool) {
    const CHAINS: u16 = 30_000;
    let (ram, mut ring) = running();
    ring.use_event_index(has_event_index);
    let kick = eventfd(0, EventfdFlags::empty()).unwrap();
    let (done, is_done) = mpsc::channel();
    let (guests_ram, guests_kick) = (ram.clone(), kick.try_clone().unwrap());
    // The guest offers the next chain when it has the last one back.
    let guest = std::thread::spawn(move || {
        let word = |at: u64| GuestAddress(USED.0 + at);
        let mut kicks = 0;
        for index in 1..=CHAINS {
            let offered = GuestAddress(AVAILABLE.0 + 2);
            guests_ram
                .store(index.to_le(), offered, Ordering::Release)
                .unwrap();
            fence(Ordering::SeqCst);
            let at = if has_event_index {
                AVAILABLE_EVENT
            } else {
                word(0)
            };
            let said = u16::from_le(guests_ram.load(at, Ordering::Acquire).unwrap());
            let wants_kicks = if has_event_index {
                event_index::passes(said, index - 1, index)
            } else {
                said & NO_NOTIFY == 0
            };
            if wants_kicks {
                write(&guests_kick, 1);
                kicks += 1;
            }
            let is_back = || guests_ram.load::<u16>(word(2), Ordering::Acquire).unwrap() == index;
            while !is_back() {
                std::thread::yield_now();
            }
        }
        done.send(kicks).unwrap();
    });
    std::thread::spawn(move || {
        let view = View::of(&ram);
        let mut left = CHAINS;
        while left > 0 {
            rustix::io::read(&kick, &mut [0; 8]).unwrap();
            loop {
                ring.want_kicks(&view, false);
                while let Some(chain) = ring.pop(&view) {
                    ring.add_used(&view, &[(chain.head_index(), 0)]);
                    left -= 1;
                }
                ring.publish(&view);
                if !ring.want_kicks(&view, true) {
                    break;
                }
            }
        }
    });
    let kicks = is_done.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!((1..=CHAINS).contains(&kicks));
    guest.join().unwrap();
}

/// The event index that the guest finds in the used ring, and the one that it writes into the available ring.
const AVAILABLE_EVENT: GuestAddress = GuestAddress(USED.0 + 4 + 8 * 64);
const USED_EVENT: GuestAddress = GuestAddress(AVAILABLE.0 + 4 + 2 * 64);

#[test]
fn by_event_indices_a_guest_is_to_kick_with_the_first_chain_that_was_not_seen() {
    let (ram, mut ring) = running();
    let view = View::of(&ram);
    let awaited = || u16::from_le(ram.read_obj(AVAILABLE_EVENT).unwrap());
    ring.use_event_index(true);
    offer(&ram, 3);
    assert!(ring.pop(&view).is_some());
    // Three were seen, one of which was taken.
    assert!(!ring.want_kicks(&view, true));
    assert_eq!(awaited(), 3);
    // While it looks by itself nothing is said, by flags neither.
    assert!(!ring.want_kicks(&view, false));
    assert_eq!((awaited(), used(&ram).0), (3, 0));
    offer(&ram, 5);
    assert!(ring.want_kicks(&view, true));
    assert!(!ring.want_kicks(&view, true));
    assert_eq!(awaited(), 5);
    // Whoever serves it next, with indices or by flags, says anew what it wants.
    ram.write_obj(0_u16, AVAILABLE_EVENT).unwrap();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    ring.stop(&view, &epoll);
    assert_eq!(awaited(), 5);
    ram.write_obj(0_u16, AVAILABLE_EVENT).unwrap();
    ring.start(None, &epoll, 0).unwrap();
    ring.want_kicks(&view, true);
    assert_eq!(awaited(), 5);
}

#[test]
fn by_event_indices_a_guest_is_signalled_of_the_chain_that_it_waits_for() {
    let (ram, mut ring) = running();
    let view = View::of(&ram);
    ring.use_event_index(true);
    let call = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let shared = call.try_clone().unwrap();
    ring.signal_to(Some(shared.into())).unwrap();
    let mut give = |event: u16, chains: u16| {
        ram.write_obj(event.to_le(), USED_EVENT).unwrap();
        // That flags are none of these is part of it.
        ram.write_obj(NO_INTERRUPT.to_le(), AVAILABLE).unwrap();
        for _ in 0..chains {
            ring.give_back(&view, 0, 0);
        }
        ring.signal(&view);
        rustix::io::read(&call, &mut [0; 8]).is_ok()
    };
    // Nobody knows what was told before.
    assert!(give(100, 1));
    assert!(!give(100, 9));
    // The eleventh entry is the one of number 10.
    assert!(give(10, 1));
    assert!(!give(10, 5));
    assert!(!give(17, 1));
    assert!(give(17, 1));
    // All around.
    for _ in 0..5 {
        assert!(!give(17, 13_000));
    }
    assert!(give(17, 1000));
}

/// Known attack: rings that end with the RAM, so that there is no room for event indices behind them.
#[test]
fn event_indices_outside_the_ram() {
    let ram = Memory::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
    let view = View::of(&ram);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    for (available, used) in [(0x2000, 0x4000 - 4 - 8 * 64), (0x4000 - 4 - 2 * 64, 0x2000)] {
        let mut ring = Ring::new().unwrap();
        ring.resize(64).unwrap();
        ring.use_event_index(true);
        let [available, used] = [available, used].map(GuestAddress);
        ring.place(&ram, DESCRIPTORS, available, used).unwrap();
        ring.start(None, &epoll, 0).unwrap();
        ring.enable(true);
        let call = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        ring.signal_to(Some(call.try_clone().unwrap().into()))
            .unwrap();
        ring.signal(&view);
        assert!(rustix::io::read(&call, &mut [0; 8]).is_ok());
        ring.want_kicks(&view, true);
        assert_eq!(ring.serves(), used.0 == 0x2000);
    }
}
