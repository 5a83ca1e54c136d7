//! Keys that were found in a session: to search a token costs about as much as to sign. What the token says of a key's uses
//! is asked for at every signature all the same.

use bartizan_attestation::keys::Purpose;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use super::keys;
use crate::backend::BackendError;

/// Keys kept at most; the one that was found first goes first.
const MAX_KEPT: usize = 8;

/// Of one session: handles say nothing in another.
#[derive(Default)]
pub(super) struct Found(Vec<(Purpose, [u8; 32], ObjectHandle)>);

impl Found {
    /// The key of this purpose and id, which can do nothing but sign.
    pub(super) fn key(
        &mut self,
        session: &Session,
        purpose: Purpose,
        id: &[u8; 32],
    ) -> Result<ObjectHandle, BackendError> {
        let is_it = |kept: &&(Purpose, [u8; 32], ObjectHandle)| (kept.0, kept.1) == (purpose, *id);
        if let Some((.., object)) = self.0.iter().find(is_it) {
            keys::check_again(session, purpose, *object)?;
            return Ok(*object);
        }
        let object = keys::find(session, purpose, id)?;
        if self.0.len() >= MAX_KEPT {
            self.0.remove(0);
        }
        self.0.push((purpose, *id, object));
        Ok(object)
    }
}
