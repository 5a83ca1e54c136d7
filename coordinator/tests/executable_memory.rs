//! No stage makes memory executable. Tried by a process of its own: this test program, started anew.
#![expect(
    unsafe_code,
    clippy::unwrap_used,
    reason = "no safe interface maps executable memory; a test fails by panicking"
)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use bartizan_coordinator::confinement::{confine_first, confine_second};
use bartizan_coordinator::source::Source;

/// Names the stage and how the memory is mapped to the child.
const ACT: &str = "BARTIZAN_TEST_ACT";

#[test]
fn memory_is_never_executable() {
    for stage in ["first", "second"] {
        let executable = child(&format!("{stage} executable"));
        assert_eq!(executable.signal(), Some(libc::SIGSYS), "{stage}");
        let plain = child(&format!("{stage} plain"));
        assert!(plain.success(), "{stage}: {plain}");
    }
}

fn child(act: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--test-threads=1", "child_process"])
        .env(ACT, act)
        .output()
        .unwrap()
        .status
}

#[test]
#[ignore = "the child process of the test above"]
fn child_process() {
    // Also run by whoever runs all ignored tests: there is nothing to do then.
    let Ok(act) = std::env::var(ACT) else { return };
    let (stage, memory) = act.split_once(' ').unwrap();
    match stage {
        "first" => confine_first(&Source::File("bundle.release".into())),
        _ => confine_second(),
    }
    .unwrap();
    let further = match memory {
        "executable" => libc::PROT_EXEC,
        _ => 0,
    };
    let protection = libc::PROT_READ | libc::PROT_WRITE | further;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: new memory, which nobody uses.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    // At once: the harness needs more.
    std::process::exit(i32::from(mapped == libc::MAP_FAILED));
}
