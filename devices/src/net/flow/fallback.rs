//! What may begin while nobody can decide: told in advance, since then there is nobody to ask.

use std::sync::Arc;

use bartizan_local::flow::{Epoch, Fallback, Flow, MAX_FALLBACK, Width};

use super::verdicts::Ruling;

/// Of one guest; nothing where none was told.
#[derive(Debug, Default)]
pub(super) struct Fallen {
    epoch: Epoch,
    allowed: Vec<Width>,
}

impl Fallen {
    /// What holds from now on.
    pub(super) fn told(fallback: &Fallback) -> Self {
        let allowed = fallback.allowed.iter().take(MAX_FALLBACK);
        Self {
            epoch: fallback.of.epoch,
            allowed: allowed.copied().collect(),
        }
    }

    /// What becomes of a flow that begins now, if it may.
    ///
    /// Known attack: a policy takes back what was told, and whoever decides is made to be away before it is told anew. It holds in its own
    /// epoch only.
    pub(super) fn find(&self, flow: &Flow, present: Epoch, judge: u64) -> Option<Arc<Ruling>> {
        let may =
            self.epoch.holds_in(present) && self.allowed.iter().any(|width| width.contains(flow));
        may.then(|| {
            Arc::new(Ruling {
                judge,
                epoch: self.epoch,
                allowed: true,
                allowed_unavailable: true,
                reason: "allowed while nobody can decide".into(),
                begins_until: None,
            })
        })
    }
}
