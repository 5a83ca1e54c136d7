//! Keys that were unsealed already. To unseal and check a P-384 key costs twice as much as to sign with it.
//!
//! What is kept is no easier to steal than the root key, which lies in the same memory: not dumped, not swapped where
//! the limits allow it, wiped by aws-lc when freed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::EcdsaKeyPair;
use bartizan_attestation::keys::Purpose;

use crate::backend::{BackendError, Encoding, StoredKey};

/// Keys kept at most; the one that was not used for the longest time goes first.
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
        let found = kept.iter().position(|opened| {
            (opened.purpose, opened.encoding) == (purpose, encoding)
                && opened.id == *key.id
                && opened.blob == key.blob
        });
        if let Some(at) = found {
            // The one that was used last is last.
            let opened = kept.remove(at);
            let pair = Arc::clone(&opened.pair);
            kept.push(opened);
            return Ok(pair);
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

    /// Keeps none.
    pub(super) fn forget_all(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clear();
    }
}

impl fmt::Debug for OpenedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenedKeys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;

    /// Asks for a key and tells whether it had to be opened.
    fn opens(keys: &OpenedKeys, id: u8) -> bool {
        let mut opened = false;
        let key = StoredKey {
            id: &[id; 32],
            blob: &[id],
        };
        let pair = keys.get(Purpose::Token, &key, Encoding::Fixed, || {
            opened = true;
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
            Ok(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap())
        });
        pair.unwrap();
        opened
    }

    #[test]
    fn the_key_that_was_not_used_for_the_longest_time_goes() {
        let keys = OpenedKeys::default();
        for id in 0..8 {
            assert!(opens(&keys, id));
        }
        assert!(!opens(&keys, 0));
        assert!(opens(&keys, 8));
        assert!(!opens(&keys, 0));
        assert!(opens(&keys, 1));
    }
}
