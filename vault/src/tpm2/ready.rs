//! What stays in the TPM between two signatures: the key that signed last, loaded, and one policy session.
//!
//! A signature then takes two commands, the policy's and TPM2_Sign: to load the key and to begin a session each time would
//! take five more. One key only, since a TPM has room for three objects, and to load another one takes two. The policy stays
//! what it is: a session that has authorised a signature is empty again (TPM 2.0 Library part 1, section 19.6.5).

use bartizan_attestation::keys::Purpose;
use tss_esapi::Context;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{KeyHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::SymmetricDefinition;

use super::unexpected;
use crate::backend::{BackendError, StoredKey};

/// Of one connection: handles say nothing over another.
#[derive(Default)]
pub(super) struct Ready {
    key: Option<Loaded>,
    session: Option<(AuthSession, PolicySession)>,
}

/// A key, and all that it was loaded from: another purpose, id or blob is another key.
struct Loaded {
    purpose: Purpose,
    id: [u8; 32],
    blob: Vec<u8>,
    handle: KeyHandle,
}

impl Ready {
    /// Whether there is nothing that could have become stale.
    pub(super) const fn is_empty(&self) -> bool {
        self.key.is_none() && self.session.is_none()
    }

    /// The key; where it is not the one that signed last, loaded in that one's place.
    pub(super) fn key(
        &mut self,
        context: &mut Context,
        purpose: Purpose,
        key: &StoredKey<'_>,
        load: impl FnOnce(&mut Context) -> Result<KeyHandle, BackendError>,
    ) -> Result<KeyHandle, BackendError> {
        let is_it = |loaded: &&Loaded| {
            loaded.purpose == purpose && loaded.id == *key.id && loaded.blob == key.blob
        };
        if let Some(loaded) = self.key.as_ref().filter(is_it) {
            return Ok(loaded.handle);
        }
        self.flush_key(context);
        let handle = load(context)?;
        self.key = Some(Loaded {
            purpose,
            id: *key.id,
            blob: key.blob.to_vec(),
            handle,
        });
        Ok(handle)
    }

    /// A policy session in which nothing is satisfied yet.
    pub(super) fn session(
        &mut self,
        context: &mut Context,
    ) -> Result<(AuthSession, PolicySession), BackendError> {
        if let Some(session) = self.session {
            return Ok(session);
        }
        let session = context
            .start_auth_session(
                None,
                None,
                None,
                SessionType::Policy,
                SymmetricDefinition::AES_128_CFB,
                HashingAlgorithm::Sha256,
            )?
            .ok_or_else(unexpected)?;
        let policy = PolicySession::try_from(session)?;
        self.session = Some((session, policy));
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .build();
        context.tr_sess_set_attributes(session, attributes, mask)?;
        Ok((session, policy))
    }

    /// Leaves nothing in the TPM.
    pub(super) fn flush(&mut self, context: &mut Context) {
        self.flush_key(context);
        if let Some((session, _)) = self.session.take() {
            // Where it ended already, as it does with a signature that was refused for good, nothing is left to flush.
            let _flushed = context.flush_context(SessionHandle::from(session).into());
        }
    }

    /// Leaves nothing of that key in the TPM.
    pub(super) fn forget(&mut self, context: &mut Context, purpose: Purpose, id: &[u8; 32]) {
        let is_it = |loaded: &Loaded| loaded.purpose == purpose && loaded.id == *id;
        if self.key.as_ref().is_some_and(is_it) {
            self.flush_key(context);
        }
    }

    fn flush_key(&mut self, context: &mut Context) {
        if let Some(loaded) = self.key.take() {
            // A TPM that was started anew has it no more.
            let _flushed = context.flush_context(loaded.handle.into());
        }
    }
}
