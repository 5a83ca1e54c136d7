//! The way from a front end that connects to a socket to a device: where a supervisor is, which records what QEMU says.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use bartizan_local::{recv_with_descriptors, send_with_descriptors};

/// A header in bytes: request, flags and size of the body, each a native-endian `u32`.
const HEADER: usize = 12;

/// Hands on what the first one says who connects, message by message, and the device's answers, until either ends.
pub(super) fn relay(listener: UnixListener, device: UnixStream) {
    thread::spawn(move || {
        let (front, _) = listener.accept().unwrap();
        let (answers, to_front) = (device.try_clone().unwrap(), front.try_clone().unwrap());
        // An answer has no descriptors.
        thread::spawn(move || {
            let _ = io::copy(&mut &answers, &mut &to_front);
            let _ = to_front.shutdown(Shutdown::Both);
        });
        while let Ok(message) = message(&front) {
            let (bytes, descriptors) = message;
            let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            // The daemon takes a message that came as a whole.
            match send_with_descriptors(&device, &bytes, &descriptors) {
                Ok(sent) => assert_eq!(sent, bytes.len()),
                Err(_) => break,
            }
        }
        let _ = device.shutdown(Shutdown::Both);
    });
}

/// The next message, with the descriptors that came with it: they are attached to its first byte.
fn message(front: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; HEADER];
    let (read, descriptors) = recv_with_descriptors(front, &mut bytes)?;
    if read < HEADER {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let size = u32::from_ne_bytes(bytes[8..].try_into().unwrap());
    bytes.resize(HEADER + size as usize, 0);
    io::Read::read_exact(&mut &*front, &mut bytes[HEADER..])?;
    Ok((bytes, descriptors))
}
