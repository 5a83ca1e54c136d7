//! Somebody in a supervisor's place, who tells how its guest was and is asked to stop it.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;
use std::thread;

use bartizan_attestation::host::{MAX_FRAME, SupervisorReply, SupervisorRequest};
use bartizan_local::{read_frame, write_frame};

use crate::host::Host;

/// Takes its place; `stop` gets each connection that asks for that, for as long as it wants another.
pub(crate) async fn stand_in(
    host: &Host,
    mut stop: impl FnMut(UnixStream) -> bool + Send + 'static,
) {
    let status = SupervisorReply::Status(host.status().await);
    let socket = host.config.socket();
    fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            match read_frame(&mut stream, MAX_FRAME).unwrap() {
                SupervisorRequest::Stop { .. } => {
                    if !stop(stream) {
                        return;
                    }
                }
                _ => write_frame(&mut stream, &status, MAX_FRAME).unwrap(),
            }
        }
    });
}

/// Says that the guest is down.
pub(crate) fn say_done(mut stream: UnixStream) {
    write_frame(&mut stream, &SupervisorReply::Done, MAX_FRAME).unwrap();
}

/// Takes its place, leaves what it wants in each link that the daemon listens to, and hands the link on, open.
pub(crate) async fn watched_by(
    host: &Host,
    mut leave: impl FnMut(&mut UnixStream) + Send + 'static,
) -> mpsc::Receiver<UnixStream> {
    let status = SupervisorReply::Status(host.status().await);
    let socket = host.config.socket();
    fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let (hand_on, handed_on) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if read_frame(&mut stream, MAX_FRAME)
                .is_ok_and(|asked: SupervisorRequest| asked == SupervisorRequest::Watch)
            {
                leave(&mut stream);
                hand_on.send(stream).unwrap();
            } else {
                write_frame(&mut stream, &status, MAX_FRAME).unwrap();
            }
        }
    });
    handed_on
}
