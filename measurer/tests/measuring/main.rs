//! The measurer's program against a supervisor played by the test.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod guest;
mod inheriting;
mod live;
mod machine;
mod physical;
mod processes;
mod protocol;
mod ram;
mod signatures;
mod supervisor;
mod symbols;
mod tracked;
mod writer;
