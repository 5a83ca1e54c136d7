//! The way of a frame with nobody who judges it: by the same rings, copies, reading of headers and inbox as in
//! [`bartizan_devices::net::device::Core`], and to whoever there is beside its sender.

use std::collections::VecDeque;

use anyhow::Result;
use bartizan_devices::net::packet::Packet;
use bartizan_devices::net::{Inbox, deliver};

use crate::guest::Guest;

/// As many as a device moves in a turn.
const BATCH: usize = 128;

/// Two guests.
pub(crate) struct Unjudged {
    pub(crate) from: Guest,
    pub(crate) to: Guest,
    inbox: Inbox,
    arrived: VecDeque<Packet>,
    sent: Vec<Packet>,
}

impl Unjudged {
    pub(crate) fn new(from: Guest, to: Guest) -> Result<Self> {
        Ok(Self {
            from,
            to,
            inbox: Inbox::new()?,
            arrived: VecDeque::new(),
            sent: Vec::new(),
        })
    }

    /// Both devices' turns.
    pub(crate) fn turn(&mut self, mtu: u16) -> Result<()> {
        self.take_sent(mtu)?;
        self.give()
    }

    fn take_sent(&mut self, mtu: u16) -> Result<()> {
        let features = self.from.backend.features();
        let ram = &self.from.backend.ram.memory;
        let tx = &mut self.from.backend.rings.tx;
        for _ in 0..BATCH {
            let Some(chain) = tx.pop(ram) else { break };
            let head = chain.head_index();
            let read = Packet::read(ram, chain, features, mtu);
            tx.give_back(ram, head, 0);
            self.sent.push(read?);
        }
        self.inbox.put(self.sent.drain(..));
        tx.signal(ram);
        Ok(())
    }

    fn give(&mut self) -> Result<()> {
        let features = self.to.backend.features();
        if self.arrived.is_empty() {
            let room = std::mem::take(&mut self.arrived);
            self.arrived = self.inbox.take(Some(room)).packets;
        }
        let ram = &self.to.backend.ram.memory;
        let rx = &mut self.to.backend.rings.rx;
        for _ in 0..BATCH {
            let Some(packet) = self.arrived.pop_front() else {
                break;
            };
            deliver(rx, ram, features, &packet.fit(features)?)?;
        }
        rx.signal(ram);
        Ok(())
    }
}
