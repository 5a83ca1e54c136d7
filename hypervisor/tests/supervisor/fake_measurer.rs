//! A measurer that does what the request's text says. It is this test program, started by a script
//! that runs the one ignored test below.
#![expect(unsafe_code, reason = "the socket is inherited as descriptor 3")]

use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bartizan_attestation::host::{FromMeasurer, MAX_FRAME, Outcome, ToMeasurer};
use bartizan_local::{read_frame, write_frame};

/// Writes the script; returns its path.
pub(crate) fn script(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("measurer");
    let program = std::env::current_exe().unwrap();
    let text = format!(
        "#!/bin/sh\nexec {} --ignored --exact fake_measurer::measurer --nocapture\n",
        program.display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
#[ignore = "started by the supervisor as the measurer"]
fn measurer() {
    // SAFETY: the supervisor places the socket there, and nothing else in this process takes it.
    let mut link = unsafe { UnixStream::from_raw_fd(3) };
    let mut certificate = Vec::new();
    loop {
        match read_frame::<ToMeasurer>(&mut link, MAX_FRAME).unwrap() {
            ToMeasurer::Context(_) => {
                say(
                    &mut link,
                    &FromMeasurer::CertificateNeeded {
                        csr: b"csr".to_vec(),
                    },
                );
            }
            ToMeasurer::Certificate(chain) => certificate = chain[0].to_vec(),
            ToMeasurer::Measure { id, request } => {
                let report = match request.as_slice() {
                    b"certificate" => certificate.clone(),
                    b"pause" => pause(&mut link, Duration::ZERO),
                    b"oversleep" => pause(&mut link, Duration::from_millis(400)),
                    b"die paused" => {
                        say(&mut link, &FromMeasurer::Pause { lease_ms: 5000 });
                        assert_eq!(hear(&mut link), ToMeasurer::Paused { stopped: true });
                        std::process::exit(1);
                    }
                    other => other.to_vec(),
                };
                say(
                    &mut link,
                    &FromMeasurer::Measured {
                        id,
                        outcome: Outcome::Report(report.into()),
                    },
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Pauses on a lease of 200 ms for so long; says whether it stopped, and was in time.
fn pause(link: &mut UnixStream, time: Duration) -> Vec<u8> {
    say(link, &FromMeasurer::Pause { lease_ms: 200 });
    let ToMeasurer::Paused { stopped } = hear(link) else {
        panic!("no answer to a pause")
    };
    std::thread::sleep(time);
    say(link, &FromMeasurer::Resume);
    let ToMeasurer::Resumed { in_time, pause_us } = hear(link) else {
        panic!("not resumed")
    };
    assert!((1..5_000_000).contains(&pause_us));
    vec![stopped.into(), in_time.into()]
}

fn say(link: &mut UnixStream, message: &FromMeasurer) {
    write_frame(link, message, MAX_FRAME).unwrap();
}

fn hear(link: &mut UnixStream) -> ToMeasurer {
    read_frame(link, MAX_FRAME).unwrap()
}
