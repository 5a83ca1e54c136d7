//! A card that counts boots and certifies guests, and knows no verifier.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bartizan_attestation::csr;
use bartizan_attestation::host::{CardRefusal, CardReply, CardRequest, HostDescription, MAX_FRAME};
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::keys::VaultKind;
use bartizan_local::aio;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use crate::fleet::Fleet;

/// The stand-in; it ends with its test.
pub(crate) struct FakeCard {
    state: Arc<State>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    boots: AtomicUsize,
    certified: AtomicUsize,
    refused: AtomicUsize,
    revoked: AtomicBool,
    away: AtomicBool,
    unheard: AtomicUsize,
}

impl FakeCard {
    pub(crate) fn serve(socket: &Path, fleet: Arc<Fleet>) -> Self {
        // Another card's, whose daemon has ended.
        std::fs::remove_file(socket).ok();
        let listener = UnixListener::bind(socket).unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            loop {
                let (mut link, _) = listener.accept().await.unwrap();
                // The daemon gives up what it asks for a guest that has ended: before that is read, or before it is answered.
                let Ok(request) = aio::read_frame(&mut link, MAX_FRAME).await else {
                    continue;
                };
                if shared.away.load(Ordering::Relaxed) {
                    shared.unheard.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let reply = shared.answer(&fleet, request);
                aio::write_frame(&mut link, &reply, MAX_FRAME).await.ok();
            }
        });
        Self { state, serving }
    }

    /// How many boots were counted.
    pub(crate) fn boots(&self) -> usize {
        self.state.boots.load(Ordering::Relaxed)
    }

    /// Revokes the operator who signs records, or takes that back.
    pub(crate) fn revoke(&self, revoked: bool) {
        self.state.revoked.store(revoked, Ordering::Relaxed);
    }

    /// From now on it answers nothing, or does again.
    pub(crate) fn leave(&self, away: bool) {
        self.state.away.store(away, Ordering::Relaxed);
    }

    /// How many questions it did not answer.
    pub(crate) fn unheard(&self) -> usize {
        self.state.unheard.load(Ordering::Relaxed)
    }

    /// How many boots were refused.
    pub(crate) fn refused(&self) -> usize {
        self.state.refused.load(Ordering::Relaxed)
    }

    /// How many guest keys were certified.
    pub(crate) fn certified(&self) -> usize {
        self.state.certified.load(Ordering::Relaxed)
    }
}

impl Drop for FakeCard {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl State {
    fn answer(&self, fleet: &Fleet, request: CardRequest) -> CardReply {
        match request {
            CardRequest::Describe => CardReply::Host(HostDescription {
                card: fleet.card_id,
                vault: VaultKind::Software,
                chain: Vec::new(),
                fleet_cas: fleet.lineage(),
                token_certificates: Vec::new(),
            }),
            CardRequest::NextBoot { operator, .. } if self.revoked.load(Ordering::Relaxed) => {
                assert_eq!(operator, "ann");
                self.refused.fetch_add(1, Ordering::Relaxed);
                CardReply::Refused(CardRefusal::OperatorRevoked(operator))
            }
            CardRequest::NextBoot { vm, .. } => CardReply::Guest(GuestIdentity {
                card: fleet.card_id,
                vm,
                // Number 1 was given without us.
                boot: 2 + self.boots.fetch_add(1, Ordering::Relaxed) as u64,
            }),
            CardRequest::CertifyGuestKey {
                csr,
                guest,
                launch_measurement,
            } => match csr::verify(&csr) {
                Ok(key) => {
                    self.certified.fetch_add(1, Ordering::Relaxed);
                    CardReply::Chain(fleet.certify(guest, launch_measurement, &key))
                }
                Err(error) => CardReply::Refused(CardRefusal::VaultRefused(error.to_string())),
            },
            _ => CardReply::Refused(CardRefusal::NotEnrolled),
        }
    }
}
