//! Two guests on one segment, and who decides on their flows.

mod cutting;
mod decider;
mod guest;
mod judging;
#[path = "../../../src/net/sample.rs"]
mod sample;
mod spoofing;
