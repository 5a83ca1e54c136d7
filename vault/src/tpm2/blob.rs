//! What the keyring keeps of a key: length, TPMT_PUBLIC, and the private area that this TPM alone can read.

use bartizan_attestation::cose::{Curve, PublicKey};
use bartizan_attestation::keys::Purpose;
use tss_esapi::structures::{EccPoint, Private, Public};
use tss_esapi::traits::{Marshall, UnMarshall};

use super::{templates, unexpected};
use crate::backend::{BackendError, NewKey, StoredKey, curve};

/// A blob that is of the key that it is kept for. Whether the TPM made it, the TPM says when it loads it.
pub(super) struct Blob {
    pub(super) key: PublicKey,
    pub(super) public: Public,
    pub(super) private: Private,
}

impl Blob {
    pub(super) fn open(purpose: Purpose, key: &StoredKey<'_>) -> Result<Self, BackendError> {
        Self::read(purpose, key.blob)
            .filter(|blob| blob.key.sha256() == *key.id)
            .ok_or(BackendError::Sealed { purpose })
    }

    fn read(purpose: Purpose, bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (marshalled, private) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let public = Public::unmarshall(marshalled).ok()?;
        if public.marshall().ok()? != marshalled {
            return None;
        }
        let Public::Ecc { unique, .. } = &public else {
            return None;
        };
        let key = public_key(curve(purpose), unique)?;
        // Made by this TPM, with no other use than the vault gave it.
        let made = templates::signing(purpose, public.auth_policy().clone()).ok()?;
        let private = Private::try_from(private.to_vec()).ok()?;
        same_but_unique(&made, &public).then_some(Self {
            key,
            public,
            private,
        })
    }
}

pub(super) fn new_key(
    purpose: Purpose,
    public: &Public,
    private: &Private,
) -> Result<NewKey, BackendError> {
    let Public::Ecc { unique, .. } = public else {
        return Err(unexpected());
    };
    let marshalled = public.marshall()?;
    let length = u16::try_from(marshalled.len()).map_err(|_| unexpected())?;
    Ok(NewKey {
        public: public_key(curve(purpose), unique).ok_or_else(unexpected)?,
        blob: [&length.to_be_bytes(), &*marshalled, private.value()].concat(),
    })
}

fn same_but_unique(made: &Public, found: &Public) -> bool {
    match (made, found) {
        (
            Public::Ecc {
                object_attributes: attributes,
                name_hashing_algorithm: hashing,
                parameters,
                ..
            },
            Public::Ecc {
                object_attributes,
                name_hashing_algorithm,
                parameters: found,
                ..
            },
        ) => {
            attributes == object_attributes
                && hashing == name_hashing_algorithm
                && parameters == found
        }
        _ => false,
    }
}

fn public_key(curve: Curve, point: &EccPoint) -> Option<PublicKey> {
    let length = match curve {
        Curve::P256 => 32,
        Curve::P384 => 48,
    };
    let mut uncompressed = vec![4];
    for coordinate in [point.x(), point.y()] {
        let zeros = usize::checked_sub(length, coordinate.value().len())?;
        uncompressed.extend(std::iter::repeat_n(0, zeros));
        uncompressed.extend(coordinate.value());
    }
    PublicKey::from_point(curve, &uncompressed).ok()
}
