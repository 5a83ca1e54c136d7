//! Serving a bundle: a piece at a time, as it is taken, at the pace at which bodies must arrive.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use http_body_util::channel::{Channel, Sender};
use tokio::time::{Instant, timeout_at};

use super::Pace;
use crate::memory::Share;
use crate::storage::{PublishedBundle, Storage, StorageError};

/// A bundle was not served to its end: who fetches it sees that its bytes are too few.
#[derive(Debug, thiserror::Error)]
enum BrokenOffError {
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Another was published in its place, or it was dropped.
    #[error("the bundle is kept no longer; fetch the one that is")]
    Dropped,
    /// It is taken too slowly.
    #[error("the bundle is taken too slowly")]
    TooSlow,
}

/// A piece on its way. The share is given back with the last one.
struct Piece {
    bytes: Vec<u8>,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body of the answer. The share is for the pieces that are in memory at once: one is read, one waits, one is being sent.
pub(super) fn serve(storage: Storage, bundle: PublishedBundle, pace: Pace, share: Share) -> Body {
    let (mut sender, body) = Channel::<Bytes, BrokenOffError>::new(1);
    tokio::spawn(async move {
        if let Err(error) = feed(&storage, &bundle, pace, &mut sender, share).await {
            tracing::info!(%error, sha384 = %bundle.sha384, "a bundle was not served to its end");
            sender.abort(error);
        }
    });
    Body::new(body)
}

async fn feed(
    storage: &Storage,
    bundle: &PublishedBundle,
    pace: Pace,
    sender: &mut Sender<Bytes, BrokenOffError>,
    share: Share,
) -> Result<(), BrokenOffError> {
    let (begun, share) = (Instant::now(), Arc::new(share));
    let mut taken = 0;
    for number in 0.. {
        if taken >= bundle.size {
            break;
        }
        let piece = storage.bundle_piece(&bundle.sha384, number).await?;
        let bytes = piece
            .filter(|piece| !piece.is_empty())
            .ok_or(BrokenOffError::Dropped)?;
        let due = begun + pace.due(taken);
        taken += bytes.len();
        let piece = Bytes::from_owner(Piece {
            bytes,
            _share: Arc::clone(&share),
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
