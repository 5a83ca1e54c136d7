//! The process that becomes the program which `bartizan-guest run` starts.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};

const TOOL: &str = env!("CARGO_BIN_EXE_bartizan-guest");

#[test]
fn the_program_takes_the_processs_place() {
    let own = std::process::id().to_string();
    let ran = Command::new(TOOL)
        .args(["start-program", &own, "--", "sh", "-c", "exit 7", "--flag"])
        .status()
        .unwrap();
    assert_eq!(ran.code(), Some(7));
}

#[test]
fn a_program_that_is_none_is_told_as_shells_tell_it() {
    let own = std::process::id().to_string();
    let ran = Command::new(TOOL)
        .args(["start-program", &own, "--", "/nonexistent/program"])
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(127));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("/nonexistent/program"), "{said}");
}

#[test]
fn it_does_not_start_for_a_tool_that_is_gone() {
    let ran = Command::new(TOOL)
        .args(["start-program", "1", "--", "echo", "started"])
        .output()
        .unwrap();
    assert_eq!((ran.status.code(), ran.stdout), (Some(127), Vec::new()));
}

#[test]
fn the_tools_caught_signals_reach_the_program() {
    // As the tool has it; of this thread, and inherited.
    SigSet::from(Signal::SIGTERM).thread_block().unwrap();
    let own = std::process::id().to_string();
    let ran = Command::new(TOOL)
        .args([
            "start-program",
            &own,
            "--",
            "sh",
            "-c",
            "kill -TERM $$; echo lives",
        ])
        .output()
        .unwrap();
    assert_eq!((ran.status.signal(), ran.stdout), (Some(15), Vec::new()));
}

#[test]
fn it_dies_with_the_tool() {
    // The shell stands for the tool; the program holds the pipe for as long as it lives.
    let script = format!("{TOOL} start-program $$ -- sh -c 'echo up; exec sleep 60' & read go; :");
    let mut tool = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(tool.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    tool.kill().unwrap();
    let killed = Instant::now();
    tool.wait().unwrap();
    said.read_to_end(&mut Vec::new()).unwrap();
    assert!(killed.elapsed() < Duration::from_secs(30));
}
