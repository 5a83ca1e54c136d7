//! What is drawn.

mod facts;
mod mixing;
mod network;
mod padding;
mod policies;
mod requests;
mod rules;
mod words;

pub use facts::{Facts, flows};
pub use policies::{Sizes, guest, policies};
pub use requests::{Owned, request};
