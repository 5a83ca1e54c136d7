//! Which of a guest's queues a packet for it comes by, where its driver uses several (virtio 1.2 section 5.1.6.5.6).
//!
//! All packets of a flow come by one queue: the one by which the guest sent of that flow last, so that the processor that has its
//! socket is the one that is told; else one that follows from the flow's addresses and ports. Which one that is nobody outside can
//! reckon, for it hangs on a secret of each device's.
//!
//! Known attack: a guest sends of many flows, so that what is known of each takes memory. There are so many places, and whoever comes
//! later takes the place of whoever was there.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use super::frame::Frame;

/// Places for flows.
const PLACES: usize = 4096;

/// A device's.
#[derive(Debug, Default)]
pub(super) struct Steering {
    secret: RandomState,
    /// By which queue the guest sent of a flow. None until there are several queues.
    flows: Vec<Place>,
    /// Queues by which it takes packets now.
    usable: Vec<usize>,
}

/// A flow, by bits that its place does not hang on.
#[derive(Clone, Copy, Default, Debug)]
struct Place {
    flow: u32,
    /// Counted from 1; 0 where nothing is known.
    queue: u8,
}

/// A flow, whoever sends of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hash(u64);

impl Steering {
    /// From now on the guest takes packets by these queues.
    pub(super) fn use_queues(&mut self, queues: impl Iterator<Item = usize>) {
        self.usable.clear();
        self.usable.extend(queues);
        if self.usable.len() > 1 && self.flows.is_empty() {
            self.flows.resize(PLACES, Place::default());
        }
    }

    /// How many these are.
    #[must_use]
    pub(super) const fn queues(&self) -> usize {
        self.usable.len()
    }

    /// The flow of a frame, where it matters which it is.
    #[must_use]
    pub(super) fn flow(&self, frame: &Frame) -> Option<Hash> {
        if self.usable.len() < 2 {
            return None;
        }
        let ip = frame.ip()?;
        let (from, to) = ip.transport.ports().unwrap_or((0, 0));
        let (one, other): ((IpAddr, u16), (IpAddr, u16)) =
            ((ip.source, from), (ip.destination, to));
        let ends = (one.min(other), one.max(other), ip.protocol);
        Some(Hash(self.secret.hash_one(ends)))
    }

    /// The guest sent of that flow by that queue.
    pub(super) fn sent(&mut self, flow: Hash, queue: usize) {
        let queue = u8::try_from(queue + 1).unwrap_or(0);
        if let Some(place) = self.flows.get_mut(flow.place()) {
            *place = Place {
                flow: flow.rest(),
                queue,
            };
        }
    }

    /// By which queue a packet of a flow is delivered; the first one where there is no flow. None where the guest takes none.
    #[must_use]
    pub(super) fn queue(&self, flow: Option<Hash>) -> Option<usize> {
        let first = self.usable.first().copied()?;
        let Some(flow) = flow else {
            return Some(first);
        };
        let place = self.flows.get(flow.place());
        let known = place
            .filter(|place| place.flow == flow.rest())
            .and_then(|place| usize::from(place.queue).checked_sub(1))
            .filter(|queue| self.usable.contains(queue));
        known.or_else(|| {
            let nth = flow.nth().checked_rem(self.usable.len())?;
            self.usable.get(nth).copied()
        })
    }
}

/// Each of other bits.
impl Hash {
    fn place(self) -> usize {
        let [a, b, ..] = self.0.to_le_bytes();
        usize::from(u16::from_le_bytes([a, b])) % PLACES
    }

    fn nth(self) -> usize {
        let [_, _, c, d, ..] = self.0.to_le_bytes();
        u16::from_le_bytes([c, d]).into()
    }

    fn rest(self) -> u32 {
        let [.., e, f, g, h] = self.0.to_le_bytes();
        u32::from_le_bytes([e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::sample::{ipv4, ipv6, station, tcp, udp};

    fn frame(bytes: &[u8]) -> Frame {
        Frame::parse(bytes).unwrap()
    }

    fn steering(queues: usize) -> Steering {
        let mut steering = Steering::default();
        steering.use_queues(0..queues);
        steering
    }

    #[test]
    fn a_flow_comes_by_the_queue_that_it_was_sent_by() {
        let mut steering = steering(4);
        let (a, b) = (station(1), station(2));
        for port in 1000..1200 {
            let to = frame(&ipv4(a, b, 6, &tcp(port, 80, 2, b"")));
            let back = frame(&ipv4(b, a, 6, &tcp(80, port, 0x12, b"answer")));
            let flow = steering.flow(&to);
            assert_eq!(steering.flow(&back), flow);
            // Of one that the guest has not sent of, always the same.
            let before = steering.queue(flow).unwrap();
            assert_eq!(steering.queue(flow), Some(before));
            for queue in [3, 1] {
                steering.sent(flow.unwrap(), queue);
                assert_eq!(steering.queue(steering.flow(&back)), Some(queue));
            }
        }
    }

    #[test]
    fn flows_that_begin_elsewhere_come_by_all_queues() {
        let steering = steering(4);
        let mut by = [0; 4];
        for port in 0..400 {
            let packet = frame(&ipv6(station(2), station(1), 17, &udp(port, 53, b"")));
            by[steering.queue(steering.flow(&packet)).unwrap()] += 1;
        }
        assert!(by.iter().all(|flows| *flows > 20), "{by:?}");
    }

    #[test]
    fn a_queue_that_is_not_used_gets_nothing() {
        let mut steering = steering(3);
        let packet = frame(&ipv4(station(2), station(1), 17, &udp(1, 2, b"")));
        let flow = steering.flow(&packet);
        steering.sent(flow.unwrap(), 2);
        steering.use_queues([0, 1].into_iter());
        assert!(steering.queue(flow).unwrap() < 2);
        // By the only one left, whatever was known.
        steering.use_queues([1].into_iter());
        assert_eq!(steering.queue(steering.flow(&packet)), Some(1));
        steering.use_queues([].into_iter());
        assert_eq!(steering.queue(steering.flow(&packet)), None);
    }

    /// Known attack: a guest sends of as many flows as there are ports.
    #[test]
    fn many_flows_take_no_more_room() {
        let mut steering = steering(2);
        for port in 0..=u16::MAX {
            let packet = frame(&ipv4(station(1), station(2), 17, &udp(port, 2, b"")));
            let flow = steering.flow(&packet).unwrap();
            steering.sent(flow, 1);
            assert_eq!(steering.queue(Some(flow)), Some(1));
        }
        assert_eq!(steering.flows.len(), PLACES);
        assert_eq!(self::steering(1).flows.len(), 0);
    }
}
