//! Whether the link to the enclave is open, for who asks.

use std::sync::atomic::{AtomicU64, Ordering};

/// Since when the link is open, in seconds since the Unix epoch; 0 while it is not.
#[derive(Debug, Default)]
pub(in crate::daemon) struct EnclavePresence(AtomicU64);

/// The link is open until this is dropped.
#[derive(Debug)]
pub(super) struct Present<'p> {
    presence: &'p EnclavePresence,
    since_s: u64,
}

impl EnclavePresence {
    /// The link was opened.
    pub(super) fn opened(&self, now_s: u64) -> Present<'_> {
        let since_s = now_s.max(1);
        self.0.store(since_s, Ordering::Relaxed);
        Present {
            presence: self,
            since_s,
        }
    }

    /// Since when it is open; `None` if it is not.
    pub(in crate::daemon) fn since_s(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|since_s| *since_s > 0)
    }
}

impl Drop for Present<'_> {
    /// Unless a newer one was opened meanwhile.
    fn drop(&mut self) {
        let link = &self.presence.0;
        let _newer = link.compare_exchange(self.since_s, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_open_until_the_last_one_that_was_opened_ends() {
        let presence = EnclavePresence::default();
        assert_eq!(presence.since_s(), None);
        let former = presence.opened(7);
        let link = presence.opened(8);
        drop(former);
        assert_eq!(presence.since_s(), Some(8));
        drop(link);
        assert_eq!(presence.since_s(), None);
    }
}
