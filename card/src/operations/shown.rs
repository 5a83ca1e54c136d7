//! What is shown piece by piece: its way to whoever has ordered it, and how much that was.
//!
//! Known attack: what shows packets breaks off once it has shown some, so that the log says that it was not done.

use std::fmt::{self, Display};

use bartizan_attestation::host::{FlowsSeen, OperationReply, OperatorReply};
use tokio::sync::mpsc;

/// The pieces of one answer.
#[derive(Debug)]
pub(super) struct Shown<'s> {
    to: &'s mpsc::Sender<OperationReply>,
    pieces: u64,
    flows: u64,
    bytes: u64,
}

impl<'s> Shown<'s> {
    /// Nothing yet.
    pub(super) const fn new(to: &'s mpsc::Sender<OperationReply>) -> Self {
        Self {
            to,
            pieces: 0,
            flows: 0,
            bytes: 0,
        }
    }

    /// Hands one on; whether anybody takes it. One that is on its way counts.
    pub(super) async fn hand_on(&mut self, piece: FlowsSeen) -> bool {
        self.pieces += 1;
        match &piece {
            FlowsSeen::Flows(flows) => self.flows += flows.len() as u64,
            FlowsSeen::Pcap(bytes) => self.bytes += bytes.len() as u64,
            FlowsSeen::Going(_) | FlowsSeen::Ended { .. } => {}
        }
        let piece = OperationReply::Guests(OperatorReply::Seen(piece));
        self.to.send(piece).await.is_ok()
    }

    /// Whether it has begun.
    pub(super) const fn has_begun(&self) -> bool {
        self.pieces > 0
    }
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flows, bytes, .. } = self;
        write!(f, "{flows} flows and {bytes} bytes of a capture were shown")
    }
}

#[cfg(test)]
mod tests;
