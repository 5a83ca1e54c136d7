//! The link to the hypervisor: which guests run, and the questions of their devices.

mod guest;
mod telling;

use std::collections::BTreeSet;
use std::time::Instant;

use bartizan_attestation::host::{TO_ENCLAVE_FRAME, ToEnclave};
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_local::flow::{FromDevices, Guest as GuestBoot, ToDevices};
use bartizan_local::{FrameError, aio, decode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::yield_now;

use crate::anchors::Anchors;
use crate::deciding::Decider;
use crate::ruling::Ruling;
use telling::Telling;

/// Answers that wait to be sent; who asks waits then.
const WAITING: usize = 64;

/// Who is at the other end, and by what its guests' records are believed.
#[derive(Clone, Copy, Debug)]
pub struct Host<'h> {
    /// The card of this host.
    pub card: CardId,
    /// The fleet's CA.
    pub anchors: &'h Anchors,
}

/// Why a link to the hypervisor has ended.
#[derive(Debug, thiserror::Error)]
pub enum HypervisedError {
    /// It closed it, or sends what is no message.
    #[error("the hypervisor's link: {0}")]
    Frame(#[from] FrameError),
    /// What devices say is no message of theirs.
    #[error("devices' words, as the hypervisor hands them on: {0}")]
    Devices(#[source] FrameError),
}

/// Serves the hypervisor until its link ends. What was told of guests holds until the next one says something else.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite,
    ruling: &Ruling,
    host: Host<'_>,
) -> HypervisedError {
    let (reader, writer) = tokio::io::split(stream);
    let (say, sayings) = mpsc::channel(WAITING);
    let listener = Listener {
        ruling,
        host,
        told: BTreeSet::new(),
        say,
    };
    let error = tokio::select! {
        error = listener.listen(reader) => error,
        error = Telling::new(ruling).run(writer, sayings) => error.into(),
    };
    // Whoever is there is heard again by the next link.
    ruling.change(Decider::devices_are_gone);
    error
}

/// What is to be said, in its order.
#[derive(Debug)]
enum Saying {
    /// To devices.
    Say(ToDevices),
    /// Whether this VM is cut off, as it is when that is said: it may be decided anew meanwhile.
    Isolation([u8; 16]),
    /// That this enclave is there.
    Pong,
}

struct Listener<'l> {
    ruling: &'l Ruling,
    host: Host<'l>,
    /// Who was told to run on this link.
    told: BTreeSet<GuestBoot>,
    say: mpsc::Sender<Saying>,
}

impl Listener<'_> {
    async fn listen(mut self, mut link: impl AsyncRead + Unpin) -> HypervisedError {
        loop {
            let heard = match aio::read_frame(&mut link, TO_ENCLAVE_FRAME).await {
                Ok(heard) => self.hear(heard).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = heard {
                return error;
            }
        }
    }

    async fn hear(&mut self, heard: ToEnclave) -> Result<(), HypervisedError> {
        match heard {
            ToEnclave::Runs(running) => match guest::verified(&running, self.host) {
                Ok(guest) => {
                    let boot = boot(&running.guest);
                    self.told.insert(boot);
                    self.ruling.change(|decider| decider.runs(boot, guest));
                    // Of many guests, each takes a while: what is to be said meanwhile shows that this goes on.
                    yield_now().await;
                }
                // Nothing is known of it: everything is denied.
                Err(error) => {
                    tracing::error!(guest = %running.guest, %error, "a guest is not believed to be what it is said to be");
                }
            },
            ToEnclave::Ended(identity) => {
                self.ruling.change(|decider| decider.ended(boot(&identity)));
            }
            ToEnclave::AllTold => {
                let told = &self.told;
                self.ruling
                    .change(|decider| decider.only(|boot| told.contains(boot)));
            }
            ToEnclave::DevicesThere => {
                self.ruling.change(Decider::devices_come);
            }
            ToEnclave::DevicesGone => self.ruling.change(Decider::devices_are_gone),
            ToEnclave::Ping => self.say(Saying::Pong).await,
            ToEnclave::OfDevices(bytes) => {
                match decode(&bytes).map_err(HypervisedError::Devices)? {
                    FromDevices::Question(question) => {
                        let (verdict, is_known) = {
                            let decider = self.ruling.decider();
                            let verdict = decider.decide(&question, Instant::now());
                            (verdict, decider.runs_here(&question.guest))
                        };
                        // Known attack: devices name guests that there are none of, and nothing else is stated.
                        if !verdict.allowed && is_known {
                            let witness = self.ruling.witness();
                            witness.denied(verdict.guest, &verdict.reason);
                        }
                        self.say(Saying::Say(ToDevices::Verdict(verdict))).await;
                    }
                    FromDevices::Resolved(resolved) => {
                        let learnt = self.ruling.decider().learn(&resolved, Instant::now());
                        match learnt {
                            Ok(noted) => self.say(Saying::Say(ToDevices::Noted(noted))).await,
                            // Nobody gets it, and whoever asked asks again.
                            Err(error) => {
                                tracing::debug!(guest = ?resolved.guest, %error, "a DNS answer is not believed");
                            }
                        }
                    }
                    FromDevices::InForce(epoch) => {
                        self.ruling.change(|decider| decider.confirmed(epoch));
                    }
                    FromDevices::Isolated(vm) => {
                        let goes_on = self.ruling.change(|decider| decider.is_isolated(vm));
                        if !goes_on {
                            self.say(Saying::Isolation(vm)).await;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn say(&self, saying: Saying) {
        // Where nobody says it any more, the link is about to end.
        let _ = self.say.send(saying).await;
    }
}

fn boot(identity: &GuestIdentity) -> GuestBoot {
    GuestBoot {
        vm: identity.vm,
        boot: identity.boot,
    }
}

#[cfg(test)]
mod tests;
