//! A measurer that does what the request's text says. It is this test program, started under the name `measurer`: the
//! supervisor executes the measurer's own file and no script's interpreter.
#![expect(
    unsafe_code,
    reason = "the socket is inherited as descriptor 3; the harness must not begin"
)]

use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bartizan_attestation::host::{FromMeasurer, MAX_FRAME, Outcome, ReportKeyRotated, ToMeasurer};
use bartizan_local::{read_frame, write_frame};

/// The measurer's file; returns its path.
pub(crate) fn program(folder: &Path) -> PathBuf {
    let path = folder.join("measurer");
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &path).unwrap();
    path
}

/// Runs before `main`, which is the harness's.
// SAFETY: the C library calls each function of this section once, with one thread, before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    let name = std::env::args_os().next();
    if name.is_some_and(|name| Path::new(&name).ends_with("measurer")) {
        measurer();
        std::process::exit(0);
    }
}

fn measurer() {
    // SAFETY: the supervisor places the socket there, and nothing else in this process takes it.
    let mut link = unsafe { UnixStream::from_raw_fd(3) };
    let (mut certificate, mut ordered) = (Vec::new(), None);
    while let Ok(message) = read_frame::<ToMeasurer>(&mut link, MAX_FRAME) {
        match message {
            ToMeasurer::Context(_) => {
                say(
                    &mut link,
                    &FromMeasurer::CertificateNeeded {
                        csr: b"csr".to_vec(),
                    },
                );
            }
            ToMeasurer::Certificate(chain) => {
                certificate = chain[0].to_vec();
                let rotated = ReportKeyRotated {
                    new: [certificate[0]; 32].into(),
                    destroyed: None,
                };
                let order = ordered;
                say(&mut link, &FromMeasurer::KeyInstalled { order, rotated });
            }
            ToMeasurer::RotateKey { order } => {
                ordered = Some(order);
                let csr = b"ordered".to_vec();
                say(&mut link, &FromMeasurer::CertificateNeeded { csr });
            }
            ToMeasurer::Measure { id, request } => {
                let report = match request.as_slice() {
                    b"certificate" => certificate.clone(),
                    b"pause" => pause(&mut link, Duration::ZERO),
                    b"pause in vain" => {
                        say(&mut link, &FromMeasurer::Pause { lease_ms: 200 });
                        let stopped = hear(&mut link) == ToMeasurer::Paused { stopped: true };
                        if stopped {
                            say(&mut link, &FromMeasurer::Resume);
                            hear(&mut link);
                        }
                        vec![stopped.into()]
                    }
                    b"groups" => std::fs::read("/proc/self/cgroup").unwrap(),
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
