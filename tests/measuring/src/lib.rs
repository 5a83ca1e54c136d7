//! What a benchmark measured, and how it is told: the same for every suite.
//!
//! ```text
//!  rounds(case, …) ──► Samples of a value, Samples of what it is held against ──► Outcome ──► JSON, a line for people
//! ```

#![forbid(unsafe_code)]

mod outcome;
mod progress;
mod samples;

pub use outcome::{Better, Outcome, Part};
pub use progress::rounds;
pub use samples::{Samples, averaged, timed};
