//! The private numbers of a vault's keys, without a door in the vault: every place of its memory where one could be is tried
//! against the public keys that the vault tells.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use aws_lc_rs::agreement::{Algorithm, ECDH_P256, ECDH_P384, PrivateKey};
use bartizan_attestation::cose::{Curve, PublicKey};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::keys::{KeyDescription, Purpose};
use bartizan_tests::process::Process;

use super::memory;

/// A private key.
#[derive(Clone)]
pub(super) struct Scalar {
    pub(super) purpose: Purpose,
    /// SHA-256 over the public half.
    pub(super) id: [u8; 32],
    pub(super) big_endian: Vec<u8>,
}

/// How numbers lie in memory: limbs of 64 bits, aligned to them.
const LIMB: usize = 8;

/// The private numbers of these keys, as far as they are in the memory that a process writes.
pub(super) fn in_memory(process: Process, keys: &[KeyDescription]) -> Result<Vec<Scalar>> {
    let memory = memory::open(process)?;
    let mut tried = BTreeSet::new();
    let mut scalars: Vec<Scalar> = Vec::new();
    for mapping in memory::mappings(process)? {
        if !mapping.writable {
            continue;
        }
        let contents = memory::contents(&memory, &mapping)?;
        for curve in [Curve::P384, Curve::P256] {
            for limbs in contents.windows(length(curve)).step_by(LIMB) {
                if !could_be_random(limbs) || !tried.insert(limbs.to_vec()) {
                    continue;
                }
                let big_endian: Vec<_> = limbs.iter().rev().copied().collect();
                let Some(id) = public_id(curve, &big_endian) else {
                    continue;
                };
                let of = keys.iter().find(|key| *key.id == id);
                if let Some(key) = of
                    && scalars.iter().all(|scalar| scalar.id != id)
                {
                    scalars.push(Scalar {
                        purpose: key.purpose,
                        id,
                        big_endian,
                    });
                }
            }
        }
    }
    Ok(scalars)
}

/// That of a PKCS #8 key whose number follows the header `04 30` of its octet string.
pub(super) fn of_pkcs8(der: &[u8]) -> Result<Scalar> {
    let key = EphemeralKey::from_pkcs8_der(der)?;
    let id = key.public_key().sha256();
    let number = der
        .windows(50)
        .filter(|window| window.starts_with(&[0x04, 0x30]))
        .map(|window| &window[2..])
        .find(|number| public_id(Curve::P384, number) == Some(id));
    Ok(Scalar {
        purpose: Purpose::CardIdentity,
        id,
        big_endian: number.context("a number of 48 bytes")?.to_vec(),
    })
}

/// The id of the key with this private number, if it is one of the curve.
fn public_id(curve: Curve, big_endian: &[u8]) -> Option<[u8; 32]> {
    let key = PrivateKey::from_private_key(algorithm(curve), big_endian).ok()?;
    let point = key.compute_public_key().ok()?;
    Some(PublicKey::from_point(curve, point.as_ref()).ok()?.sha256())
}

/// Text, pointers and small numbers are not. Of random bytes fewer than one in a million is so even.
fn could_be_random(bytes: &[u8]) -> bool {
    let distinct: BTreeSet<_> = bytes.iter().collect();
    let high = bytes.iter().filter(|byte| **byte >= 0x80).count();
    distinct.len() * 4 >= bytes.len() * 3 && high * 6 >= bytes.len()
}

fn algorithm(curve: Curve) -> &'static Algorithm {
    match curve {
        Curve::P256 => &ECDH_P256,
        Curve::P384 => &ECDH_P384,
    }
}

const fn length(curve: Curve) -> usize {
    match curve {
        Curve::P256 => 32,
        Curve::P384 => 48,
    }
}
