//! A back end that counts what it is asked for, and does not sign when it is told so.

use std::sync::atomic::{AtomicUsize, Ordering};

use bartizan_attestation::boot::Sha384;

use super::*;
use crate::backend::{
    BackendError, Device, DeviceError, Encoding, Generation, NewKey, NextSealing, StoredKey,
};
use crate::registers::{Register, RegisterValues};

/// The software back end, watched.
pub(super) struct Watched {
    backend: Software,
    /// How often it made a key or signed.
    pub(super) uses: AtomicUsize,
    /// How many signatures it makes from now on, as a device might be away then.
    pub(super) signs: AtomicUsize,
    /// How often it destroyed a key.
    pub(super) destroyed: AtomicUsize,
}

impl Watched {
    /// The vault of a folder, once more.
    pub(super) fn again(role: Role, folder: &TempDir) -> (Vault, Arc<Self>) {
        let root = RootKey::make_file(&folder.path().join("root.key")).unwrap();
        let watched = Arc::new(Self {
            backend: Software::new(root),
            uses: AtomicUsize::new(0),
            signs: AtomicUsize::new(usize::MAX),
            destroyed: AtomicUsize::new(0),
        });
        let backend: Arc<dyn Backend> = watched.clone();
        let stored = StoredKeyring::read(&folder.path().join("keys")).unwrap();
        let keyring = stored.open(Arc::clone(&backend)).unwrap();
        (Vault::new(role, backend, keyring), watched)
    }
}

impl Backend for Watched {
    fn kind(&self) -> VaultKind {
        self.backend.kind()
    }

    fn generate(&self, purpose: Purpose) -> Result<NewKey, BackendError> {
        self.uses.fetch_add(1, Ordering::SeqCst);
        self.backend.generate(purpose)
    }

    fn sign(
        &self,
        purpose: Purpose,
        key: &StoredKey<'_>,
        message: &[u8],
        encoding: Encoding,
    ) -> Result<Vec<u8>, BackendError> {
        self.uses.fetch_add(1, Ordering::SeqCst);
        let left = |left: usize| left.checked_sub(1);
        let signs = (self.signs).fetch_update(Ordering::SeqCst, Ordering::SeqCst, left);
        if signs.is_err() {
            return Err(BackendError::Away {
                device: Device::Token,
                source: DeviceError::Answer,
            });
        }
        self.backend.sign(purpose, key, message, encoding)
    }

    fn authenticate(&self, store: &[u8]) -> Result<[u8; 32], BackendError> {
        self.backend.authenticate(store)
    }

    fn next_sealing(
        &self,
        generation: Generation,
    ) -> Result<Box<dyn NextSealing + '_>, BackendError> {
        self.backend.next_sealing(generation)
    }

    fn destroy(&self, purpose: Purpose, key: &StoredKey<'_>) -> Result<(), BackendError> {
        self.destroyed.fetch_add(1, Ordering::SeqCst);
        self.backend.destroy(purpose, key)
    }

    fn extend(&self, register: Register, digest: &Sha384) -> Result<(), BackendError> {
        self.backend.extend(register, digest)
    }

    fn registers(&self) -> Result<RegisterValues, BackendError> {
        self.backend.registers()
    }
}
