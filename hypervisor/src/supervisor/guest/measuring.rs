//! Requests for measurement that the measurer works off.

use std::collections::BTreeMap;
use std::time::Duration;

use bartizan_attestation::host::{FromMeasurer, Outcome, ToMeasurer};
use bartizan_attestation::measurement::Refusal;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Guest;

/// How long a measurement may take before the measurer counts as hung, the wait for others included.
const DEADLINE: Duration = Duration::from_secs(120);

/// Requests under way.
#[derive(Debug, Default)]
pub(super) struct Measuring {
    next_id: u64,
    pending: BTreeMap<u64, Pending>,
}

#[derive(Debug)]
struct Pending {
    answer: oneshot::Sender<Outcome>,
    deadline: Instant,
}

impl Measuring {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.deadline).min()
    }

    /// The measurer is gone: what it was asked is answered, so that whoever asked can ask again.
    pub(super) fn lost(&mut self) {
        for (_, pending) in std::mem::take(&mut self.pending) {
            let _ = pending.answer.send(Outcome::Refused(Refusal::Unavailable));
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }
}

impl Guest<'_> {
    pub(super) fn measure(&mut self, request: Vec<u8>, answer: oneshot::Sender<Outcome>) {
        if let Err(refusal) = self.admit() {
            let _ = answer.send(Outcome::Refused(refusal));
            return;
        }
        self.measuring.next_id += 1;
        let id = self.measuring.next_id;
        if self.keeper.tell(ToMeasurer::Measure { id, request }) {
            let deadline = Instant::now() + DEADLINE;
            self.measuring
                .pending
                .insert(id, Pending { answer, deadline });
        } else {
            let _ = answer.send(Outcome::Refused(Refusal::Unavailable));
        }
    }

    pub(super) async fn measurer_says(&mut self, message: FromMeasurer) {
        match message {
            FromMeasurer::CertificateNeeded { csr } => {
                self.view
                    .send_modify(|view| view.certificate_needed = Some(csr));
            }
            FromMeasurer::Pause { lease_ms } => self.pause(Duration::from_millis(lease_ms)).await,
            FromMeasurer::Resume => self.measurer_resumes().await,
            FromMeasurer::KernelFound { text } => self.keeper.kernel_found(text),
            FromMeasurer::KeyInstalled { order, rotated } => {
                self.rotating.installed(order, rotated);
            }
            FromMeasurer::Measured { id, outcome } => match self.measuring.pending.remove(&id) {
                Some(pending) => drop(pending.answer.send(outcome)),
                None => tracing::warn!(id, "the measurer answers what was not asked"),
            },
        }
    }

    fn admit(&mut self) -> Result<(), Refusal> {
        if self.enrolment.key().is_none() {
            return Err(Refusal::NotEnrolled);
        }
        self.account
            .admit(Instant::now().into_std(), self.measuring.pending.len())
    }
}
