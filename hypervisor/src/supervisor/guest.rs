//! The one task that owns a guest's state during one attempt. Others send it requests.

mod asks;
mod measuring;
mod pausing;
mod rotating;
mod stopping;

use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::host::GuestState;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::Ending;
use super::attempt::{Attempt, Plan, StartError};
use super::chatter::Allowance;
use super::console::{Activity, Console};
use super::control::Ask;
use super::enrolment::Enrolment;
use super::measurer::{Event, Keeper, MeasurerStart};
use super::vhost::{LinkError, ProxyError};
use super::view::View;
use super::watchdog::Watchdog;
use crate::account::Account;
use crate::qemu::qmp::ShutdownCause;
use measuring::Measuring;
use pausing::Pausing;
use rotating::Rotating;
use stopping::{Stopping, Terminations};

/// A guest that runs.
#[derive(Debug)]
pub struct Guest<'a> {
    attempt: Attempt,
    keeper: Keeper,
    enrolment: &'a mut Enrolment,
    view: &'a watch::Sender<View>,
    asks: &'a mut mpsc::Receiver<Ask>,
    activity: watch::Receiver<Activity>,
    watchdog: Watchdog,
    account: Account,
    measuring: Measuring,
    pausing: Pausing,
    rotating: Rotating,
    stopping: Stopping,
    proxy_ended: bool,
    hung: bool,
}

/// Why an attempt is over. QEMU has ended.
#[derive(Debug)]
pub enum Over {
    /// The boot has ended.
    Ended(Ending),
    /// It never showed life, and no identity was used: it may be tried again.
    Hung,
}

/// Why an attempt is over whose QEMU was killed here, if it was.
fn by_wish(stopping: bool, hung: bool, enrolment: &Enrolment) -> Option<Over> {
    if stopping {
        Some(Over::Ended(Ending::Stopped))
    } else if !hung {
        None
    } else if enrolment.is_fresh() {
        Some(Over::Hung)
    } else {
        Some(Over::Ended(Ending::Failed {
            reason: "the boot hangs although it has used its launch secret".into(),
        }))
    }
}

impl<'a> Guest<'a> {
    /// Takes a started attempt over.
    pub fn new(
        plan: &Plan,
        console: &Arc<Console>,
        mut attempt: Attempt,
        enrolment: &'a mut Enrolment,
        view: &'a watch::Sender<View>,
        asks: &'a mut mpsc::Receiver<Ask>,
    ) -> Result<Self, StartError> {
        let kernel = plan
            .prepared
            .kernel_image()
            .map(std::os::fd::OwnedFd::try_clone)
            .transpose();
        let keeper = Keeper::new(MeasurerStart {
            program: plan.config.measurer.clone(),
            user: plan.users.measurer,
            log: Allowance::default(),
            context: plan.measurer_context(),
            ram: attempt.ram()?,
            tracked: attempt.tracked.take(),
            kernel: kernel.map_err(|source| StartError::Host {
                step: "the kernel image for the measurer",
                source,
            })?,
        });
        let now = Instant::now();
        let timeout = Duration::from_secs(plan.record.boot_timeout_s);
        let mut activity = console.activity();
        activity.mark_changed();
        Ok(Self {
            attempt,
            keeper,
            enrolment,
            view,
            asks,
            activity,
            watchdog: Watchdog::new(now, timeout),
            account: Account::new(plan.record.budget, now.into_std()),
            measuring: Measuring::default(),
            pausing: Pausing::default(),
            rotating: Rotating::default(),
            stopping: Stopping::default(),
            proxy_ended: false,
            hung: false,
        })
    }

    /// Runs until QEMU has ended.
    pub async fn run(mut self) -> Over {
        let mut terminations = Terminations::listen();
        loop {
            self.show();
            let deadline = self.deadline();
            tokio::select! {
                status = self.attempt.qemu.exited() => return self.over(status).await,
                Some(ask) = self.asks.recv() => self.ask(ask).await,
                event = self.keeper.next() => self.measurer(event).await,
                Ok(()) = self.activity.changed() => self.console(),
                ended = &mut self.attempt.proxy, if !self.proxy_ended => self.proxy(ended.ok()),
                () = terminations.next() => self.terminate().await,
                () = sleep_until(deadline) => self.time(Instant::now()).await,
            }
        }
    }

