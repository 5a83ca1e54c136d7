//! Keys that were unsealed already. To unseal and check a P-384 key costs twice as much as to sign with it.
//!
//! What is kept is no easier to steal than the root key, which lies in the same memory: not dumped, not swapped where
//! the limits allow it, wiped by aws-lc when freed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::EcdsaKeyPair;
use bartizan_attestation::keys::Purpose;

use crate::backend::{BackendError, Encoding, StoredKey};

/// Keys kept at most; the one that was unsealed first goes first.
const MAX_KEPT: usize = 8;

/// The keys in use.
#[derive(Default)]
pub(super) struct OpenedKeys(Mutex<Vec<Opened>>);

/// A key, and all that it was unsealed from: another purpose, id or blob is another key.
struct Opened {
    purpose: Purpose,
    id: [u8; 32],
    blob: Vec<u8>,
    encoding: Encoding,
    pair: Arc<EcdsaKeyPair>,
}

impl OpenedKeys {
    /// The key pair, opened by `open` if it is not kept here.
    pub(super) fn get(
        &self,
        purpose: Purpose,
        key: &StoredKey<'_>,
        encoding: Encoding,
        open: impl FnOnce() -> Result<EcdsaKeyPair, BackendError>,
    ) -> Result<Arc<EcdsaKeyPair>, BackendError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|opened| {
            (opened.purpose, opened.encoding) == (purpose, encoding)
                && opened.id == *key.id
                && opened.blob == key.blob
        });
        if let Some(opened) = found {
            return Ok(Arc::clone(&opened.pair));
        }
        let pair = Arc::new(open()?);
        if kept.len() >= MAX_KEPT {
            kept.remove(0);
        }
        kept.push(Opened {
            purpose,
            id: *key.id,
            blob: key.blob.to_vec(),
            encoding,
            pair: Arc::clone(&pair),
        });
        Ok(pair)
    }

    /// Keeps the key no longer, of whatever blob it was unsealed.
    pub(super) fn forget(&self, purpose: Purpose, id: &[u8; 32]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|opened| opened.purpose != purpose || opened.id != *id);
    }
}

impl fmt::Debug for OpenedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenedKeys")
    }
}
