//! The process that becomes the program which `bartizan-guest run` starts.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Uid;

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
fn a_program_of_another_user_reaches_neither_the_tool_nor_its_key() {
    if !Uid::current().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Of the folder's own rights nothing shall depend.
    let enterable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), enterable).unwrap();
    let key = folder.path().join("key.pk8");
    std::fs::write(&key, "key").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let own = std::process::id().to_string();
    let tries = format!(
        "for reach in 'kill -0 {own}' 'cat {}' 'ls /proc/{own}/fd/'; do \
         $reach >/dev/null 2>&1 && echo $reach; done; id -un; id -Gn",
        key.display()
    );
    let said = |user: &[&str]| {
        let ran = Command::new(TOOL)
            .arg("start-program")
            .args(user)
            .args([&own, "--", "sh", "-c", &tries])
            .output()
            .unwrap();
        String::from_utf8(ran.stdout).unwrap()
    };
    assert_eq!(said(&["--user", "nobody"]), "nobody\nnogroup\n");
    // What it tries is within the reach of the tool's own user.
    assert_eq!(said(&[]).lines().count(), 5);
}

#[test]
fn a_user_that_is_none_is_wrong_usage() {
    let ran = Command::new(TOOL)
        .args([
            "run",
            "--application",
            "a",
            "--user",
            "no one",
            "--",
            "true",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("`no one`"), "{said}");
}

#[test]
fn it_dies_with_the_tool_whoever_it_becomes() {
    // Only root becomes others.
    let others = Uid::current().is_root().then_some("--user nobody");
    for options in [Some(""), others].into_iter().flatten() {
        // The shell stands for the tool; the program holds the pipe for as long as it lives.
        let script = format!(
            "{TOOL} start-program {options} $$ -- sh -c 'echo up; exec sleep 60' & read go; :"
        );
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
        assert!(killed.elapsed() < Duration::from_secs(30), "{options}");
    }
}
