//! What one enclave has yet to be told.

use std::sync::Arc;

use bartizan_stream::message::HeldSet;
use tokio::sync::watch;

use super::SentSet;
use crate::memory::Share;

/// The set that an enclave is sent, one at a time: the next is not sent before it has said what became of the last.
#[derive(Debug)]
pub(super) struct News {
    set: watch::Receiver<Option<Arc<SentSet>>>,
    /// What is in force there.
    in_force: Option<HeldSet>,
    /// What it was sent and has not answered, and the memory for it.
    sent: Option<(HeldSet, Share)>,
    /// The last number that it was sent, refused ones too.
    last: u64,
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
            sent: None,
            last: 0,
        }
    }

    /// Whether the enclave owes an answer.
    pub(super) const fn is_awaited(&self) -> bool {
        self.sent.is_some()
    }

    /// Returns once the set is another one; what it is, [`News::due`] says. Not at all once the verifier ends.
    pub(super) async fn changed(&mut self) {
        if self.set.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// The set that is to be sent now.
    pub(super) fn due(&mut self) -> Option<Arc<SentSet>> {
        if self.is_awaited() {
            return None;
        }
        let set = self.set.borrow_and_update().clone()?;
        let held = set.held();
        let known = self.in_force == Some(held) || self.last >= held.number.get();
        (!known).then_some(set)
    }

    /// It was sent.
    pub(super) fn sent(&mut self, set: &SentSet, share: Share) {
        self.last = set.held().number.get();
        self.sent = Some((set.held(), share));
    }

    /// The enclave has put a set in force.
    pub(super) fn in_force(&mut self, set: HeldSet) -> Result<(), NotSent> {
        let number = set.number.get();
        // It may say again what it said in its hello.
        if self.in_force == Some(set) {
            return Ok(());
        }
        match &self.sent {
            Some((sent, _)) if *sent == set => {}
            _ => return Err(NotSent(number)),
        }
        self.sent = None;
        self.in_force = Some(set);
        Ok(())
    }

    /// The enclave has refused a set.
    pub(super) fn refused(&mut self, number: u64) -> Result<(), NotSent> {
        match &self.sent {
            Some((sent, _)) if sent.number.get() == number => {}
            _ => return Err(NotSent(number)),
        }
        self.sent = None;
        Ok(())
    }
}
