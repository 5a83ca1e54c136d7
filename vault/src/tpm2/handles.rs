//! Whatever is loaded or begun in the TPM is flushed, however the work with it ends: it has room for three.

use tss_esapi::Context;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{KeyHandle, ObjectHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Public, SymmetricDefinition};

use super::unexpected;
use crate::backend::BackendError;

/// The work's result; that of flushing where the work succeeded.
pub(super) fn flushing<T>(
    context: &mut Context,
    handle: ObjectHandle,
    work: impl FnOnce(&mut Context) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    let done = work(context);
    let flushed = context.flush_context(handle);
    let done = done?;
    flushed?;
    Ok(done)
}

/// Works with a primary key: always the same of a template, as long as the owner's seed is.
pub(super) fn with_primary<T>(
    context: &mut Context,
    hierarchy: Hierarchy,
    template: Public,
    work: impl FnOnce(&mut Context, KeyHandle, Public) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    let made = authorised(context, |context| {
        Ok(context.create_primary(hierarchy, template, None, None, None, None)?)
    })?;
    let key = made.key_handle;
    flushing(context, key.into(), |context| {
        work(context, key, made.out_public)
    })
}

/// Works with a policy session, or with a trial of one.
pub(super) fn with_policy<T>(
    context: &mut Context,
    kind: SessionType,
    work: impl FnOnce(&mut Context, AuthSession, PolicySession) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    let session = context
        .start_auth_session(
            None,
            None,
            None,
            kind,
            SymmetricDefinition::AES_128_CFB,
            HashingAlgorithm::Sha256,
        )?
        .ok_or_else(unexpected)?;
    let policy = PolicySession::try_from(session)?;
    flushing(context, SessionHandle::from(session).into(), |context| {
        work(context, session, policy)
    })
}

/// Works with the empty authorisation of what the TPM's owner did not guard.
pub(super) fn authorised<T>(
    context: &mut Context,
    work: impl FnOnce(&mut Context) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    context.execute_with_session(Some(AuthSession::Password), work)
}
