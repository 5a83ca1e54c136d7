use std::io::{Read, Write};
use std::sync::Arc;

use rustix::event::epoll;

use super::*;
use crate::vhost_user::Offer;

const GET_FEATURES: u32 = 1;
const SET_FEATURES: u32 = 2;
const SET_PROTOCOL_FEATURES: u32 = 16;
const PROTOCOL_FEATURES: u64 = 1 << 30;
const REPLY_ACK: u64 = 1 << 3;

fn front(rings_first: bool) -> (Front, UnixStream) {
    with_pairs(rings_first, 1)
}

fn with_pairs(rings_first: bool, pairs: usize) -> (Front, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap());
    let offer = Offer {
        features: 0,
        space: None,
        pairs,
    };
    let backend = Backend::new(offer, epoll, 0).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (Front::new(ours, backend, rings_first).unwrap(), theirs)
}

fn say(
    front: &mut Front,
    mut qemu: &UnixStream,
    request: u32,
    flags: u32,
    body: &[u8],
) -> Result<bool, FrontError> {
    let size = u32::try_from(body.len()).unwrap();
    let head = [request, VERSION | flags, size]
        .map(u32::to_ne_bytes)
        .concat();
    qemu.write_all(&[&head, body].concat()).unwrap();
    front.take()
}

fn enable(
    front: &mut Front,
    qemu: &UnixStream,
    flags: u32,
    ring: [u32; 2],
) -> Result<bool, FrontError> {
    say(
        front,
        qemu,
        SET_RING_ENABLE,
        flags,
        &ring.map(u32::to_ne_bytes).concat(),
    )
}

fn negotiate(front: &mut Front, qemu: &UnixStream) {
    say(front, qemu, GET_FEATURES, 0, &[]).unwrap();
    say(
        front,
        qemu,
        SET_PROTOCOL_FEATURES,
        0,
        &REPLY_ACK.to_ne_bytes(),
    )
    .unwrap();
    let mut answer = [0; 20];
    (&*qemu).read_exact(&mut answer).unwrap();
}

#[test]
fn a_network_devices_rings_may_be_enabled_before_its_features() {
    let (mut front, qemu) = front(true);
    negotiate(&mut front, &qemu);
    assert!(enable(&mut front, &qemu, 0, [0, 1]).unwrap());
    assert!(enable(&mut front, &qemu, NEED_REPLY, [1, 0]).unwrap());
    let mut answer = [0; 20];
    (&qemu).read_exact(&mut answer).unwrap();
    assert_eq!(words(&answer), [SET_RING_ENABLE, VERSION | REPLY, 8, 0, 0]);
    // Only the one that was asked for is answered.
    assert!((&qemu).read(&mut answer).is_err());
    say(
        &mut front,
        &qemu,
        SET_FEATURES,
        0,
        &PROTOCOL_FEATURES.to_ne_bytes(),
    )
    .unwrap();
    assert!(enable(&mut front, &qemu, 0, [1, 1]).unwrap());
}

#[test]
fn nobody_else_enables_rings_early_and_none_that_there_is_not() {
    let (mut vsock, qemu) = front(false);
    negotiate(&mut vsock, &qemu);
    assert!(matches!(
        enable(&mut vsock, &qemu, 0, [0, 1]),
        Err(FrontError::Protocol(_))
    ));
    // Nothing is negotiated.
    let (mut early, qemu) = front(true);
    assert!(enable(&mut early, &qemu, 0, [0, 1]).is_err());
    for ring in [[2, 1], [0, 2], [u32::MAX, 1]] {
        let (mut front, qemu) = front(true);
        negotiate(&mut front, &qemu);
        assert!(enable(&mut front, &qemu, 0, ring).is_err(), "{ring:?}");
    }
}

#[test]
fn a_message_of_another_size_is_none() {
    let (mut front, qemu) = front(true);
    negotiate(&mut front, &qemu);
    let malformed = say(&mut front, &qemu, SET_RING_ENABLE, 0, &[0; 12]);
    assert!(matches!(malformed, Err(FrontError::Enable)));
}

#[test]
fn as_many_rings_as_there_are_pairs_may_be_used() {
    for (pairs, refused) in [(1, 2), (2, 4), (4, 8), (100, 8)] {
        let (mut front, qemu) = with_pairs(true, pairs);
        negotiate(&mut front, &qemu);
        for ring in 0..refused {
            assert!(enable(&mut front, &qemu, 0, [ring, 1]).unwrap(), "{pairs}");
        }
        assert!(enable(&mut front, &qemu, 0, [refused, 1]).is_err());
        // Its number is told to whoever knows of several, and offered where there are.
        let mut backend = front.backend();
        let offered = backend.get_protocol_features().unwrap();
        assert_eq!(offered.contains(VhostUserProtocolFeatures::MQ), pairs > 1);
        assert_eq!(backend.get_queue_num().unwrap(), u64::from(refused / 2));
    }
}
