//! TPM2_MakeCredential in software (part 1, section 24 and annexes B.10.4 and C.6.4): a secret that only the TPM with both the
//! endorsement key and a named object opens.

use aws_lc_rs::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use aws_lc_rs::cipher::{
    AES_128, AES_256, EncryptionContext, StreamingEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OaepPublicEncryptingKey, PublicEncryptingKey,
    PublicKeyComponents,
};

use super::public_area::{AsymmetricKey, PublicArea};
use crate::cose::{Curve, PublicKey};
use crate::digest::hash;
use crate::measurement::HashAlgorithm;

/// Bytes of a secret.
pub const SECRET_LEN: usize = 32;

const BLOCK: usize = 16;
/// Labels end with a zero byte, which counts.
const IDENTITY: &[u8] = b"IDENTITY\0";
const STORAGE: &[u8] = b"STORAGE\0";
const INTEGRITY: &[u8] = b"INTEGRITY\0";

/// A secret on its way to a TPM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    /// The contents of TPM2B_ID_OBJECT: the secret, encrypted and bound to the object's name.
    pub credential: Vec<u8>,
    /// The contents of TPM2B_ENCRYPTED_SECRET: what that was encrypted by, encrypted to the endorsement key.
    pub secret: Vec<u8>,
}

/// No credential can be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CredentialError {
    /// The endorsement key is none.
    #[error("the endorsement key is no storage key with AES that is fixed to its TPM")]
    EndorsementKey,
    /// The cryptography failed.
    #[error("no credential can be encrypted to this endorsement key")]
    Encryption,
}

/// Encrypts `secret` so that the TPM of `endorsement` hands it out only if it holds the object of this name.
pub fn make_credential(
    endorsement: &PublicArea,
    name: &[u8],
    secret: &[u8; SECRET_LEN],
) -> Result<Credential, CredentialError> {
    let bits = endorsement.symmetric_bits;
    let bits = bits.filter(|_| endorsement.is_storage_key());
    let bits = bits.ok_or(CredentialError::EndorsementKey)?;
    let algorithm = endorsement.name_algorithm();
    let (seed, encrypted_seed) = match endorsement.key() {
        AsymmetricKey::Ec(key) => seed_by_agreement(algorithm, key),
        AsymmetricKey::Rsa { modulus, exponent } => {
            seed_by_encryption(algorithm, modulus, *exponent)
        }
    }
    .ok_or(CredentialError::Encryption)?;

    let length = u16::try_from(SECRET_LEN).unwrap_or_default();
    let mut identity = [&length.to_be_bytes(), &secret[..]].concat();
    let key = kdfa(algorithm, &seed, STORAGE, name, bits.into());
    encrypt(&key, &mut identity).ok_or(CredentialError::Encryption)?;
    let bits = algorithm.digest_len() * 8;
    let key = kdfa(algorithm, &seed, INTEGRITY, &[], bits);
    let mut integrity = hmac::Context::with_key(&hmac_key(algorithm, &key));
    integrity.update(&identity);
    integrity.update(name);
    Ok(Credential {
        credential: [&*sized(integrity.sign().as_ref()), &*identity].concat(),
        secret: encrypted_seed,
    })
}

/// The seed is derived from an agreement of an ephemeral key with the endorsement key.
fn seed_by_agreement(algorithm: HashAlgorithm, key: &PublicKey) -> Option<(Vec<u8>, Vec<u8>)> {
    let (agreed, length) = match key.curve() {
        Curve::P256 => (&agreement::ECDH_P256, 32),
        Curve::P384 => (&agreement::ECDH_P384, 48),
    };
    let ephemeral = EphemeralPrivateKey::generate(agreed, &SystemRandom::new()).ok()?;
    let own = ephemeral.compute_public_key().ok()?;
    // Uncompressed: 4, x, y.
    let (own_x, own_y) = own.as_ref().get(1..)?.split_at_checked(length)?;
    let theirs_x = key.point().get(1..)?.get(..length)?;
    let peer = UnparsedPublicKey::new(agreed, key.point());
    let seed = agreement::agree_ephemeral(ephemeral, peer, (), |shared| {
        Ok(kdfe(algorithm, shared, own_x, theirs_x))
    });
    Some((seed.ok()?, [sized(own_x), sized(own_y)].concat()))
}

