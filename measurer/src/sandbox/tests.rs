//! Each forbidden act is tried by a process of its own: this test program, started anew.

use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use super::*;

/// Names the act to the child.
const ACT: &str = "BARTIZAN_TEST_FORBIDDEN_ACT";
/// How the child ends that did what it was told, and nothing forbade it.
const DONE: i32 = 42;

#[test]
fn a_forbidden_act_kills_the_process() {
    for act in [
        "open",
        "socket",
        "executable memory",
        "kill",
        "outlive",
        "fork",
        "another ioctl",
        "fill pages",
        "track untracked",
    ] {
        let status = child(act);
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{act}: {status}");
    }
}

#[test]
fn what_serving_needs_is_allowed() {
    assert_eq!(child("serve").code(), Some(DONE));
    assert_eq!(child("track").code(), Some(DONE));
}

fn child(act: &str) -> std::process::ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .arg("sandbox::tests::child_process")
        // Whoever asks for one has a panic look for files.
        .env_remove("RUST_BACKTRACE")
        .env(ACT, act)
        .output()
        .unwrap()
        .status
}

#[test]
#[ignore = "the child process of the tests above"]
fn child_process() {
    // Also run by whoever runs all ignored tests: there is nothing to do then.
    let Ok(act) = std::env::var(ACT) else { return };
    // As the measurer does: the first key is made outside, where the generator may look for its files.
    bartizan_attestation::csr::EphemeralKey::generate().unwrap();
    let done = catch_unwind(AssertUnwindSafe(|| {
        shut(act != "track untracked").unwrap();
        match act.as_str() {
            "open" => drop(std::fs::File::open("/dev/null")),
            "socket" => drop(std::net::TcpListener::bind("127.0.0.1:0")),
            "kill" => drop(rustix::process::kill_process(
                rustix::process::Pid::INIT,
                rustix::process::Signal::URG,
            )),
            "executable memory" => executable_memory(),
            // Else it outlives its supervisor, by itself or in a child.
            "outlive" => drop(rustix::process::set_parent_process_death_signal(None)),
            "fork" => drop(Command::new("/usr/bin/true").status()),
            "track" => bartizan_write_tracking::REQUESTS
                .iter()
                .for_each(|(request, _)| ask(*request)),
            "track untracked" => ask(bartizan_write_tracking::REQUESTS[0].0),
            "another ioctl" => drop(rustix::io::ioctl_fionread(std::io::stdin())),
            // UFFDIO_COPY
            "fill pages" => ask(0xc028_aa03),
            "serve" => {
                let buffer = crate::snapshot_buffer::SnapshotBuffer::allocate(1 << 20).unwrap();
                assert_eq!(buffer.bytes().len(), 1 << 20);
                bartizan_attestation::csr::EphemeralKey::generate()
                    .unwrap()
                    .csr()
                    .unwrap();
                drop(vec![1_u8; 64 << 20]);
            }
            other => panic!("unknown act {other}"),
        }
    }));
    // At once, also from a panic: the harness needs more, and would die of that.
    std::process::exit(done.map_or(1, |()| DONE));
}

/// A request of ioctl(2), of a descriptor that is none.
#[expect(unsafe_code, reason = "there is no safe call of any request")]
fn ask(request: u32) {
    // SAFETY: no descriptor has this number, so that the kernel looks at nothing else.
    unsafe { libc::ioctl(-1, request.into(), 0) };
}

#[expect(unsafe_code, reason = "asks for memory that the sandbox refuses")]
fn executable_memory() {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    let protection = ProtFlags::READ | ProtFlags::EXEC;
    // SAFETY: an anonymous mapping at an address of the kernel's choice; it is never used.
    let _ = unsafe { mmap_anonymous(std::ptr::null_mut(), 4096, protection, MapFlags::PRIVATE) };
}
