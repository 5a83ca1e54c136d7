//! The way of a frame with nobody who judges it: by the same rings, copies, reading of headers and inbox as in
//! [`bartizan_devices::net::device::Core`], and to whoever there is beside its sender.

use std::collections::VecDeque;

use anyhow::{Context, Result};
use bartizan_devices::net::packet::Packet;
use bartizan_devices::net::{Inbox, Spares, deliver};
use bartizan_devices::vhost_user::View;

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
    spares: Spares,
}

impl Unjudged {
    pub(crate) fn new(from: Guest, to: Guest) -> Result<Self> {
        Ok(Self {
            from,
            to,
            inbox: Inbox::new()?,
            arrived: VecDeque::new(),
            sent: Vec::new(),
            spares: Spares::default(),
        })
    }

    /// Both devices' turns.
    pub(crate) fn turn(&mut self, mtu: u16) -> Result<()> {
        self.take_sent(mtu)?;
        self.give()
    }

    fn take_sent(&mut self, mtu: u16) -> Result<()> {
        let features = self.from.backend.features();
        let view = View::of(&self.from.backend.ram.memory);
        let pair = self.from.backend.pairs.first_mut();
        let tx = &mut pair.context("a device has rings")?.tx;
        for _ in 0..BATCH {
            let Some(chain) = tx.pop(&view) else { break };
            let head = chain.head_index();
            let read = Packet::read(chain, features, mtu, &mut self.spares);
            tx.add_used(&view, &[(head, 0)]);
            self.sent.push(read?);
        }
        self.inbox.put(self.sent.drain(..));
        tx.signal(&view);
        Ok(())
    }

    fn give(&mut self) -> Result<()> {
        let features = self.to.backend.features();
        if self.arrived.is_empty() {
            let room = std::mem::take(&mut self.arrived);
            self.arrived = self.inbox.take(Some(room)).packets;
        }
        let view = View::of(&self.to.backend.ram.memory);
        let pair = self.to.backend.pairs.first_mut();
        let rx = &mut pair.context("a device has rings")?.rx;
        for _ in 0..BATCH {
            let Some(packet) = self.arrived.pop_front() else {
                break;
            };
            let packet = packet.fit(features)?;
            deliver(rx, &view, features, &packet)?;
            self.spares.keep(packet);
        }
        rx.signal(&view);
        Ok(())
    }
}
