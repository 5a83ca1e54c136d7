use std::collections::VecDeque;

use proptest::prelude::*;
use prost::bytes::Bytes;

use super::*;
use crate::message::Evidence;

const LIMITS: OutboxLimits = OutboxLimits {
    pieces: 8,
    bytes: 100,
};

fn piece(number: u64) -> Bytes {
    Bytes::from(number.to_be_bytes().to_vec())
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push,
    Connect,
    Send,
    /// The oldest piece under way arrives.
    Arrive,
    /// What has arrived becomes durable.
    Keep,
    /// The receiver says so.
    Acknowledge,
    /// That arrives.
    Acknowledged,
    /// The connection breaks: all that is under way is lost.
    Break,
    /// The receiver starts anew, with what was durable.
    RestartReceiver,
    /// The sender starts anew, with what it had kept.
    RestartSender,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Push),
        3 => Just(Step::Connect),
        6 => Just(Step::Send),
        6 => Just(Step::Arrive),
        4 => Just(Step::Keep),
        4 => Just(Step::Acknowledge),
        4 => Just(Step::Acknowledged),
        2 => Just(Step::Break),
        1 => Just(Step::RestartReceiver),
        1 => Just(Step::RestartSender),
    ];
    prop::collection::vec(step, 0..300)
}

/// Both ends and what is between them.
struct World {
    outbox: Outbox,
    pushed: Vec<Bytes>,
    link: Option<Link>,
    inbox: Inbox,
    /// What the receiver took, not yet durable.
    received: Vec<Bytes>,
    durable: Vec<Bytes>,
}

struct Link {
    cursor: Cursor,
    up: VecDeque<Evidence>,
    down: VecDeque<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            outbox: Outbox::new(LIMITS),
            pushed: Vec::new(),
            link: None,
            inbox: Inbox::new(0),
            received: Vec::new(),
            durable: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push => {
                let new = piece(self.pushed.len() as u64 + 1);
                match self.outbox.push(new.clone()) {
                    Ok(number) => {
                        self.pushed.push(new);
                        assert_eq!(number.get(), self.pushed.len() as u64);
                    }
                    Err(error) => assert!(
                        matches!(error, OutboxError::Full { pieces: 8, .. }),
                        "{error}"
                    ),
                }
            }
            Step::Connect => self.connect(),
            Step::Send => {
                if let Some(link) = &mut self.link {
                    link.up.extend(self.outbox.next(&mut link.cursor));
                }
            }
            Step::Arrive => {
                let arrived = self.link.as_mut().and_then(|link| link.up.pop_front());
                if let Some(piece) = arrived
                    && self.inbox.take(piece.sequence().get()).unwrap() == Taken::New
                {
                    self.received.push(piece.signed().clone());
                }
            }
            Step::Keep => self.durable.append(&mut self.received),
            Step::Acknowledge => {
                if let Some(link) = &mut self.link {
                    link.down.push_back(self.durable.len() as u64);
                }
            }
            Step::Acknowledged => {
                if let Some(link) = &mut self.link
                    && let Some(kept) = link.down.pop_front()
                {
                    self.outbox.receipt(&link.cursor, kept).unwrap();
                }
            }
            Step::Break => self.link = None,
            Step::RestartReceiver => {
                self.link = None;
                self.received.clear();
                self.inbox = Inbox::new(self.durable.len() as u64);
            }
            Step::RestartSender => {
                self.link = None;
                let (waiting, next) = (self.outbox.waiting().cloned(), self.outbox.span().next());
                self.outbox = Outbox::restore(LIMITS, waiting.collect(), next).unwrap();
            }
        }
    }

    /// A stream begins: the receiver goes on from what is durable, the sender from what it is told.
    fn connect(&mut self) {
        self.received.clear();
        self.inbox = Inbox::new(self.durable.len() as u64);
        self.inbox.resume(self.outbox.span()).unwrap();
        self.link = Some(Link {
            cursor: self.outbox.resume(self.inbox.taken()).unwrap(),
            up: VecDeque::new(),
            down: VecDeque::new(),
        });
    }
}

