//! The key of the store's tag: a secret that the token made and keeps.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::keys::has;
use super::{refused, unexpected};
use crate::backend::BackendError;

const LABEL: &[u8] = b"bartizan-vault/1/store";
/// Bytes of the secret.
const LENGTH: u64 = 32;

/// Makes the key unless there is one.
pub(super) fn make(session: &Session) -> Result<(), BackendError> {
    if !search(session)?.is_empty() {
        return find(session).map(drop);
    }
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::ValueLen(LENGTH.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Verify(false),
        Attribute::Label(LABEL.to_vec()),
    ];
    session
        .generate_key(&Mechanism::GenericSecretKeyGen, &template)
        .map_err(refused)?;
    find(session).map(drop)
}

/// HMAC-SHA-256.
pub(super) fn tag(session: &Session, message: &[u8]) -> Result<[u8; 32], BackendError> {
    let key = find(session)?;
    let tag = session
        .sign(&Mechanism::Sha256Hmac, key, message)
        .map_err(refused)?;
    tag.try_into().map_err(|_| unexpected())
}

fn find(session: &Session) -> Result<ObjectHandle, BackendError> {
    let [key] = *search(session)? else {
        return Err(BackendError::StoreKey);
    };
    let wanted = [
        Attribute::Sensitive(true),
        Attribute::AlwaysSensitive(true),
        Attribute::Extractable(false),
        Attribute::NeverExtractable(true),
        Attribute::Local(true),
        Attribute::Private(true),
    ];
    if has(session, key, &wanted)? {
        return Ok(key);
    }
    Err(BackendError::ExposedStoreKey)
}

fn search(session: &Session) -> Result<Vec<ObjectHandle>, BackendError> {
    let wanted = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
        Attribute::Label(LABEL.to_vec()),
    ];
    session.find_objects(&wanted).map_err(refused)
}
