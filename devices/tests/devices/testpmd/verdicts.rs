//! What is said of the same frames, of a guest whose driver is testpmd and of one whose driver is this test's own.

use bartizan_local::flow::{Direction, Flow};

use super::front_end::{Sends, Testpmd};
use crate::daemon::Daemon;
use crate::network::decider::Decider;
use crate::network::guest::{NetGuest, boot};
use crate::network::sample::{Station, ipv4, station, udp};

/// The guest that sends, and the one that may receive.
const SENDER: u8 = 41;
const RECEIVER: u8 = 42;

/// Frames that are judged when it is known what is decided. When the last one is refused it is logged how many were: a power of two.
const FRAMES: u32 = 64;
/// Bytes of Ethernet's, IP's and UDP's headers.
const HEADERS: usize = 42;

/// What is sent, and what is to become of it.
struct Case {
    sends: Sends,
    /// Bytes of a frame.
    size: usize,
    /// Which guests' policies are asked, and what they say of it.
    decided: &'static [(u8, bool)],
    /// Which guest's device refuses it, and why; none where it arrives.
    refused: Option<(u8, Direction, &'static str)>,
}

/// What was seen of it.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    asked: Vec<Flow>,
    /// The headers of what arrived.
    arrived: Vec<Vec<u8>>,
    /// As the daemon tells of each device that ended.
    refused: Vec<String>,
}

/// What drives the sender's device.
trait FrontEnd {
    /// So many frames.
    fn send(&mut self, count: u32);
    /// It takes what the receiver answers, which comes so many times.
    fn receive(&mut self, count: u32);
    /// Its device ends.
    fn quit(self);
}

struct ByTestpmd(Testpmd, usize);

struct ByHand(NetGuest, Vec<u8>);

impl FrontEnd for ByTestpmd {
    fn send(&mut self, count: u32) {
        self.0.send(count, self.1);
    }

    fn receive(&mut self, count: u32) {
        self.0.receive(count.into());
    }

    fn quit(self) {
        self.0.quit();
    }
}

impl FrontEnd for ByHand {
    fn send(&mut self, count: u32) {
        for _ in 0..count {
            self.0.send(&self.1);
        }
    }

    fn receive(&mut self, count: u32) {
        for _ in 0..count {
            self.0.receive();
        }
    }

    fn quit(self) {}
}

impl Case {
    /// From the sender to the receiver, as both may say.
    fn honest() -> Self {
        Self {
            sends: Sends {
                from: station(SENDER),
                to: station(RECEIVER),
                ports: (1000, 53),
            },
            size: 64,
            decided: &[],
            refused: None,
        }
    }

    fn by_testpmd(&self, daemon: &Daemon) -> ByTestpmd {
        ByTestpmd(Testpmd::start(daemon, SENDER, &self.sends, 1), self.size)
    }

    /// With the very frame that testpmd is told to make.
    fn by_hand(&self, daemon: &Daemon) -> ByHand {
        let Sends { from, to, ports } = self.sends;
        let data = vec![0; self.size - HEADERS];
        let frame = ipv4(from, to, 17, &udp(ports.0, ports.1, &data));
        ByHand(NetGuest::attached(SENDER, daemon), frame)
    }

    fn see<F: FrontEnd>(&self, start: impl FnOnce(&Self, &Daemon) -> F) -> Seen {
        let daemon = Daemon::start();
        let decider = Decider::new(&daemon);
        let mut receiver = NetGuest::attached(RECEIVER, &daemon);
        let mut sender = start(self, &daemon);
        let mut arrived = Vec::new();
        sender.send(1);
        let decide = |(guest, allowed): &(u8, bool)| decider.decide(boot(*guest), *allowed);
        let asked = self.decided.iter().map(decide).collect();
        decider.wait_until_heard();
        // The first one waited for what was decided, or nobody was asked and it counts.
        sender.send(FRAMES - u32::from(self.decided.is_empty()));
        match self.refused {
            None => {
                for _ in 0..=FRAMES {
                    let mut frame = receiver.receive();
                    assert_eq!(frame.len(), self.size);
                    frame.truncate(HEADERS);
                    arrived.push(frame);
                }
                for _ in 0..3 {
                    receiver.send_udp(self.sends.from, (53, 1000), b"answer");
                }
                sender.receive(3);
            }
            Some((_, way, reason)) => {
                daemon.wait_until_logged(&format!(" way={way:?} reason={reason} refused={FRAMES}"));
            }
        }
        receiver.expect_silence(station(SENDER));
        sender.quit();
        drop(receiver);
        Seen {
            asked,
            arrived,
            refused: [SENDER, RECEIVER]
                .map(|number| refused(&daemon, number))
                .concat(),
        }
    }

