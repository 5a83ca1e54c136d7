//! Evidence, from what happens to what the verifier has.

use bartizan_attestation::certificates::Usage;
use bartizan_attestation::cose::{MessageType, Unverified};
use bartizan_attestation::evidence::{Evidence, Guest, Taken, What};
use bartizan_local::flow::Guest as GuestBoot;
use bartizan_stream::resume::{Cursor, ReceiptError};
use tokio::time::advance;

use super::*;
use crate::keys::Keys;
use crate::peers::tests::Fleet;
use crate::sealed::EVIDENCE_LIMITS;
use crate::witness::{HOUR, SOON, TRUST};

/// Keys that are certified.
fn keys() -> Keys {
    let keys = Keys::make().unwrap();
    let fleet = Fleet::new();
    let chain = |usage, key: &EphemeralKey| fleet.card().certify(usage, key);
    let evidence = chain(Usage::Evidence, &keys.evidence).into_iter();
    keys.show(
        chain(Usage::EnclaveTls, keys.tls()),
        evidence.map(Into::into).collect(),
        crate::run::now_s() + 3600,
    );
    keys
}

impl Rig {
    /// Waits until what has happened is due, and signs it.
    async fn testify(&self, keys: &Keys) {
        advance(SOON).await;
        self.held.testify(keys, &self.ruling);
    }

    /// What a stream is sent whose verifier has all up to `kept`.
    fn sent(&self, kept: u64) -> (Cursor, Vec<Bytes>) {
        let mut cursor = self.held.resume(kept).unwrap();
        let mut pieces = Vec::new();
        while let Some(piece) = self.held.next_piece(&mut cursor) {
            assert_eq!(piece.sequence().get(), kept + 1 + pieces.len() as u64);
            pieces.push(piece.signed().clone());
        }
        (cursor, pieces)
    }
}

fn read(piece: &Bytes) -> Evidence {
    Evidence::unverified(piece).unwrap()
}

fn events(piece: &Bytes) -> Vec<What> {
    let events = read(piece).statement.events.into_iter();
    events.map(|event| event.what).collect()
}

