//! The key of the store's tag: a secret that the token made and keeps.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::keys::has;
use super::{refused, unexpected};
use crate::backend::{BackendError, Generation};

const LABEL: &[u8] = b"bartizan-vault/1/store";
/// Bytes of the secret.
const LENGTH: u64 = 32;

/// Makes the key unless there is one.
pub(super) fn make(session: &Session, generation: Generation) -> Result<(), BackendError> {
    let label = label(generation);
    if !search(session, &label)?.is_empty() {
        return find(session, &label).map(drop);
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
        Attribute::Label(label.clone()),
    ];
    session
        .generate_key(&Mechanism::GenericSecretKeyGen, &template)
        .map_err(refused)?;
    find(session, &label).map(drop)
}

/// HMAC-SHA-256.
pub(super) fn tag(
    session: &Session,
    generation: Generation,
    message: &[u8],
) -> Result<[u8; 32], BackendError> {
    let key = find(session, &label(generation))?;
    let tag = session
        .sign(&Mechanism::Sha256Hmac, key, message)
        .map_err(refused)?;
    tag.try_into().map_err(|_| unexpected())
}

/// Destroys one. Others may be of other stores in the same token.
pub(super) fn destroy(session: &Session, generation: Generation) -> Result<(), BackendError> {
    for key in search(session, &label(generation))? {
        session.destroy_object(key).map_err(refused)?;
    }
    Ok(())
}

fn label(Generation(generation): Generation) -> Vec<u8> {
    [LABEL, b"/", hex::encode(generation).as_bytes()].concat()
}

fn find(session: &Session, label: &[u8]) -> Result<ObjectHandle, BackendError> {
    let [key] = *search(session, label)? else {
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

fn search(session: &Session, label: &[u8]) -> Result<Vec<ObjectHandle>, BackendError> {
    let wanted = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
        Attribute::Label(label.to_vec()),
    ];
    session.find_objects(&wanted).map_err(refused)
}
