//! What the keys are: all that a TPM is told when it makes one.

use bartizan_attestation::cose::Curve;
use bartizan_attestation::digest::sha256;
use bartizan_attestation::keys::Purpose;
use tss_esapi::Error;
use tss_esapi::attributes::{ObjectAttributes, ObjectAttributesBuilder};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::structures::{
    Digest, EccParameter, EccPoint, EccScheme, HashScheme, HmacScheme, KeyDerivationFunctionScheme,
    KeyedHashScheme, Public, PublicBuilder, PublicEccParameters, PublicKeyedHashParameters,
    SymmetricDefinitionObject,
};

use crate::backend::{Generation, curve, name};

/// The parent of a purpose's keys. Its `unique` field makes it another key for each: a TPM loads a key under the parent
/// that it was made under only.
pub(super) fn parent(purpose: Purpose) -> Result<Public, Error> {
    let attributes = fixed()
        .with_user_with_auth(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let parameters = PublicEccParameters::new(
        SymmetricDefinitionObject::AES_128_CFB,
        EccScheme::Null,
        EccCurve::NistP256,
        KeyDerivationFunctionScheme::Null,
    );
    ecc(attributes, parameters, name(purpose).as_bytes())?.build()
}

/// A key that signs under a policy. `adminWithPolicy` is clear: that it is there, and that it is this TPM's, it may prove to
/// whoever asks (TPM2_ActivateCredential, TPM2_Certify); its authorisation, which is empty, lets it do no more.
pub(super) fn signing(purpose: Purpose, policy: Digest) -> Result<Public, Error> {
    let attributes = fixed().with_sign_encrypt(true).build()?;
    let parameters = ecdsa(curve(purpose));
    let builder = ecc(attributes, parameters, &[])?;
    builder.with_auth_policy(policy).build()
}

/// The attestation key: it signs what the TPM itself says, and nothing else.
pub(super) fn attestation() -> Result<Public, Error> {
    let attributes = fixed()
        .with_user_with_auth(true)
        .with_restricted(true)
        .with_sign_encrypt(true)
        .build()?;
    let unique = b"bartizan-vault/1/attestation";
    ecc(attributes, ecdsa(Curve::P384), unique)?.build()
}

/// The key of the store's tag.
pub(super) fn store(generation: Generation) -> Result<Public, Error> {
    let name = [b"bartizan-vault/1/store".as_slice(), &generation.0];
    let attributes = fixed()
        .with_user_with_auth(true)
        .with_sign_encrypt(true)
        .build()?;
    let scheme = KeyedHashScheme::Hmac {
        hmac_scheme: HmacScheme::new(HashingAlgorithm::Sha256),
    };
    Public::builder()
        .with_public_algorithm(PublicAlgorithm::KeyedHash)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_keyed_hash_parameters(PublicKeyedHashParameters::new(scheme))
        .with_keyed_hash_unique_identifier(sha256(&name.concat()).to_vec().try_into()?)
        .build()
}

pub(super) const fn hashing(curve: Curve) -> HashingAlgorithm {
    match curve {
        Curve::P256 => HashingAlgorithm::Sha256,
        Curve::P384 => HashingAlgorithm::Sha384,
    }
}

/// Made in this TPM, never to leave it, and no reason for it to lock itself.
fn fixed() -> ObjectAttributesBuilder {
    ObjectAttributes::builder()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_no_da(true)
}

const fn ecdsa(curve: Curve) -> PublicEccParameters {
    PublicEccParameters::new(
        SymmetricDefinitionObject::Null,
        EccScheme::EcDsa(HashScheme::new(hashing(curve))),
        match curve {
            Curve::P256 => EccCurve::NistP256,
            Curve::P384 => EccCurve::NistP384,
        },
        KeyDerivationFunctionScheme::Null,
    )
}

fn ecc(
    attributes: ObjectAttributes,
    parameters: PublicEccParameters,
    unique: &[u8],
) -> Result<PublicBuilder, Error> {
    let unique = match unique {
        [] => EccPoint::default(),
        name => EccPoint::new(
            EccParameter::try_from(sha256(name).to_vec())?,
            EccParameter::default(),
        ),
    };
    Ok(Public::builder()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(unique))
}
