//! What one enclave has yet to be told.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use bartizan_stream::message::HeldSet;
use tokio::sync::watch;

use super::SentSet;
use crate::memory::Share;

/// Most sets that an enclave was sent and has not answered for. Further changes wait, and then the newest goes.
const UNANSWERED: usize = 4;

/// The set that an enclave is sent: each at once, also where it has not said yet what became of the one before. What it says is of a
/// number, and settles those below: an enclave that was sent two answers for the newer.
#[derive(Debug)]
pub(super) struct News {
    set: watch::Receiver<Option<Arc<SentSet>>>,
    /// What is in force there.
    in_force: Option<HeldSet>,
    /// What it was sent and has not answered, in the order of their numbers, and the memory for each.
    sent: VecDeque<(HeldSet, Share)>,
    /// The last number that it was sent, refused ones too.
    last: Option<NonZeroU64>,
}

/// An enclave answers for a set that it was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the enclave answers for set {0}, which it was not sent")]
pub(super) struct NotSent(u64);

impl News {
    pub(super) fn new(
        set: watch::Receiver<Option<Arc<SentSet>>>,
        in_force: Option<HeldSet>,
    ) -> Self {
        Self {
            set,
            in_force,
            sent: VecDeque::new(),
            last: None,
        }
    }

    /// Whether the enclave owes an answer.
    pub(super) fn is_awaited(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Returns once the set is another one; what it is, [`News::due`] says. Not at all once the verifier ends.
    pub(super) async fn changed(&mut self) {
        if self.set.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// The set that is to be sent now.
    pub(super) fn due(&mut self) -> Option<Arc<SentSet>> {
        let set = self.set.borrow_and_update().clone()?;
        if self.sent.len() >= UNANSWERED {
            return None;
        }
        let held = set.held();
        let known = self.in_force == Some(held) || self.last >= Some(held.number);
        (!known).then_some(set)
    }

    /// It was sent.
    pub(super) fn sent(&mut self, set: &SentSet, share: Share) {
        self.last = Some(set.held().number);
        self.sent.push_back((set.held(), share));
    }

    /// The enclave has put a set in force.
    pub(super) fn in_force(&mut self, set: HeldSet) -> Result<(), NotSent> {
        // It may say again what it said in its hello.
        if self.in_force == Some(set) {
            return Ok(());
        }
        if !self.sent.iter().any(|(sent, _)| *sent == set) {
            return Err(NotSent(set.number.get()));
        }
        self.sent.retain(|(sent, _)| sent.number > set.number);
        self.in_force = Some(set);
        Ok(())
    }

    /// The enclave has refused a set.
    pub(super) fn refused(&mut self, number: NonZeroU64) -> Result<(), NotSent> {
        let before = self.sent.len();
        self.sent.retain(|(sent, _)| sent.number != number);
        match self.sent.len() < before {
            true => Ok(()),
            false => Err(NotSent(number.get())),
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::identity::CardId;
    use bartizan_stream::message::PolicySet;

    use super::*;
    use crate::memory::MemoryBudget;
    use crate::payer::Payer;

    fn set(number: u64) -> Option<Arc<SentSet>> {
        let set = PolicySet::new(NonZeroU64::new(number).unwrap(), Vec::new()).unwrap();
        let digest = [number.to_be_bytes()[7]; 48];
        Some(Arc::new(SentSet { set, digest }))
    }

    fn held(number: u64) -> HeldSet {
        set(number).unwrap().held()
    }

    struct Rig {
        sets: watch::Sender<Option<Arc<SentSet>>>,
        memory: MemoryBudget,
        news: News,
    }

    impl Rig {
        fn new() -> Self {
            let sets = watch::Sender::new(None);
            Self {
                news: News::new(sets.subscribe(), None),
                memory: MemoryBudget::new(1000),
                sets,
            }
        }

        /// Sends what is due; which that is.
        fn send(&mut self) -> Option<u64> {
            let due = self.news.due()?;
            let share = self.memory.try_take(&Payer::Host(CardId([0; 32])), 1);
            self.news.sent(&due, share.unwrap());
            Some(due.held().number.get())
        }

        fn publish(&mut self, number: u64) -> Option<u64> {
            self.sets.send_replace(set(number));
            self.send()
        }
    }

    #[test]
    fn the_newest_goes_at_once_and_the_answer_for_it_settles_those_before() {
        let mut rig = Rig::new();
        assert_eq!(rig.send(), None);
        assert_eq!([rig.publish(3), rig.publish(5)], [Some(3), Some(5)]);
        assert_eq!(rig.send(), None, "nothing is sent twice");
        assert_eq!(rig.memory.free(), 998);
        rig.news.in_force(held(5)).unwrap();
        assert!(!rig.news.is_awaited());
        assert_eq!(rig.memory.free(), 1000);
        // Late, and of what was settled.
        assert_eq!(rig.news.in_force(held(3)), Err(NotSent(3)));
        rig.news.in_force(held(5)).unwrap();
    }

    #[test]
    fn an_answer_is_of_its_number_alone() {
        let mut rig = Rig::new();
        assert_eq!([rig.publish(1), rig.publish(2)], [Some(1), Some(2)]);
        rig.news.refused(NonZeroU64::new(2).unwrap()).unwrap();
        assert!(rig.news.is_awaited(), "the first is not answered for");
        let another = HeldSet {
            digest: [9; 48],
            ..held(1)
        };
        assert_eq!(rig.news.in_force(another), Err(NotSent(1)));
        rig.news.in_force(held(1)).unwrap();
        assert!(!rig.news.is_awaited());
        assert_eq!(
            rig.news.refused(NonZeroU64::new(2).unwrap()),
            Err(NotSent(2))
        );
    }

    /// Known attack: an enclave answers for nothing, and each change takes memory for it.
    #[test]
    fn what_is_not_answered_for_is_bounded_and_then_the_newest_goes() {
        let mut rig = Rig::new();
        let sent: Vec<_> = (1..=6).map(|number| rig.publish(number)).collect();
        assert_eq!(sent, [Some(1), Some(2), Some(3), Some(4), None, None]);
        rig.news.in_force(held(1)).unwrap();
        assert_eq!(rig.send(), Some(6));
        assert_eq!(rig.memory.free(), 996);
    }
}
