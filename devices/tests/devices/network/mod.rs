//! Two guests on one segment, and who decides on their flows.

mod cutting;
pub(crate) mod decider;
#[path = "../../../src/net/dns/sample.rs"]
mod dns;
pub(crate) mod guest;
mod judging;
mod names;
mod observing;
#[path = "../../../src/net/sample.rs"]
pub(crate) mod sample;
mod spoofing;
mod uplink;
