//! What goes to devices: verdicts as they are made, and each epoch once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bartizan_attestation::host::{FROM_ENCLAVE_FRAME, FromEnclave};
use bartizan_local::flow::{Epoch, Guest as GuestBoot, GuestEpoch, Resolvers, ToDevices};
use bartizan_local::{FrameError, aio, encode};
use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;

use super::Saying;
use crate::deciding::ANY_BOOT;
use crate::ruling::Ruling;

/// Tells devices.
pub(super) struct Telling<'t> {
    ruling: &'t Ruling,
    changes: watch::Receiver<u64>,
    /// Which devices were told.
    coming: u64,
    /// The epochs of which devices are to be told what may begin while nobody can decide.
    owed: VecDeque<GuestEpoch>,
    /// The epochs that devices were told.
    told: BTreeMap<GuestBoot, Epoch>,
    /// Whose DNS answers count, as devices were told; of nobody else any do.
    resolvers: BTreeMap<GuestBoot, Resolvers>,
    /// The VMs that devices were told to cut from every network: those that do not run among them, so that their next boot is cut off
    /// though nobody decides then.
    isolated: BTreeSet<[u8; 16]>,
}

impl<'t> Telling<'t> {
    /// Nothing was told yet.
    pub(super) fn new(ruling: &'t Ruling) -> Self {
        Self {
            ruling,
            changes: ruling.changes(),
            coming: 0,
            owed: VecDeque::new(),
            told: BTreeMap::new(),
            resolvers: BTreeMap::new(),
            isolated: BTreeSet::new(),
        }
    }

    /// Tells until the link fails.
    pub(super) async fn run(
        mut self,
        mut link: impl AsyncWrite + Unpin,
        mut sayings: mpsc::Receiver<Saying>,
    ) -> FrameError {
        loop {
            let told = tokio::select! {
                // Epochs first: what is decided by them then comes to whoever knows them. What is told in advance last, one guest at a
                // time: it takes long, and flows wait for the rest.
                biased;
                Ok(()) = self.changes.changed() => self.changed(&mut link).await,
                Some(saying) = sayings.recv() => match saying {
                    Saying::Say(saying) => tell(&mut link, &saying).await,
                    Saying::Isolation(vm) => {
                        let isolated = self.ruling.decider().isolated().contains(&vm);
                        tell(&mut link, &isolate(vm, isolated)).await
                    }
                    Saying::Pong => say(&mut link, &FromEnclave::Pong).await,
                },
                () = yield_now(), if !self.owed.is_empty() => self.fallback(&mut link).await,
                else => return FrameError::Closed,
            };
            if let Err(error) = told {
                return error;
            }
        }
    }

    async fn changed(&mut self, link: &mut (impl AsyncWrite + Unpin)) -> Result<(), FrameError> {
        let (coming, present, resolvers, isolated) = {
            let decider = self.ruling.decider();
            let (coming, isolated) = (decider.coming(), decider.isolated().clone());
            (coming, decider.epochs(), decider.resolvers(), isolated)
        };
        // Others were told what these are not.
        if std::mem::replace(&mut self.coming, coming) != coming {
            self.told.clear();
            self.resolvers.clear();
            self.isolated.clear();
        }
        // Who is to be cut off is, before it hears of anything else.
        for vm in self.isolated.symmetric_difference(&isolated) {
            tell(link, &isolate(*vm, isolated.contains(vm))).await?;
        }
        self.isolated = isolated;
        // Before the epoch by which names count.
        for one in &resolvers {
            let told = self.resolvers.get(&one.guest);
            let told = told.map_or(&[] as &[_], |told| &told.servers);
            if told != one.servers {
                tell(link, &ToDevices::Resolvers(one.clone())).await?;
            }
        }
        let by_guest = resolvers.into_iter().map(|one| (one.guest, one));
        self.resolvers = by_guest.collect();
        self.told
            .retain(|guest, _| present.iter().any(|one| one.guest == *guest));
        for one in present {
            if self.told.insert(one.guest, one.epoch) != Some(one.epoch) {
                tell(link, &ToDevices::Epoch(one)).await?;
                self.owed.retain(|owed| owed.guest != one.guest);
                self.owed.push_back(one);
            }
        }
        Ok(())
    }

    /// What may begin while nobody can decide, of one guest.
    async fn fallback(&mut self, link: &mut (impl AsyncWrite + Unpin)) -> Result<(), FrameError> {
        let Some(one) = self.owed.pop_front() else {
            return Ok(());
        };
        // Where another epoch has begun meanwhile, it is owed for that.
        let fallback = self.ruling.decider().fallback(one);
        match fallback {
            Some(fallback) => tell(link, &ToDevices::Fallback(fallback)).await,
            None => Ok(()),
        }
    }
}

/// Has devices cut a VM off, or not any more.
pub(super) const fn isolate(vm: [u8; 16], isolated: bool) -> ToDevices {
    let boot = ANY_BOOT;
    let guest = GuestBoot { vm, boot };
    ToDevices::Isolate { guest, isolated }
}

async fn tell(link: &mut (impl AsyncWrite + Unpin), saying: &ToDevices) -> Result<(), FrameError> {
    say(link, &FromEnclave::ForDevices(encode(saying).into())).await
}

async fn say(link: &mut (impl AsyncWrite + Unpin), saying: &FromEnclave) -> Result<(), FrameError> {
    aio::write_frame(link, saying, FROM_ENCLAVE_FRAME).await
}
