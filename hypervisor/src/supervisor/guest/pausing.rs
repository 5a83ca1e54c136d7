//! Standing still for a snapshot, and running on whatever happens.

use std::time::Duration;

use bartizan_attestation::host::ToMeasurer;
use tokio::time::Instant;

use super::super::lease::Lease;
use super::Guest;
use crate::qemu::qmp::QmpError;

/// After this a guest that did not run on is told so again.
const RETRY: Duration = Duration::from_millis(200);

/// Whether the guest stands still.
#[derive(Debug, Default)]
pub(super) struct Pausing {
    lease: Lease,
    /// The guest should run and QEMU has not confirmed it: when to say so again.
    overdue: Option<Instant>,
}

impl Pausing {
    pub(super) const fn is_paused(&self) -> bool {
        self.lease.is_held() || self.overdue.is_some()
    }

    /// Whether it stands still although it should run: the pauses of snapshots last milliseconds and are no state.
    pub(super) const fn is_overdue(&self) -> bool {
        self.overdue.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.overdue.or(self.lease.until())
    }
}

impl Guest<'_> {
    /// The measurer wants the guest to stand still.
    pub(super) async fn pause(&mut self, wished: Duration) {
        let stopped = self.try_pause(wished).await;
        self.keeper.tell(ToMeasurer::Paused { stopped });
    }

    async fn try_pause(&mut self, wished: Duration) -> bool {
        let since = Instant::now();
        if self.measuring.is_idle() || self.pausing.is_paused() || self.stopping.is_wanted() {
            return false;
        }
        if !self.account.may_pause(since.into_std()) {
            tracing::warn!("no pause: the guest's budget of pauses is spent");
            return false;
        }
        match self.attempt.qmp.stop().await {
            Ok(()) => {
                self.pausing.lease = Lease::grant(since, Instant::now(), wished);
                true
            }
            Err(error @ QmpError::NotRunning) => {
                tracing::warn!(%error, "no pause");
                false
            }
            Err(error) => {
                tracing::error!(%error, "the guest could not be paused");
                // It may stop yet: `stop` may have been late only.
                self.pausing.overdue = Some(Instant::now());
                false
            }
        }
    }

    /// The measurer has what it wanted.
    pub(super) async fn measurer_resumes(&mut self) {
        let in_time = self.pausing.lease.is_held();
        self.resume().await;
        let pause = self.pausing.lease.pause(Instant::now());
        self.pausing.lease = Lease::None;
        let pause_us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        self.keeper.tell(ToMeasurer::Resumed { in_time, pause_us });
    }

    /// Lets the guest run, where it does not; tried again until QEMU confirms it.
    pub(super) async fn resume(&mut self) {
        if !self.pausing.is_paused() {
            return;
        }
        match self.attempt.qmp.cont().await {
            Ok(()) => self.pausing.overdue = None,
            Err(error) => {
                tracing::error!(%error, "the guest could not be resumed; it is tried again");
                self.pausing.overdue = Some(Instant::now() + RETRY);
            }
        }
        if self.pausing.lease.is_held() {
            let now = Instant::now();
            let pause = self.pausing.lease.pause(now);
            self.pausing.lease = Lease::Expired { pause };
            self.account.paused(now.into_std(), pause);
        }
    }
}
