//! What the cases need of a back end's surroundings.

use std::sync::Arc;

use bartizan_vault::backend::Backend;

/// One of two stores that have nothing in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Store {
    /// The one that most cases use.
    First,
    /// Another root key, token or TPM.
    Second,
}

/// A back end's surroundings.
pub(crate) trait Rig {
    /// Opens the back end, as a vault does when it starts. Only one is open at a time.
    fn open(&self, store: Store) -> Arc<dyn Backend>;

    /// Whether what holds the first store's keys can go away.
    fn has_device(&self) -> bool;

    /// Whether keys are in the device, rather than in the blobs that it makes.
    fn keeps_keys(&self) -> bool;

    /// Takes it away, as abruptly as can be.
    fn take_away(&self);

    /// Puts it back, with the keys that it had.
    fn put_back(&self);

    /// The way to the first store's TPM, where there is one.
    fn tcti(&self) -> String {
        String::new()
    }
}
