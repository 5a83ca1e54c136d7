use std::io::IoSlice;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::*;

fn handover(device: &Device) -> (OwnedFd, Receiver) {
    let handover = Handover::new(device).unwrap();
    let theirs = handover.theirs.try_clone().unwrap();
    (theirs, handover.started())
}

fn device() -> Device {
    Device::open().expect("/dev/userfaultfd can be opened (CONFIG_USERFAULTFD, root)")
}

fn send(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
    let bytes = [IoSlice::new(bytes)];
    sendmsg(socket, &bytes, &mut ancillary, SendFlags::empty()).unwrap();
}

#[test]
fn the_environment_names_what_is_inherited() {
    let device = device();
    let handover = Handover::new(&device).unwrap();
    let [one, two] = handover.descriptors().map(|fd| fd.as_raw_fd());
    let expected = ("BARTIZAN_TRACKED", format!("{one},{two}"));
    assert_eq!(handover.environment(), expected);
}

#[test]
fn nobody_is_waited_for() {
    let (theirs, ours) = handover(&device());
    let not_yet = ours.receive().unwrap_err();
    assert_eq!(not_yet.kind(), io::ErrorKind::WouldBlock);
    drop(theirs);
    assert!(ours.receive().unwrap().is_none());
}

#[test]
fn one_descriptor_is_taken() {
    let (theirs, ours) = handover(&device());
    send(&theirs, &[0], &[theirs.as_fd()]);
    assert!(ours.receive().unwrap().is_some());
}

#[test]
fn anything_else_is_refused() {
    let descriptor = device();
    let one = descriptor.as_fd();
    for (bytes, descriptors) in [
        (&[0; 2][..], &[one][..]),
        (&[0; 1], &[one; 2]),
        (&[0; 1], &[one; 3]),
        (&[0; 9], &[one; 1]),
    ] {
        let (theirs, ours) = handover(&device());
        send(&theirs, bytes, descriptors);
        let refused = ours.receive().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{bytes:?}");
    }
    let (theirs, ours) = handover(&device());
    rustix::net::send(&theirs, &[0], SendFlags::empty()).unwrap();
    assert_eq!(
        ours.receive().unwrap_err().kind(),
        io::ErrorKind::InvalidData
    );
}
