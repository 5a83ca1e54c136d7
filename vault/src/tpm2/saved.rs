//! Keys that were loaded before, as the TPM wrote them out (TPM2_ContextSave): to make the parent and to load a key again
//! costs a hardware TPM far more than to sign.
//!
//! They are encrypted by the TPM, say nothing without it, and end when it starts anew. The key's policy stays what it is.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bartizan_attestation::keys::Purpose;
use tss_esapi::Context;
use tss_esapi::handles::KeyHandle;
use tss_esapi::utils::TpmsContext;

use crate::backend::StoredKey;

/// Keys kept at most; the one that was saved first goes first.
const MAX_KEPT: usize = 8;

#[derive(Default)]
pub(super) struct SavedKeys(Mutex<Vec<Saved>>);

/// A key, and all that it was loaded from: another purpose, id or blob is another key.
struct Saved {
    purpose: Purpose,
    id: [u8; 32],
    blob: Vec<u8>,
    context: TpmsContext,
}

impl SavedKeys {
    /// The key, loaded, if it was saved and the TPM still takes it.
    pub(super) fn load(
        &self,
        context: &mut Context,
        purpose: Purpose,
        key: &StoredKey<'_>,
    ) -> Option<KeyHandle> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = found
            .iter()
            .find(|saved| saved.is(purpose, key.id) && saved.blob == key.blob)?
            .context
            .clone();
        drop(found);
        match context.context_load(saved) {
            Ok(handle) => Some(handle.into()),
            Err(_) => {
                // Of a TPM that was started anew since; whatever else it is, loading the key itself will tell.
                self.forget(purpose, key.id);
                None
            }
        }
    }

    /// Keeps a key that is loaded.
    pub(super) fn save(
        &self,
        context: &mut Context,
        purpose: Purpose,
        key: &StoredKey<'_>,
        loaded: KeyHandle,
    ) {
        // Where the TPM does not save it, it is loaded again.
        let Ok(context) = context.context_save(loaded.into()) else {
            return;
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.remove(0);
        }
        kept.push(Saved {
            purpose,
            id: *key.id,
            blob: key.blob.to_vec(),
            context,
        });
    }

    pub(super) fn forget(&self, purpose: Purpose, id: &[u8; 32]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|saved| !saved.is(purpose, id));
    }
}

impl Saved {
    fn is(&self, purpose: Purpose, id: &[u8; 32]) -> bool {
        self.purpose == purpose && self.id == *id
    }
}

impl fmt::Debug for SavedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SavedKeys")
    }
}
