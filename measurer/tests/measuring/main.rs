//! The measurer's program against a supervisor played by the test.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod guest;
mod machine;
mod physical;
mod processes;
mod protocol;
mod ram;
mod signatures;
mod supervisor;
mod symbols;
