//! The sealing key: what a back end seals private keys with, where it does, and authenticates the store with. It is rotated
//! as a whole: another one is made, all that the former one sealed is sealed by it, and once that is on disk the former one is
//! destroyed.

use bartizan_attestation::keys::Purpose;

use super::{BackendError, StoredKey};

/// Which sealing key: random, the salt of the store's file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generation(pub [u8; 32]);

/// A sealing key that was made and is not in use yet. Dropped, it never is.
pub trait NextSealing {
    /// The same private key, sealed by this one; where the back end seals none, the same blob.
    fn reseal(&self, purpose: Purpose, key: &StoredKey<'_>) -> Result<Vec<u8>, BackendError>;

    /// As [`super::Backend::authenticate`], by this one.
    fn authenticate(&self, store: &[u8]) -> Result<[u8; 32], BackendError>;

    /// Takes the former one's place, which is destroyed: once the store that this one has sealed is on disk. It has taken it
    /// whatever is answered; an error says that the former one is still there.
    fn take_over(self: Box<Self>) -> Result<(), BackendError>;
}
