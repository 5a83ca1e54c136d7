//! Two guests on one segment, and who decides on their flows.

mod cutting;
mod decider;
#[path = "../../../src/net/dns/sample.rs"]
mod dns;
mod guest;
mod judging;
mod names;
#[path = "../../../src/net/sample.rs"]
mod sample;
mod spoofing;