proptest! {
    #[test]
    fn all_is_taken_once_and_in_order_whatever_breaks(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            prop_assert!(world.pushed.starts_with(&world.durable));
        }
        // In the end a connection lasts.
        world.step(Step::Connect);
        for _ in 0..world.pushed.len() {
            for step in [Step::Send, Step::Arrive, Step::Keep, Step::Acknowledge, Step::Acknowledged] {
                world.step(step);
            }
        }
        prop_assert_eq!(&world.durable, &world.pushed);
        prop_assert_eq!(world.outbox.waiting().count(), 0);
    }
}

#[test]
fn what_there_is_no_room_for_is_refused_and_nothing_is_dropped() {
    let mut outbox = Outbox::new(OutboxLimits {
        pieces: 3,
        bytes: 100,
    });
    outbox.push(Bytes::from(vec![1; 90])).unwrap();
    let full = OutboxError::Full {
        pieces: 1,
        bytes: 90,
    };
    assert_eq!(outbox.push(Bytes::from(vec![1; 11])), Err(full));
    outbox.push(Bytes::from(vec![1; 10])).unwrap();
    outbox.resume(1).unwrap();
    assert_eq!(outbox.waiting().count(), 1);
    // Room again.
    outbox.push(Bytes::from(vec![1; 90])).unwrap();
    assert_eq!(outbox.span().next().get(), 4);
}

#[test]
fn a_receiver_is_not_believed_what_cannot_be() {
    let mut outbox = Outbox::new(LIMITS);
    for number in 1..=3 {
        outbox.push(piece(number)).unwrap();
    }
    let never = ReceiptError::NeverSent { kept: 4, sent: 3 };
    assert_eq!(outbox.resume(4).unwrap_err(), never);
    let mut cursor = outbox.resume(2).unwrap();
    // The third was made, and not sent yet.
    let early = ReceiptError::NeverSent { kept: 3, sent: 2 };
    assert_eq!(outbox.receipt(&cursor, 3).unwrap_err(), early);
    assert_eq!(outbox.next(&mut cursor).unwrap().sequence().get(), 3);
    assert_eq!(outbox.next(&mut cursor), None);
    assert_eq!(outbox.receipt(&cursor, 3), Ok(1));
    // It had them.
    let lost = ReceiptError::Lost {
        kept: 1,
        dropped: 3,
    };
    assert_eq!(outbox.resume(1).unwrap_err(), lost);
}

#[test]
fn a_sender_that_lost_its_evidence_or_its_past_is_told_apart() {
    let span = |oldest: u64, next: u64| {
        crate::message::Span::new(oldest.try_into().unwrap(), next.try_into().unwrap()).unwrap()
    };
    let mut inbox = Inbox::new(5);
    for fits in [span(3, 9), span(6, 9), span(6, 6), span(1, 6)] {
        assert_eq!(inbox.resume(fits), Ok(()));
    }
    let gap = InboxError::Gap { due: 6, found: 7 };
    assert_eq!(inbox.resume(span(7, 9)), Err(gap));
    let back = InboxError::SenderWentBack { taken: 5, next: 5 };
    assert_eq!(inbox.resume(span(2, 5)), Err(back));
    assert_eq!(inbox.take(7), Err(gap));
    assert_eq!(inbox.take(5), Ok(Taken::Repeated));
    assert_eq!((inbox.take(6), inbox.taken()), (Ok(Taken::New), 6));
}

#[test]
fn what_was_kept_with_gaps_is_no_outbox() {
    let kept = |numbers: &[u64], next: u64| {
        let waiting = numbers
            .iter()
            .map(|number| Evidence::new((*number).try_into().unwrap(), piece(*number)).unwrap());
        Outbox::restore(LIMITS, waiting.collect(), next.try_into().unwrap())
    };
    assert_eq!(kept(&[4, 5], 6).unwrap().span().oldest().get(), 4);
    assert_eq!(kept(&[], 6).unwrap().span().oldest().get(), 6);
    for wrong in [
        kept(&[4, 6], 7),
        kept(&[4, 5], 7),
        kept(&[5, 4], 6),
        kept(&[1, 1], 2),
    ] {
        assert!(matches!(wrong, Err(OutboxError::Gap { .. })), "{wrong:?}");
    }
}