#[tokio::test(start_paused = true)]
async fn it_is_kept_before_it_is_sent_and_sent_again_as_it_was() {
    let (mut rig, keys) = (Rig::new(), keys());
    rig.card.is_away = true;
    rig.testify(&keys).await;
    assert!(rig.held.due().is_some());
    rig.keep();
    assert_eq!(rig.sent(0).1, [] as [Bytes; 0], "it is not kept yet");
    // It is begun once, whatever happens meanwhile.
    rig.take(&set(3, &[])).unwrap();
    rig.testify(&keys).await;
    rig.card.is_away = false;
    rig.keep();
    let (_, first) = rig.sent(0);
    assert_eq!(events(&first[0]), [What::Started { set: None }]);
    let key = keys.evidence.public_key();
    let message = Unverified::parse(&first[0], MessageType::Evidence).unwrap();
    assert_eq!(message.chain().len(), 2);
    message.verify(&key).unwrap();
    let hello = rig.hello();
    assert_eq!(hello.span.oldest().get(), 1);

    // The machine ends: the next one has another key, and sends the same.
    let mut rig = rig.restart();
    let next_keys = self::keys();
    assert_eq!(rig.hello().source, hello.source);
    assert_eq!(rig.sent(0).1, first);
    rig.testify(&next_keys).await;
    rig.keep();
    let (_, both) = rig.sent(0);
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    let second = read(&both[1]).statement;
    assert_eq!(second.previous, Some(Evidence::digest(&first[0])));
    assert_eq!(second.source, hello.source.0);
    let set = Some(number(3));
    assert!(
        second
            .events
            .iter()
            .any(|event| event.what == What::Started { set })
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_verifier_has_is_dropped_and_no_number_is_given_twice() {
    let (mut rig, keys) = (Rig::new(), keys());
    rig.testify(&keys).await;
    rig.keep();
    let (cursor, first) = rig.sent(0);
    // Known attack: it says that it has what was never sent, and what it was not sent is dropped.
    let lies = rig.held.receipt(&cursor, 2);
    assert_eq!(lies, Err(ReceiptError::NeverSent { kept: 2, sent: 1 }));
    rig.held.receipt(&cursor, 1).unwrap();
    let span = rig.hello().span;
    assert_eq!((span.oldest().get(), span.next().get()), (2, 2));
    // The state has not forgotten it yet, which costs no write: the verifier says again that it has it.
    let mut rig = rig.restart();
    assert_eq!(rig.hello().span.oldest().get(), 1);
    assert_eq!(rig.sent(1).1, [] as [Bytes; 0]);
    rig.testify(&keys).await;
    rig.keep();
    let (_, second) = rig.sent(1);
    assert_eq!(
        read(&second[0]).statement.previous,
        Some(Evidence::digest(&first[0]))
    );
    let rig = rig.restart();
    assert_eq!(rig.hello().span.oldest().get(), 2);
    // One that has more than there ever was knows another past: this state is an older one.
    let ahead = rig.held.resume(9).unwrap_err();
    assert_eq!(ahead, ReceiptError::NeverSent { kept: 9, sent: 2 });
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_told() {
    let (mut rig, keys) = (Rig::new(), keys());
    let policies = set(3, &[signed(&rig.key, &text("web", 1))]);
    rig.take(&policies).unwrap();
    rig.take(&set(2, &[])).unwrap_err();
    rig.command(9, CommandOutcome::NoGuest);
    rig.ruling
        .change(|decider| decider.isolated_before(&[VM].into()));
    rig.command(10, CommandOutcome::Done);
    rig.command(10, CommandOutcome::Done);
    let (vm, boot) = (VM, 7);
    for trust in [Trust::None, Trust::Affirming, Trust::Affirming] {
        rig.ruling.trust(GuestBoot { vm, boot }, trust);
    }
    for _ in 0..3 {
        let of = GuestBoot { vm, boot };
        rig.ruling.witness().denied(of, "web/only");
    }
    rig.testify(&keys).await;
    rig.keep();
    let told = events(&rig.sent(0).1[0]);
    let guest = Guest { vm, boot };
    for what in [
        What::Started { set: None },
        What::Isolation {
            vm,
            isolated: true,
            order: number(10),
        },
        What::Trust {
            guest,
            taken_for: Taken::Affirming,
        },
        What::Denied {
            guest,
            decisions: number(3),
            by: "web/only".into(),
        },
    ] {
        let count = told.iter().filter(|told| **told == what).count();
        assert_eq!(count, 1, "{what:?} of {told:#?}");
    }
    let refused = |what: &&What| matches!(what, What::SetRefused { set, .. } if set.get() == 2);
    assert_eq!(told.iter().filter(refused).count(), 1);
    let in_force = |what: &&What| matches!(what, What::InForce { set, .. } if set.get() == 3);
    assert_eq!(told.iter().filter(in_force).count(), 1);
    assert_eq!(told.len(), 6);
    // That is said once.
    rig.testify(&keys).await;
    assert_eq!(rig.held.due(), None);
}

/// Known attack: while devices' link is broken it is stated that a guest is cut off, and it goes on.
#[tokio::test(start_paused = true)]
async fn isolation_is_stated_once_devices_have_confirmed_it() {
    let (mut rig, keys) = (Rig::new(), keys());
    let stated = |rig: &Rig| {
        let told = rig.sent(0).1.iter().flat_map(events).collect::<Vec<_>>();
        let isolated = |what: &&What| matches!(what, What::Isolation { isolated: true, .. });
        told.iter().filter(isolated).count()
    };
    rig.ruling.change(Decider::devices_are_gone);
    rig.ruling
        .change(|decider| decider.isolated_before(&[VM].into()));
    let ordered = rig.command(10, CommandOutcome::Done);
    assert_eq!(ordered, (true, None));
    rig.testify(&keys).await;
    rig.keep();
    assert_eq!(stated(&rig), 0);
    // Another stream asks for the same once more.
    rig.hello();
    rig.command(10, CommandOutcome::Done);
    rig.ruling.change(Decider::devices_come);
    assert_eq!(rig.answered(10), Some(CommandOutcome::Done));
    rig.testify(&keys).await;
    rig.keep();
    assert_eq!(stated(&rig), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_verifier_is_away_what_there_is_no_room_for_waits_and_costs_nothing() {
    let (mut rig, keys) = (Rig::new(), keys());
    let guest = |number: u64| GuestBoot {
        vm: u128::from(number).to_be_bytes(),
        boot: 1,
    };
    let mut guests = 1..;
    let mut written = 0_usize;
    for _ in 0..10 * EVIDENCE_LIMITS.pieces {
        let next = guests.next().unwrap();
        rig.ruling.trust(guest(next), Trust::Affirming);
        advance(TRUST).await;
        rig.held.testify(&keys, &rig.ruling);
        written += usize::from(rig.held.due().is_some());
        rig.keep();
    }
    assert!(written <= EVIDENCE_LIMITS.pieces);
    let (cursor, pieces) = rig.sent(0);
    assert!((2..=EVIDENCE_LIMITS.pieces).contains(&pieces.len()));
    let until = rig.held.until_testified(&keys, &rig.ruling);
    let waits = tokio::time::timeout(2 * HOUR, until).await;
    assert!(waits.is_err(), "nothing is due that there is no room for");
    // Once there is room all is told, in order.
    rig.held.receipt(&cursor, pieces.len() as u64).unwrap();
    rig.held.until_testified(&keys, &rig.ruling).await;
    let mut all: Vec<_> = pieces.iter().flat_map(events).collect();
    let mut kept = pieces.len() as u64;
    loop {
        rig.testify(&keys).await;
        if rig.held.due().is_none() {
            break;
        }
        rig.keep();
        let (cursor, more) = rig.sent(kept);
        all.extend(more.iter().flat_map(events));
        kept += more.len() as u64;
        rig.held.receipt(&cursor, kept).unwrap();
    }
    let told = all.iter().filter_map(|what| match what {
        What::Trust { guest, .. } => Some(u128::from_be_bytes(guest.vm)),
        _ => None,
    });
    let expected = 1..=10 * EVIDENCE_LIMITS.pieces as u128;
    assert!(told.eq(expected));
}

/// Nobody has certified the key: whatever was signed by it would be refused.
#[tokio::test(start_paused = true)]
async fn nothing_is_signed_before_the_key_is_certified() {
    let rig = Rig::new();
    rig.testify(&Keys::make().unwrap()).await;
    assert_eq!(rig.held.due(), None);
    rig.testify(&keys()).await;
    assert!(rig.held.due().is_some());
}