/// The seed is random, and encrypted to the endorsement key.
fn seed_by_encryption(
    algorithm: HashAlgorithm,
    modulus: &[u8],
    exponent: u32,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let padding = match algorithm {
        HashAlgorithm::Sha384 => &OAEP_SHA384_MGF1SHA384,
        _ => &OAEP_SHA256_MGF1SHA256,
    };
    let mut seed = vec![0; algorithm.digest_len()];
    rand::fill(&mut seed).ok()?;
    let exponent = exponent.to_be_bytes();
    let leading = exponent.iter().take_while(|byte| **byte == 0).count();
    let components = PublicKeyComponents {
        n: modulus,
        e: exponent.get(leading..)?,
    };
    let key: PublicEncryptingKey = components.try_into().ok()?;
    let key = OaepPublicEncryptingKey::new(key).ok()?;
    let mut encrypted = vec![0; key.ciphertext_size()];
    let written = key.encrypt(padding, &seed, &mut encrypted, Some(IDENTITY));
    let written = written.ok()?.len();
    encrypted.truncate(written);
    Some((seed, encrypted))
}

/// KDFa (part 1, section 11.4.10.2): SP 800-108 in counter mode. At most as many bits as the hash has are ever wanted.
fn kdfa(
    algorithm: HashAlgorithm,
    key: &[u8],
    label: &[u8],
    context: &[u8],
    bits: usize,
) -> Vec<u8> {
    let mut mac = hmac::Context::with_key(&hmac_key(algorithm, key));
    mac.update(&1_u32.to_be_bytes());
    mac.update(label);
    mac.update(context);
    mac.update(&u32::try_from(bits).unwrap_or_default().to_be_bytes());
    let mut derived = mac.sign().as_ref().to_vec();
    derived.truncate(bits / 8);
    derived
}

/// KDFe (part 1, section 11.4.10.3), of as many bits as the hash has.
fn kdfe(algorithm: HashAlgorithm, shared: &[u8], own_x: &[u8], theirs_x: &[u8]) -> Vec<u8> {
    let counter = 1_u32.to_be_bytes();
    hash(
        algorithm,
        &[&counter, shared, IDENTITY, own_x, theirs_x].concat(),
    )
    .0
}

fn hmac_key(algorithm: HashAlgorithm, key: &[u8]) -> hmac::Key {
    let algorithm = match algorithm {
        HashAlgorithm::Sha384 => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA256,
    };
    hmac::Key::new(algorithm, key)
}

/// AES-CFB with the initialisation vector zero, which the standard has: each key is used once.
fn encrypt(key: &[u8], text: &mut Vec<u8>) -> Option<()> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = UnboundCipherKey::new(algorithm, key).ok()?;
    let vector = EncryptionContext::Iv128(FixedLength::from([0; BLOCK]));
    let mut cipher = StreamingEncryptingKey::less_safe_cfb128(key, vector).ok()?;
    let mut encrypted = vec![0; text.len() + BLOCK];
    let written = cipher.update(text, &mut encrypted).ok()?.written().len();
    let (_, rest) = encrypted.split_at_mut_checked(written)?;
    let last = cipher.finish(rest).ok()?.1.written().len();
    encrypted.truncate(written + last);
    *text = encrypted;
    Some(())
}

/// A TPM2B.
fn sized(bytes: &[u8]) -> Vec<u8> {
    // INVARIANT: digests and coordinates have at most 64 bytes.
    let length = u16::try_from(bytes.len()).unwrap_or_default();
    [&length.to_be_bytes(), bytes].concat()
}