    async fn measurer(&mut self, event: Event) {
        match event {
            Event::Up => {}
            Event::Says(message) => self.measurer_says(message).await,
            Event::Gone => {
                // Whatever it wanted the guest to stand still for is lost.
                self.resume().await;
                self.keeper.release();
                self.measuring.lost();
                self.rotating.lost();
                self.view.send_modify(|view| view.certificate_needed = None);
            }
        }
    }

    fn console(&mut self) {
        let activity = *self.activity.borrow_and_update();
        self.watchdog.output(activity.last_output);
        if activity.booted {
            self.watchdog.alive();
        }
    }

    fn proxy(&mut self, ended: Option<ProxyError>) {
        self.proxy_ended = true;
        match ended {
            // QEMU's own end follows, or was noticed first.
            None | Some(ProxyError::Link(LinkError::Closed | LinkError::Io(_))) => {}
            Some(error) => {
                tracing::error!(%error, "QEMU broke the device's protocol and is killed");
                self.attempt.qemu.kill();
            }
        }
    }

    /// The earliest instant at which something is due.
    fn deadline(&self) -> Instant {
        [
            self.watchdog.deadline().filter(|_| !self.hung),
            self.pausing.deadline(),
            self.measuring.deadline(),
            self.stopping.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    async fn time(&mut self, now: Instant) {
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.pausing.deadline()) {
            self.resume().await;
        }
        if due(self.measuring.deadline()) {
            tracing::error!("the measurer does not answer and is killed");
            self.keeper.kill();
            self.measuring.lost();
        }
        if due(self.stopping.deadline()) {
            self.stop_is_late();
        }
        if due(self.watchdog.deadline()) && !self.hung && !self.stopping.is_wanted() {
            // Its identity is the next attempt's from now on: nothing is given to this one any more.
            self.hung = true;
            self.attempt.qemu.kill();
        }
    }

    /// Makes the state visible from outside.
    fn show(&self) {
        let state = if self.pausing.is_overdue() {
            GuestState::Paused
        } else if self.watchdog.is_alive() {
            GuestState::Running
        } else {
            GuestState::Booting
        };
        let (qemu, measurer) = (Some(self.attempt.qemu.pid()), self.keeper.pid());
        self.view.send_if_modified(|view| {
            let new = View {
                state,
                qemu_pid: qemu,
                measurer_pid: measurer,
                enrollment: self.enrolment.key().cloned(),
                certificate_needed: view.certificate_needed.take(),
            };
            let shown = View {
                certificate_needed: new.certificate_needed.clone(),
                ..view.clone()
            };
            let changed = shown != new;
            *view = new;
            changed
        });
    }

    async fn over(mut self, status: std::io::Result<std::process::ExitStatus>) -> Over {
        if let Some(over) = by_wish(self.stopping.is_wanted(), self.hung, self.enrolment) {
            return over;
        }
        let cause = self.attempt.qmp.shutdown_cause();
        Over::Ended(match cause {
            Some(ShutdownCause::GuestShutdown) => Ending::Shutdown,
            Some(ShutdownCause::GuestReset) => Ending::Rebooted,
            Some(ShutdownCause::Other) | None => {
                let words = self.attempt.chatter.last_words().await;
                let status = match status {
                    Ok(status) => status.to_string(),
                    Err(error) => error.to_string(),
                };
                Ending::Failed {
                    reason: format!("QEMU ended ({status}): {words}"),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hung_boot_that_used_no_identity_is_tried_again() {
        let mut enrolment = Enrolment::new().unwrap();
        assert!(by_wish(false, false, &enrolment).is_none());
        assert!(matches!(by_wish(false, true, &enrolment), Some(Over::Hung)));
        // Who stops a guest while it hangs wants no other attempt.
        assert!(matches!(
            by_wish(true, true, &enrolment),
            Some(Over::Ended(Ending::Stopped))
        ));
        enrolment.take().unwrap();
        assert!(matches!(
            by_wish(false, true, &enrolment),
            Some(Over::Ended(Ending::Failed { .. }))
        ));
    }
}
