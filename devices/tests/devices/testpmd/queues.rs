//! Several queues each way.

use super::front_end::{Sends, Testpmd};
use crate::daemon::Daemon;
use crate::network::decider::Decider;
use crate::network::guest::{NetGuest, boot};
use crate::network::sample::station;

const SENDER: u8 = 41;
const RECEIVER: u8 = 42;

/// Its driver asks how many there are, takes two, and has them switched on by itself, as QEMU does for a guest's.
#[test]
fn frames_of_both_queues_arrive_and_a_flows_answers_come_by_one() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let mut receiver = NetGuest::attached(RECEIVER, &daemon);
    let sends = Sends {
        from: station(SENDER),
        to: station(RECEIVER),
        ports: (1000, 53),
    };
    let mut sender = Testpmd::start(&daemon, SENDER, &sends, 2);
    // Its first two wait for what is decided.
    sender.send(1, 64);
    decider.decide(boot(SENDER), true);
    decider.decide(boot(RECEIVER), true);
    decider.wait_until_heard();
    sender.send(32, 64);
    for _ in 0..2 * 33 {
        assert_eq!(receiver.receive().len(), 64);
    }
    for _ in 0..3 {
        receiver.send_udp(sends.from, (53, 1000), b"answer");
    }
    sender.receive(3);
    assert_eq!(sender.counted_by_queue("tx"), [33, 33]);
    let mut received = sender.counted_by_queue("rx");
    received.sort_unstable();
    assert_eq!(received, [0, 3]);
    receiver.expect_silence(station(SENDER));
    sender.quit();
}
