//! Tracking by the kernel that runs this: of this process's own memory, by its own userfaultfd.
//!
//! Needs `/dev/userfaultfd` and root; where one is missing, every test here fails and says which. On Linux before 6.7 each looks for the
//! refusal that is due there, and at nothing else.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod errors;
mod huge;
mod memory;
mod rounds;
mod writes;
