//! Serving a bundle: to some hosts at once, to each host one at a time, a piece at a time, as it is taken, at the pace at which bodies must
//! arrive. A host that asks again has given up the one before, whether or not its connection has ended: it may have lost its power.
//! Who is served no further loses its connection: a client that takes nothing would keep it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use bartizan_attestation::identity::CardId;
use http_body_util::channel::{Channel, Sender};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::Pace;
use crate::config::Limits;
use crate::cut::Cut;
use crate::storage::{PublishedBundle, Storage, StorageError};

/// The hosts that are being served.
#[derive(Clone, Debug)]
pub(in crate::api) struct Serving {
    turns: Arc<Mutex<Turns>>,
    places: Arc<Semaphore>,
    /// How long a place is waited for.
    patience: Duration,
}

#[derive(Debug, Default)]
struct Turns {
    begun: u64,
    /// The number of each host's latest, and its connection.
    latest: HashMap<CardId, (u64, Cut)>,
}

/// A host's turn, and its place; both are given back with the last piece.
#[derive(Debug)]
pub(super) struct Turn {
    card: CardId,
    number: u64,
    cut: Cut,
    serving: Serving,
    /// Once it has one.
    place: Option<OwnedSemaphorePermit>,
    /// Told when the turn is given back.
    over: Arc<Notify>,
}

impl Serving {
    pub(in crate::api) fn new(limits: &Limits) -> Self {
        Self {
            turns: Arc::default(),
            places: Arc::new(Semaphore::new(limits.bundles)),
            patience: Duration::from_secs(limits.memory_wait_s),
        }
    }

    /// The host's turn, which ends the one that it had. `None` where no place becomes free in time.
    pub(super) async fn begin(&self, card: CardId, cut: Cut) -> Option<Turn> {
        let mut turn = self.next(card, cut);
        let place = timeout(self.patience, Arc::clone(&self.places).acquire_owned()).await;
        turn.place = Some(place.ok()?.ok()?);
        Some(turn)
    }

    fn next(&self, card: CardId, cut: Cut) -> Turn {
        let mut turns = self.lock();
        turns.begun += 1;
        let number = turns.begun;
        match turns.latest.insert(card, (number, cut.clone())) {
            // On one connection it has been served to its end, or nothing more would be heard there.
            Some((_, before)) if !before.is(&cut) => before.cut(),
            _ => {}
        }
        drop(turns);
        Turn {
            card,
            number,
            cut,
            serving: self.clone(),
            place: None,
            over: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    fn is_latest(&self) -> bool {
        self.serving.lock().is_latest(self)
    }
}

impl Turns {
    fn is_latest(&self, turn: &Turn) -> bool {
        let latest = self.latest.get(&turn.card);
        latest.is_some_and(|(number, _)| *number == turn.number)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.serving.lock();
        if turns.is_latest(self) {
            turns.latest.remove(&self.card);
        }
        drop(turns);
        self.over.notify_one();
    }
}

/// A bundle was not served to its end: who fetches it sees that its bytes are too few.
#[derive(Debug, thiserror::Error)]
enum BrokenOffError {
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Another was published in its place, or it was dropped.
    #[error("the bundle is kept no longer; fetch the one that is")]
    Dropped,
    /// Its host has asked again.
    #[error("this host has asked for a bundle again")]
    AskedAgain,
    /// It is taken too slowly.
    #[error("the bundle is taken too slowly")]
    TooSlow,
}

/// A piece on its way.
struct Piece {
    bytes: Vec<u8>,
    _turn: Arc<Turn>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body of the answer. Three pieces are in memory at once: one is read, one waits, one is being sent.
pub(super) fn serve(storage: Storage, bundle: PublishedBundle, pace: Pace, turn: Turn) -> Body {
    let (mut sender, body) = Channel::<Bytes, BrokenOffError>::new(1);
    tokio::spawn(async move {
        let (begun, cut, over) = (Instant::now(), turn.cut.clone(), Arc::clone(&turn.over));
        let broken_off = |error: &BrokenOffError| {
            tracing::info!(%error, sha384 = %bundle.sha384, "a bundle was not served to its end");
            cut.cut();
        };
        match feed(&storage, &bundle, (begun, pace), &mut sender, turn).await {
            Ok(()) => {
                drop(sender);
                // The last pieces are on their way, and hold the turn until they are taken.
                let taken = timeout_at(begun + pace.due(bundle.size), over.notified()).await;
                if taken.is_err() {
                    broken_off(&BrokenOffError::TooSlow);
                }
            }
            Err(error) => {
                broken_off(&error);
                sender.abort(error);
            }
        }
    });
    Body::new(body)
}

async fn feed(
    storage: &Storage,
    bundle: &PublishedBundle,
    (begun, pace): (Instant, Pace),
    sender: &mut Sender<Bytes, BrokenOffError>,
    turn: Turn,
) -> Result<(), BrokenOffError> {
    let turn = Arc::new(turn);
    let mut taken = 0;
    for number in 0.. {
        if taken >= bundle.size {
            break;
        }
        if !turn.is_latest() {
            return Err(BrokenOffError::AskedAgain);
        }
        let piece = storage.bundle_piece(&bundle.sha384, number).await?;
        let bytes = piece
            .filter(|piece| !piece.is_empty())
            .ok_or(BrokenOffError::Dropped)?;
        let due = begun + pace.due(taken);
        taken += bytes.len();
        let piece = Bytes::from_owner(Piece {
            bytes,
            _turn: Arc::clone(&turn),
        });
        let sent = timeout_at(due, sender.send_data(piece)).await;
        match sent.map_err(|_| BrokenOffError::TooSlow)? {
            Ok(()) => {}
            // Nobody takes it any more.
            Err(_) => break,
        }
    }
    Ok(())
}
