//! What is printed when something fails.

use std::process::Command;

#[test]
fn a_failure_is_its_causes_and_no_backtrace() {
    let ran = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("layers")
        .env("CARGO", "/nonexistent/cargo")
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(
        said.contains("could not start `/nonexistent/cargo"),
        "{said}"
    );
    assert!(said.contains("No such file"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