    /// Both front ends see the same, and that is as expected.
    fn check(&self) {
        let seen = self.see(Self::by_testpmd);
        assert_eq!(seen, self.see(Self::by_hand));
        let Sends { from, to, ports } = self.sends;
        let arrived = usize::try_from(1 + FRAMES).unwrap();
        let expected = match self.refused {
            Some(_) => Vec::new(),
            None => {
                let mut frame = ipv4(
                    from,
                    to,
                    17,
                    &udp(ports.0, ports.1, &vec![0; self.size - HEADERS]),
                );
                frame.truncate(HEADERS);
                vec![frame; arrived]
            }
        };
        assert_eq!(seen.arrived, expected);
        let refused = self
            .refused
            .map(|(by, way, reason)| format!("{by}: way={way:?} reason={reason} refused={FRAMES}"));
        assert_eq!(seen.refused, Vec::from_iter(refused));
    }
}

/// What the daemon tells of a guest's device that ends: how many packets it refused, which way and why.
fn refused(daemon: &Daemon, number: u8) -> Vec<String> {
    daemon.wait_until_logged(&format!("device detached cid={number} device=Network"));
    let log = std::fs::read_to_string(daemon.path("log")).unwrap();
    let told = format!("refused while the device served guest={:?} ", boot(number));
    let lines = log.lines().filter_map(|line| line.split_once(&told));
    lines.map(|(_, rest)| format!("{number}: {rest}")).collect()
}

#[test]
fn what_both_policies_allow_arrives_and_is_answered() {
    Case {
        decided: &[(SENDER, true), (RECEIVER, true)],
        ..Case::honest()
    }
    .check();
}

#[test]
fn what_the_senders_policy_denies_does_not_leave() {
    Case {
        decided: &[(SENDER, false)],
        refused: Some((SENDER, Direction::Egress, "denied")),
        ..Case::honest()
    }
    .check();
}

#[test]
fn what_the_receivers_policy_denies_does_not_arrive() {
    Case {
        decided: &[(SENDER, true), (RECEIVER, false)],
        refused: Some((RECEIVER, Direction::Ingress, "denied")),
        ..Case::honest()
    }
    .check();
}

/// Known attack: in another guest's name.
#[test]
fn nobody_is_asked_about_anothers_address_or_mac() {
    let honest = Case::honest();
    let (own, other) = (honest.sends.from, station(43));
    for (from, reason) in [
        (
            Station {
                v4: other.v4,
                ..own
            },
            "spoofed-address",
        ),
        (
            Station {
                mac: other.mac,
                ..own
            },
            "spoofed-mac",
        ),
    ] {
        Case {
            sends: Sends {
                from,
                ..honest.sends
            },
            refused: Some((SENDER, Direction::Egress, reason)),
            ..Case::honest()
        }
        .check();
    }
}

#[test]
fn nobody_is_asked_about_what_is_longer_than_the_mtu_or_for_no_station() {
    Case {
        size: 1600,
        refused: Some((SENDER, Direction::Egress, "oversized")),
        ..Case::honest()
    }
    .check();
    let honest = Case::honest();
    Case {
        sends: Sends {
            to: station(99),
            ..honest.sends
        },
        refused: Some((SENDER, Direction::Egress, "nobody")),
        ..honest
    }
    .check();
}
