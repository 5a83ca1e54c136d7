//! What a guest receives: judged, and into its rx rings.

use std::time::Instant;

use bartizan_local::flow::Direction;
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;

use super::{BATCH, Core};
use crate::net::deliver::{DeliverError, deliver};
use crate::net::era::Senders;
use crate::net::packet::Packet;
use crate::net::port::Refusal;
use crate::vhost_user::{MAX_PAIRS, Rings, View};

/// Packets that wait for one queue's room while other queues go on.
const MOST_STALLED: usize = 64;

impl Core {
    /// A batch at most. Packets of one flow come by one queue, and in order. Where that has no room the others go on for a while.
    pub(super) fn give(
        &mut self,
        pairs: &mut [Rings],
        view: &View<'_>,
        features: u64,
        now: Instant,
    ) -> bool {
        self.full = [false; MAX_PAIRS];
        self.goes_on = false;
        if features & (1 << VIRTIO_F_VERSION_1) == 0 {
            // Nobody is there to take them.
            self.arrived.clear();
            self.ready.clear();
            return false;
        }
        let stations = self.plug.segment().stations();
        let mut senders = Senders::of(&stations);
        let mut has_more = true;
        for _ in 0..BATCH {
            let Some(packet) = self.next_for_guest(features, now, &mut senders) else {
                (has_more, self.goes_on) = (false, true);
                break;
            };
            let queue = self.steering.queue(self.steering.flow(&packet.frame));
            let place =
                queue.and_then(|queue| Some((pairs.get_mut(queue)?, self.full.get_mut(queue)?)));
            let Some((pair, is_full)) = place else {
                // It takes packets by no queue.
                self.ready.push_front(packet);
                has_more = false;
                break;
            };
            let delivered = if *is_full {
                Err(DeliverError::NoRoom)
            } else {
                deliver(&mut pair.rx, view, features, &packet)
            };
            match delivered {
                Ok(()) => {
                    self.observer.see(&packet, Direction::Ingress);
                    self.spares.keep(packet);
                }
                Err(DeliverError::NoRoom) => {
                    *is_full = true;
                    self.stalled.push_back(packet);
                    let full = self.full.iter().filter(|is_full| **is_full).count();
                    if full >= self.steering.queues() || self.stalled.len() >= MOST_STALLED {
                        has_more = false;
                        break;
                    }
                }
                Err(error) => self.port.refuse(Direction::Ingress, &error.into(), 1),
            }
        }
        while let Some(packet) = self.stalled.pop_back() {
            self.ready.push_front(packet);
        }
        has_more
    }

    /// The next packet that the guest may have. One is judged when it is about to be delivered, and not before; what its sender's side let
    /// it pass by holds until the next one is asked for.
    fn next_for_guest(
        &mut self,
        features: u64,
        now: Instant,
        senders: &mut Senders<'_>,
    ) -> Option<Packet> {
        loop {
            let (packet, is_judged) = match self.ready.pop_front() {
                Some(packet) => (packet, true),
                None => (self.arrived.pop_front()?, false),
            };
            // Before it is taken for what its sender still says.
            if !senders.still_let_pass(&packet) {
                self.port.refuse(Direction::Ingress, &Refusal::Overtaken, 1);
                continue;
            }
            let allowed = if is_judged {
                Ok(Some(packet))
            } else {
                self.port.receive(packet, self.plug.segment(), now)
            };
            let fitted = allowed
                .and_then(|packet| Ok(packet.map(|packet| packet.fit(features)).transpose()?));
            match fitted {
                Ok(Some(packet)) => return Some(packet),
                Ok(None) => {}
                Err(refusal) => self.port.refuse(Direction::Ingress, &refusal, 1),
            }
        }
    }
}
