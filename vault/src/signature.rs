//! ECDSA signatures as devices make them: two numbers, to be written as whoever asked wants them.

use bartizan_attestation::cose::{Curve, PublicKey};

use crate::backend::Encoding;

/// INTEGER and SEQUENCE (X.690 section 8).
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;

/// A signature by a device.
pub(crate) struct Signature {
    /// `r || s`, each as long as the curve's order.
    fixed: Vec<u8>,
}

impl Signature {
    /// From `r` and `s`, big-endian. `None` where a number is too long for the curve.
    pub(crate) fn new(curve: Curve, r: &[u8], s: &[u8]) -> Option<Self> {
        let length = length(curve);
        let fixed = [padded(r, length)?, padded(s, length)?].concat();
        Some(Self { fixed })
    }

    /// From `r || s`, both as long as the curve's order.
    pub(crate) fn from_fixed(curve: Curve, fixed: Vec<u8>) -> Option<Self> {
        (fixed.len() == 2 * length(curve)).then_some(Self { fixed })
    }

    /// The signature in an encoding, if `key` confirms it: finds a device that used another key or miscalculated, which
    /// would give the key away.
    pub(crate) fn confirmed(
        self,
        key: &PublicKey,
        message: &[u8],
        encoding: Encoding,
    ) -> Option<Vec<u8>> {
        key.verify(message, &self.fixed).ok()?;
        Some(match encoding {
            Encoding::Fixed => self.fixed,
            Encoding::Der => self.der(),
        })
    }

    fn der(&self) -> Vec<u8> {
        let (r, s) = self.fixed.split_at(self.fixed.len() / 2);
        element(SEQUENCE, &[integer(r), integer(s)].concat())
    }
}

/// Bytes of the order of a curve's group.
const fn length(curve: Curve) -> usize {
    match curve {
        Curve::P256 => 32,
        Curve::P384 => 48,
    }
}

fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let number = significant(number);
    let zeros = length.checked_sub(number.len())?;
    Some([&vec![0; zeros], number].concat())
}

fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The shortest form that is not negative (X.690 section 8.3).
fn integer(number: &[u8]) -> Vec<u8> {
    let number = significant(number);
    let negative = number.first().is_none_or(|first| first & 0x80 != 0);
    let sign: &[u8] = if negative { &[0] } else { &[] };
    element(INTEGER, &[sign, number].concat())
}

/// INVARIANT: contents are at most 102 bytes (P-384), so that the short form of the length is right.
fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u8::try_from(contents.len()).unwrap_or(u8::MAX);
    debug_assert!(length < 0x80, "signatures are short");
    [&[tag, length], contents].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_padded_and_written_in_their_shortest_form() {
        let signature = Signature::new(Curve::P256, &[0x80], &[0, 0, 1]).unwrap();
        assert_eq!(signature.fixed[31..33], [0x80, 0]);
        assert_eq!(signature.fixed[63], 1);
        assert_eq!(signature.der(), [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]);
        assert!(Signature::new(Curve::P256, &[1; 33], &[1]).is_none());
        assert!(Signature::from_fixed(Curve::P384, vec![0; 64]).is_none());
    }

    #[test]
    fn the_longest_signature_is_what_the_cryptographic_library_reads() {
        use aws_lc_rs::rand::SystemRandom;
        use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let key = PublicKey::from_point(Curve::P384, pair.public_key().as_ref()).unwrap();
        for number in 0..64_u8 {
            let fixed = pair.sign(&SystemRandom::new(), &[number]).unwrap();
            let made = Signature::from_fixed(Curve::P384, fixed.as_ref().to_vec()).unwrap();
            let der = made.confirmed(&key, &[number], Encoding::Der).unwrap();
            assert!(key.verify_der(&[number], &der).is_ok());
        }
    }
}
