//! What may begin while nobody can decide: told in advance, since then there is nobody to ask.

use std::sync::Arc;

use bartizan_local::flow::{Epoch, Fallback, Flow, MAX_FALLBACK, Width};

use super::verdicts::Ruling;

/// Of one guest; nothing where none was told.
#[derive(Debug, Default)]
pub(super) struct Fallen {
    allowed: Vec<Width>,
    ruling: Option<Arc<Ruling>>,
}

impl Fallen {
    /// What holds from now on, by what this judge has told.
    pub(super) fn told(fallback: &Fallback, judge: u64) -> Self {
        let allowed = fallback.allowed.iter().take(MAX_FALLBACK);
        Self {
            allowed: allowed.copied().collect(),
            ruling: Some(Arc::new(Ruling {
                judge,
                epoch: fallback.of.epoch,
                allowed: true,
                allowed_unavailable: true,
                reason: "allowed while nobody can decide".into(),
                begins_until: None,
            })),
        }
    }

    /// What becomes of a flow that begins now, if it may.
    ///
    /// Known attack: a policy takes back what was told, and whoever decides is made to be away before it is told anew. It holds in its own
    /// epoch only.
    pub(super) fn find(&self, flow: &Flow, present: Epoch) -> Option<Arc<Ruling>> {
        let ruling = self.ruling.as_ref()?;
        let may =
            ruling.epoch.holds_in(present) && self.allowed.iter().any(|width| width.contains(flow));
        may.then(|| Arc::clone(ruling))
    }
}
