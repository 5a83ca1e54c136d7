//! What a vault that was killed left loaded. A TPM has room for three objects, and without a resource manager nobody
//! makes any: the vault must be its only user then.

use tss_esapi::Context;
use tss_esapi::constants::CapabilityType;
use tss_esapi::constants::tss::{TPM2_LOADED_SESSION_FIRST, TPM2_TRANSIENT_FIRST};
use tss_esapi::structures::CapabilityData;

/// More than any TPM has room for.
const MOST: u32 = 64;

/// Flushes all objects and sessions that are loaded, as far as the TPM lets it.
pub(super) fn flush(context: &mut Context) {
    for first in [TPM2_TRANSIENT_FIRST, TPM2_LOADED_SESSION_FIRST] {
        let Ok((CapabilityData::Handles(handles), _)) =
            context.get_capability(CapabilityType::Handles, first, MOST)
        else {
            continue;
        };
        for handle in handles.into_inner() {
            let flushed = context
                .tr_from_tpm_public(handle)
                .and_then(|object| context.flush_context(object));
            if let Err(error) = flushed {
                tracing::warn!(%error, "something stays loaded in the TPM");
            }
        }
    }
}
