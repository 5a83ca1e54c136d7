use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::sync::mpsc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg};

use super::*;

const GET_FEATURES: u32 = 1;
const SET_VRING_CALL: u32 = 13;
const SET_VRING_ERR: u32 = 14;

/// A relay, its link, and the supervisor's end of that.
fn relay() -> (Relay, UnixStream, UnixStream) {
    let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap());
    let backend = Arc::new(Mutex::new(Backend::new(3, epoll, 0).unwrap()));
    let (link, supervisor) = UnixStream::pair().unwrap();
    // A test that waits has failed.
    for end in [&link, &supervisor] {
        end.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    (Relay::new(backend).unwrap(), link, supervisor)
}

fn message(request: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len()).unwrap();
    let header = [request, 1, size].map(u32::to_ne_bytes);
    [header.as_flattened(), body].concat()
}

/// A connection, as a supervisor has one to the daemon: its own end, and the one that shall see its death.
fn connection() -> (UnixStream, UnixStream) {
    let (own, other) = UnixStream::pair().unwrap();
    other.set_nonblocking(true).unwrap();
    (own, other)
}

fn has_ended(mut other: &UnixStream) -> bool {
    other.read(&mut [0]).is_ok_and(|size| size == 0)
}

#[test]
fn messages_are_answered_one_by_one_and_keep_their_descriptors() {
    let (mut relay, link, mut supervisor) = relay();
    let call = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    supervisor.write_all(&message(GET_FEATURES, &[])).unwrap();
    let kept = message(SET_VRING_CALL, &0_u64.to_ne_bytes());
    send_with_descriptors(&supervisor, &kept, &[call.as_fd()]).unwrap();
    supervisor.write_all(&message(GET_FEATURES, &[])).unwrap();
    for _ in 0..3 {
        relay.turn(&link).unwrap();
    }
    let mut answers = [0; 40];
    supervisor.read_exact(&mut answers).unwrap();
    assert_eq!(answers[..20], answers[20..]);
    drop(supervisor);
    assert!(matches!(relay.turn(&link), Err(RelayError::Closed)));
}

/// Known attack: the supervisor has its own ends kept open by a message that is never whole.
#[test]
fn a_part_of_a_message_is_refused_and_its_descriptors_are_closed() {
    let whole = message(SET_VRING_ERR, &0_u64.to_ne_bytes());
    for part in [1, HEADER - 1, HEADER, whole.len() - 1] {
        let (mut relay, link, supervisor) = relay();
        let (own, other) = connection();
        send_with_descriptors(&supervisor, &whole[..part], &[own.as_fd()]).unwrap();
        drop(own);
        assert!(matches!(relay.turn(&link), Err(RelayError::Partial)));
        assert!(has_ended(&other), "{part} bytes");
        // Nor is there a wait where somebody else has taken all of it.
        assert!(matches!(relay.turn(&link), Err(RelayError::Partial)));
    }
}

/// Known attack: credentials come before the descriptors, which a receiver who looks at the first only does not see.
#[test]
fn descriptors_behind_credentials_are_closed() {
    let (mut relay, link, supervisor) = relay();
    set_socket_passcred(&link, true).unwrap();
    let (own, other) = connection();
    let unused = message(SET_VRING_ERR, &0_u64.to_ne_bytes());
    send_with_descriptors(&supervisor, &unused, &[own.as_fd()]).unwrap();
    drop(own);
    relay.turn(&link).unwrap();
    assert!(has_ended(&other));
}

#[test]
fn more_descriptors_than_a_message_has_are_refused_and_closed() {
    const TOO_MANY: usize = MAX_ATTACHED_FD_ENTRIES + 1;
    let (mut relay, link, supervisor) = relay();
    let (own, other) = connection();
    let attached = [own.as_fd(); TOO_MANY];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TOO_MANY))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&attached)));
    let bytes = message(SET_VRING_ERR, &0_u64.to_ne_bytes());
    let slice = [io::IoSlice::new(&bytes)];
    sendmsg(&supervisor, &slice, &mut ancillary, SendFlags::empty()).unwrap();
    drop(own);
    assert!(matches!(relay.turn(&link), Err(RelayError::Descriptors)));
    assert!(has_ended(&other));
}

#[test]
fn a_message_that_is_too_large_is_refused_by_its_header() {
    let (mut relay, link, mut supervisor) = relay();
    let largest = message(GET_FEATURES, &[0; MAX_MSG_SIZE]);
    supervisor.write_all(&largest).unwrap();
    assert!(matches!(relay.turn(&link), Err(RelayError::Message(_))));
    let header = [GET_FEATURES, 1, 0x1001].map(u32::to_ne_bytes);
    supervisor.write_all(header.as_flattened()).unwrap();
    let refused = relay.turn(&link);
    assert!(matches!(refused, Err(RelayError::TooLarge(0x1001))));
}

#[test]
fn answers_that_nobody_reads_are_not_waited_with() {
    let (mut relay, link, mut supervisor) = relay();
    let refused = loop {
        supervisor.write_all(&message(GET_FEATURES, &[])).unwrap();
        if let Err(error) = relay.turn(&link) {
            break error;
        }
    };
    assert!(matches!(refused, RelayError::Unread), "{refused}");
}

/// Fails where `work` waits.
fn in_time(work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(10)).unwrap();
}

/// Bytes that are often the beginning of a message, and seldom a whole one.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let header = (0_u32..45, 0_u32..16, 0_u32..40);
    let begun = (header, vec(any::<u8>(), 0..64)).prop_map(|((request, flags, size), body)| {
        let header = [request, flags, size].map(u32::to_ne_bytes);
        [header.as_flattened(), &body].concat()
    });
    prop_oneof![vec(0_u8..40, 0..64), begun]
}

proptest! {
    #[test]
    fn any_bytes_are_worked_off_without_a_wait(pieces in vec(bytes(), 0..8)) {
        let (mut relay, link, mut supervisor) = relay();
        in_time(move || {
            let length = pieces.iter().map(Vec::len).sum::<usize>();
            for piece in pieces {
                supervisor.write_all(&piece).unwrap();
            }
            let turns = (0..).take_while(|_| relay.turn(&link).is_ok()).count();
            assert!(turns <= length / HEADER);
        });
    }

    /// Where descriptors run out, `vhost` takes the rest of a message for the next one.
    #[test]
    fn whatever_is_missing_the_handler_does_not_wait_for_it(bytes in bytes()) {
        let (mut relay, ..) = relay();
        in_time(move || {
            let descriptors = Vec::new();
            relay.hand_on(Message { bytes, descriptors }).unwrap();
            let _ = relay.handler.handle_request();
            relay.take_padding().unwrap();
        });
    }
}
