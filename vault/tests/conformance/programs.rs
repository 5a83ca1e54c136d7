//! Programs of the system that the rigs start.

use std::process::Command;

/// What a program said; it must succeed.
pub(crate) fn demand(command: &mut Command) -> String {
    let ended = command.output();
    let output = ended.unwrap_or_else(|error| missing(command, &error));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn missing(command: &Command, error: &std::io::Error) -> ! {
    let program = command.get_program().display();
    panic!("{program} cannot be started ({error}); run `cargo xtask setup`")
}
