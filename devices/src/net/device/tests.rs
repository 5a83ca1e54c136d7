//! Guests' frames on the way that they take: from one guest's ring, through both guests' ports, to the other guest's ring.

mod dns;
mod headers;
mod icmp;
mod ip;
mod lab;
mod load;
mod noting;
mod observing;
mod queues;
mod resuming;
mod rings;
mod spoofing;
mod tcp;
mod uplink;
mod waiting;
