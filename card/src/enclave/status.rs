//! How the enclave is, as far as this card knows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bartizan_attestation::host::{Certified, KEEPER_FRAME, MachineHeard, MachineState};
use bartizan_local::aio;
use tokio::net::UnixListener;
use tokio::time::timeout;

use super::LINKS;
use crate::door::{Door, Visitor};
use crate::service::Card;
use crate::unix_now;

/// How long a keeper may say nothing: it says something every five seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// What is known of the enclave.
#[derive(Debug, Default)]
pub(crate) struct EnclaveStatus {
    certified: Mutex<Option<Certified>>,
    machine: Mutex<Option<(MachineState, u64)>>,
    links: AtomicUsize,
    forwarded: AtomicUsize,
    keepers: AtomicUsize,
}

/// What is open for as long as somebody holds one of these.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The card's own link.
    Link,
    /// A connection to the verifier.
    Forwarded,
    /// A keeper's.
    Keeper,
}

/// Something is open until this is dropped.
pub(super) struct Open {
    card: Arc<Card>,
    kind: Kind,
}

impl EnclaveStatus {
    pub(super) fn certified(&self, certified: Certified) {
        *self
            .certified
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(certified);
    }

    /// The validity of what was certified last.
    pub(crate) fn last_certified(&self) -> Option<Certified> {
        *self
            .certified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the card's own link is open.
    pub(crate) fn has_link(&self) -> bool {
        self.links.load(Ordering::Relaxed) > 0
    }

    /// Whether bytes are moved between the enclave and the verifier.
    pub(crate) fn is_forwarded(&self) -> bool {
        self.forwarded.load(Ordering::Relaxed) > 0
    }

    fn heard(&self, state: MachineState) {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        *machine = Some((state, unix_now()));
    }

    /// What a keeper said last.
    pub(crate) fn machine(&self) -> Option<MachineHeard> {
        let heard = *self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|(state, at_s)| MachineHeard {
            state,
            at_s,
            connected: self.keepers.load(Ordering::Relaxed) > 0,
        })
    }

    const fn counted(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Link => &self.links,
            Kind::Forwarded => &self.forwarded,
            Kind::Keeper => &self.keepers,
        }
    }
}

impl Open {
    pub(super) fn new(card: &Arc<Card>, kind: Kind) -> Self {
        card.enclave.counted(kind).fetch_add(1, Ordering::Relaxed);
        let card = Arc::clone(card);
        Self { card, kind }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let counted = self.card.enclave.counted(self.kind);
        counted.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Hears from the keeper how the machine is, until dropped. It is believed what it says of its own.
pub async fn hear_keeper(card: Arc<Card>, listener: UnixListener, allowed_uids: &[u32]) {
    let door = Door::new(allowed_uids, LINKS);
    loop {
        let Visitor {
            mut stream, place, ..
        } = door.next(&listener).await;
        let open = Open::new(&card, Kind::Keeper);
        tokio::spawn(async move {
            while let Ok(Ok(state)) =
                timeout(SILENCE, aio::read_frame(&mut stream, KEEPER_FRAME)).await
            {
                open.card.enclave.heard(state);
            }
            drop((open, place));
        });
    }
}
