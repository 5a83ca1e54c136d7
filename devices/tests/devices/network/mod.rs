//! Two guests on one segment, and who decides on their flows.

mod cutting;
pub(crate) mod decider;
pub(crate) mod guest;
mod judging;
#[path = "../../../src/net/sample.rs"]
pub(crate) mod sample;
mod spoofing;
