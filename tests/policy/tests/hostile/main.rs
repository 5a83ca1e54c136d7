//! Policies that are written to have whoever reads or compiles them run out of memory or time. What is counted is what is allocated at once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where something is not as it is to be"
)]

mod compiling;
mod reading;

/// Most bytes that are allocated at once while something is done, and what it comes to.
fn most_bytes<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let mut done = None;
    let counted = allocation_counter::measure(|| done = Some(work()));
    (counted.bytes_max, done.expect("it is done"))
}
