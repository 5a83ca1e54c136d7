//! The key of the store's tag: a primary key, which the TPM makes anew from its owner's seed whenever it is needed. So
//! there is no blob to be kept beside the store, and none that could be lost; who clears the TPM ends the store. Another generation
//! is another primary key: the former one is not used any more, but is gone only with the owner's seed.
//!
//! It is bound to no PCR: a vault that was started in another boot must be able to say so, rather than that its store
//! was altered.

use bartizan_attestation::digest::sha256;
use tss_esapi::Context;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::structures::MaxBuffer;

use super::handles::{authorised, with_primary};
use super::{templates, unexpected};
use crate::backend::{BackendError, Generation};

/// HMAC-SHA-256 of the store's digest: a TPM takes 1024 bytes at once.
pub(super) fn tag(
    context: &mut Context,
    generation: Generation,
    store: &[u8],
) -> Result<[u8; 32], BackendError> {
    let digest = MaxBuffer::try_from(sha256(store).to_vec())?;
    with_primary(
        context,
        Hierarchy::Owner,
        templates::store(generation)?,
        |context, key, _| {
            let tag = authorised(context, |context| {
                Ok(context.hmac(key.into(), digest, HashingAlgorithm::Sha256)?)
            })?;
            tag.value().try_into().map_err(|_| unexpected())
        },
    )
}
