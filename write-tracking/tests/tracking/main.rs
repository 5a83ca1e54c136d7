//! Tracking by the kernel that runs this: of this process's own memory, by its own userfaultfd.
//!
//! Needs `/dev/userfaultfd`, Linux 6.7 and root; where one is missing, every test here fails and says which.
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
