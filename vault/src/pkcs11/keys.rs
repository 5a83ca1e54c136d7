//! Signing keys as a token's objects: `CKA_LABEL` is the purpose, `CKA_ID` the SHA-256 of the public key.
//!
//! The blob that the keyring keeps is `purpose || 0 || SubjectPublicKeyInfo`: no secret, and nothing in it can be
//! altered without its being no longer what purpose and id say.

use bartizan_attestation::cose::{Curve, PublicKey};
use bartizan_attestation::keys::Purpose;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::{refused, unexpected};
use crate::backend::{BackendError, NewKey, StoredKey, curve, name};

/// `secp256r1` and `secp384r1` (RFC 5480 section 2.1.1.1), DER.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// The public half, if the blob is of this purpose and of the key with this id.
pub(super) fn public(purpose: Purpose, key: &StoredKey<'_>) -> Result<PublicKey, BackendError> {
    let stripped = key.blob.strip_prefix(name(purpose).as_bytes());
    stripped
        .and_then(|rest| rest.strip_prefix(&[0]))
        .and_then(|spki| PublicKey::from_spki_der(spki).ok())
        .filter(|public| public.curve() == curve(purpose) && public.sha256() == *key.id)
        .filter(|public| blob(purpose, public) == key.blob)
        .ok_or(BackendError::Sealed { purpose })
}

fn blob(purpose: Purpose, public: &PublicKey) -> Vec<u8> {
    [name(purpose).as_bytes(), &[0], &public.spki_der()].concat()
}

pub(super) fn generate(session: &Session, purpose: Purpose) -> Result<NewKey, BackendError> {
    let label = Attribute::Label(name(purpose).into());
    // The public half is kept in the blob: in the token it ends with the session.
    let public = [
        Attribute::Token(false),
        Attribute::Verify(true),
        Attribute::EcParams(parameters(curve(purpose)).to_vec()),
        label.clone(),
    ];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        label,
    ];
    let (public, private) = session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
        .map_err(refused)?;
    let made = name_after_public(session, purpose, public, private);
    // It would end with the session anyway.
    let _removed = session.destroy_object(public);
    if made.is_err() {
        // A key that nobody names.
        let _removed = session.destroy_object(private);
    }
    made
}

fn name_after_public(
    session: &Session,
    purpose: Purpose,
    public: ObjectHandle,
    private: ObjectHandle,
) -> Result<NewKey, BackendError> {
    let public = read_public(session, curve(purpose), public)?;
    let id = Attribute::Id(public.sha256().to_vec());
    session.update_attributes(private, &[id]).map_err(refused)?;
    check(session, purpose, private)?;
    Ok(NewKey {
        blob: blob(purpose, &public),
        public,
    })
}

/// The one object of this purpose and id, if it can do nothing but sign.
pub(super) fn find(
    session: &Session,
    purpose: Purpose,
    id: &[u8; 32],
) -> Result<ObjectHandle, BackendError> {
    let wanted = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::Token(true),
        Attribute::Label(name(purpose).into()),
        Attribute::Id(id.to_vec()),
    ];
    let found = session.find_objects(&wanted).map_err(refused)?;
    let [object] = *found else {
        return Err(BackendError::Sealed { purpose });
    };
    check(session, purpose, object)?;
    Ok(object)
}

/// Deletes every object of this purpose and id. That there is none is no error: it was asked for before.
pub(super) fn destroy(
    session: &Session,
    purpose: Purpose,
    id: &[u8; 32],
) -> Result<(), BackendError> {
    let wanted = [
        Attribute::Token(true),
        Attribute::Label(name(purpose).into()),
        Attribute::Id(id.to_vec()),
    ];
    for object in session.find_objects(&wanted).map_err(refused)? {
        session.destroy_object(object).map_err(refused)?;
    }
    Ok(())
}

/// That a key can do nothing but sign, and never could be read out.
fn check(session: &Session, purpose: Purpose, object: ObjectHandle) -> Result<(), BackendError> {
    let kept = [
        Attribute::Sensitive(true),
        Attribute::AlwaysSensitive(true),
        Attribute::Extractable(false),
        Attribute::NeverExtractable(true),
        Attribute::Local(true),
        Attribute::Private(true),
    ];
    let wanted = [&kept, USES.as_slice()].concat();
    demand(session, purpose, object, &wanted)
}

/// The same of an object that was checked before in this session, as far as it can have changed since: what a token says of
/// reading a key out changes in one direction only, to the safe one (PKCS #11 3.0, section 4.9, table 26, footnotes 11 and 12).
pub(super) fn check_again(
    session: &Session,
    purpose: Purpose,
    object: ObjectHandle,
) -> Result<(), BackendError> {
    demand(session, purpose, object, &USES)
}

/// What a key may be used for.
const USES: [Attribute; 4] = [
    Attribute::Sign(true),
    Attribute::Decrypt(false),
    Attribute::Unwrap(false),
    Attribute::Derive(false),
];

fn demand(
    session: &Session,
    purpose: Purpose,
    object: ObjectHandle,
    wanted: &[Attribute],
) -> Result<(), BackendError> {
    if has(session, object, wanted)? {
        return Ok(());
    }
    Err(BackendError::Exposed { purpose })
}

/// Whether an object has all of these attributes: one that the token does not tell is not had.
pub(super) fn has(
    session: &Session,
    object: ObjectHandle,
    wanted: &[Attribute],
) -> Result<bool, BackendError> {
    let kinds: Vec<_> = wanted.iter().map(Attribute::attribute_type).collect();
    let found = session.get_attributes(object, &kinds).map_err(refused)?;
    Ok(wanted.iter().all(|attribute| found.contains(attribute)))
}

fn read_public(
    session: &Session,
    curve: Curve,
    object: ObjectHandle,
) -> Result<PublicKey, BackendError> {
    let found = session
        .get_attributes(object, &[AttributeType::EcPoint])
        .map_err(refused)?;
    let Some(Attribute::EcPoint(encoded)) = found.first() else {
        return Err(unexpected());
    };
    // An OCTET STRING by the standard; some tokens leave its header away.
    let point = match encoded.as_slice() {
        [0x04, length, point @ ..] if usize::from(*length) == point.len() => point,
        point => point,
    };
    PublicKey::from_point(curve, point).map_err(|_| unexpected())
}

const fn parameters(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P256 => P256,
        Curve::P384 => P384,
    }
}
