use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::*;

fn shell(script: &str) -> Confined<'static> {
    Confined::new("/bin/sh".as_ref()).args(["-c", script])
}

#[tokio::test]
async fn child_has_the_descriptors_that_were_placed_and_no_other() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let version = File::open("/proc/version").unwrap();
    let script = "exec ls /proc/self/fd >&3";
    let mut child = shell(script)
        .place(theirs.as_fd(), 3)
        .place(version.as_fd(), 4)
        .spawn()
        .unwrap();
    drop(theirs);
    assert!(child.exited().await.unwrap().success());
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    // What the test's own parent left open to everybody is not ours to judge; 5 is the folder.
    let low: Vec<&str> = text.lines().filter(|number| number.len() == 1).collect();
    assert_eq!(low, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn child_keeps_a_descriptor_under_its_number() {
    let version = File::open("/proc/version").unwrap();
    let script = format!(
        "test -e /proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&version)
    );
    let mut with = shell(&script).keep(version.as_fd()).spawn().unwrap();
    assert!(with.exited().await.unwrap().success());
    let mut without = shell(&script).spawn().unwrap();
    assert!(!without.exited().await.unwrap().success());
}

#[tokio::test]
async fn child_dies_when_it_is_dropped() {
    let child = shell("sleep 60").spawn().unwrap();
    let pid = child.pid();
    drop(child);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn failed_exec_is_an_error() {
    assert!(Confined::new("/nonexistent".as_ref()).spawn().is_err());
}
