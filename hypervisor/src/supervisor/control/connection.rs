//! One connection: one request and one reply, or a stream of replies.

use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::host::{
    GuestStatus, MAX_FRAME, Outcome, SupervisorReply, SupervisorRequest,
};
use bartizan_attestation::measurement::Refusal;
use bartizan_local::{FrameError, aio};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::Ask;
use crate::supervisor::attempt::Plan;
use crate::supervisor::console::Console;
use crate::supervisor::view::View;

/// How long a request may take to arrive, and a reply to leave.
const DEADLINE: Duration = Duration::from_secs(10);

/// What every connection needs.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    plan: Arc<Plan>,
    console: Arc<Console>,
    view: watch::Receiver<View>,
    asks: mpsc::Sender<Ask>,
    /// Held by whoever still has something to say.
    _alive: mpsc::Sender<()>,
    started_at_ms: u64,
}

impl Connection {
    pub(super) fn new(
        plan: Arc<Plan>,
        console: Arc<Console>,
        view: watch::Receiver<View>,
        asks: mpsc::Sender<Ask>,
        alive: mpsc::Sender<()>,
    ) -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        let started_at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Self {
            plan,
            console,
            view,
            asks,
            _alive: alive,
            started_at_ms,
        }
    }

    pub(super) async fn serve(mut self, mut stream: UnixStream) {
        let served = match timeout(DEADLINE, aio::read_frame(&mut stream, MAX_FRAME)).await {
            Err(_) => return,
            Ok(Err(error)) => Err(error),
            Ok(Ok(SupervisorRequest::Watch)) => self.watch(&mut stream).await,
            Ok(Ok(request)) => match self.answer(request).await {
                Some(reply) => write(&mut stream, &reply).await,
                // The guest's task has ended.
                None => Ok(()),
            },
        };
        if let Err(error) = served {
            tracing::debug!(%error, "control connection ended");
        }
    }

    async fn answer(&self, request: SupervisorRequest) -> Option<SupervisorReply> {
        let done = |outcome| match outcome {
            Ok(()) => SupervisorReply::Done,
            Err(why) => SupervisorReply::Refused(why),
        };
        match request {
            SupervisorRequest::Status => {
                Some(SupervisorReply::Status(self.status(&self.view.borrow())))
            }
            SupervisorRequest::Console { max } => {
                Some(SupervisorReply::Console(self.console.tail(max as usize)))
            }
            SupervisorRequest::Measure { request } => {
                let outcome = self.ask(|answer| Ask::Measure { request, answer }).await;
                let gone = Outcome::Refused(Refusal::Unavailable);
                Some(SupervisorReply::Measured(outcome.unwrap_or(gone)))
            }
            SupervisorRequest::InstallCertificate { chain } => self
                .ask(|answer| Ask::InstallCertificate { chain, answer })
                .await
                .map(done),
            SupervisorRequest::TakeLaunchSecret => {
                let taken = self.ask(|answer| Ask::TakeLaunchSecret { answer }).await?;
                Some(match taken {
                    Ok(secret) => SupervisorReply::LaunchSecret(secret),
                    Err(why) => SupervisorReply::Refused(why),
                })
            }
            SupervisorRequest::Enroll {
                secret,
                enrollment: key,
            } => self
                .ask(|answer| Ask::Enrol {
                    secret,
                    key,
                    answer,
                })
                .await
                .map(done),
            SupervisorRequest::Renew { request, chain } => {
                let asked = self.ask(|answer| Ask::Renew {
                    request,
                    chain,
                    answer,
                });
                Some(match asked.await? {
                    Ok(enrollment) => SupervisorReply::Renewed(enrollment),
                    Err(refusal) => SupervisorReply::NotRenewed(refusal),
                })
            }
            SupervisorRequest::RotateReportKey => {
                let rotated = self.ask(|answer| Ask::RotateReportKey { answer }).await?;
                Some(match rotated {
                    Ok(rotated) => SupervisorReply::ReportKeyRotated(rotated),
                    Err(why) => SupervisorReply::Refused(why),
                })
            }
            SupervisorRequest::Stop { force } => {
                // A guest that is gone is down.
                let down = self.ask(|answer| Ask::Stop { force, answer }).await;
                Some(done(down.unwrap_or(Ok(()))))
            }
            // Streamed by `watch`.
            SupervisorRequest::Watch => None,
        }
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.asks.send(ask(sender)).await.ok()?;
        answer.await.ok()
    }

    /// Tells of every change until either side closes.
    async fn watch(&mut self, stream: &mut UnixStream) -> Result<(), FrameError> {
        let (mut reader, mut writer) = stream.split();
        let mut told: Option<View> = None;
        loop {
            let now = self.view.borrow_and_update().clone();
            let csr_told = told.as_ref().map(|told| &told.certificate_needed);
            if let Some(csr) = &now.certificate_needed
                && csr_told != Some(&now.certificate_needed)
            {
                write(
                    &mut writer,
                    &SupervisorReply::CertificateNeeded { csr: csr.clone() },
                )
                .await?;
            }
            let without_csr = View {
                certificate_needed: None,
                ..now.clone()
            };
            let told_before = told.is_some_and(|told| {
                View {
                    certificate_needed: None,
                    ..told
                } == without_csr
            });
            if !told_before {
                write(&mut writer, &SupervisorReply::Status(self.status(&now))).await?;
            }
            told = Some(now);
            let mut unasked = [0];
            tokio::select! {
                changed = self.view.changed() => if changed.is_err() { return Ok(()) },
                // A watcher has nothing more to say: this is its end.
                _ = reader.read(&mut unasked) => return Ok(()),
            }
        }
    }

    fn status(&self, view: &View) -> GuestStatus {
        GuestStatus {
            guest: self.plan.config.guest,
            launch_measurement: self.plan.prepared.measurement.clone(),
            record: self.plan.config.record.clone(),
            cid: self.plan.config.cid,
            state: view.state,
            qemu_pid: view.qemu_pid,
            measurer_pid: view.measurer_pid,
            accelerator: self.plan.accelerator.to_string(),
            enrollment: view.enrollment.clone(),
            started_at_ms: self.started_at_ms,
        }
    }
}

async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    reply: &SupervisorReply,
) -> Result<(), FrameError> {
    let late = |_| FrameError::Io(std::io::ErrorKind::TimedOut.into());
    timeout(DEADLINE, aio::write_frame(stream, reply, MAX_FRAME))
        .await
        .map_err(late)?
}
