//! What a guest sends: off its tx rings, judged, and on to whom it is for.

use std::time::Instant;

use bartizan_local::flow::Direction;
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;

use super::{BATCH, Core, Neighbours};
use crate::net::packet::Packet;
use crate::net::port::{Refusal, Sent};
use crate::vhost_user::{Ring, Rings, View};

/// Of a batch, what one queue sends before the next one's turn.
const QUANTUM: usize = 32;

impl Core {
    /// A batch at most, of each queue some in turn: a guest has no more of it for having more queues.
    pub(super) fn take_sent(
        &mut self,
        pairs: &mut [Rings],
        view: &View<'_>,
        features: u64,
        now: Instant,
    ) -> bool {
        // A driver of an older version has another header. None of it is read.
        if features & (1 << VIRTIO_F_VERSION_1) == 0 {
            return false;
        }
        let neighbours = Neighbours::of(&self.plug);
        let (mut left, mut idle) = (BATCH, 0);
        while idle < pairs.len() {
            let queue = self.sends_next;
            self.sends_next = if queue + 1 < pairs.len() {
                queue + 1
            } else {
                0
            };
            let Some(pair) = pairs.get_mut(queue) else {
                continue;
            };
            let most = left.min(QUANTUM);
            let taken = (0..most)
                .take_while(|_| {
                    self.take_next((&mut pair.tx, queue), view, features, (&neighbours, now))
                })
                .count();
            left -= taken;
            if left == 0 {
                return true;
            }
            idle = if taken < most { idle + 1 } else { 0 };
        }
        false
    }

    /// What a queue sends next; whether there was something.
    fn take_next(
        &mut self,
        (tx, queue): (&mut Ring, usize),
        view: &View<'_>,
        features: u64,
        (neighbours, now): (&Neighbours, Instant),
    ) -> bool {
        let Some(chain) = tx.pop(view) else {
            return false;
        };
        let head = chain.head_index();
        let mtu = self.port.interface().mtu;
        let read = Packet::read(chain, features, mtu, &mut self.spares);
        // What was read is ours: the guest may have its buffer back.
        tx.add_used(view, &[(head, 0)]);
        let sent = read.map_err(Refusal::from).and_then(|packet| {
            self.observer.see(&packet, Direction::Egress);
            let flow = self.steering.flow(&packet.frame);
            let sent = self.port.send(packet, neighbours, now)?;
            if let Some(flow) = flow {
                self.steering.sent(flow, queue);
            }
            Ok(sent)
        });
        match sent {
            Ok(Sent::On(packet)) => self.onward.add(packet),
            Ok(Sent::Answered(packet)) if self.ready.len() < BATCH => {
                self.ready.push_back(packet);
            }
            Ok(Sent::Answered(_) | Sent::Taken) => {}
            Err(refusal) => self.port.refuse(Direction::Egress, &refusal, 1),
        }
        true
    }
}
