//! A key as a TPM shows it.

use bartizan_attestation::cose::PublicKey;

/// TPMT_PUBLIC of a P-384 key that was made in its TPM, stays there, and signs by its policy alone.
#[must_use]
pub fn signing_area(key: &PublicKey) -> Vec<u8> {
    let mut area = vec![0, 0x23, 0, 0x0b, 0, 0x04, 0, 0x32, 0, 32];
    area.extend([7; 32]);
    area.extend([0, 0x10, 0, 0x18, 0, 0x0c, 0, 4, 0, 0x10]);
    for coordinate in key.point().get(1..).unwrap_or_default().chunks(48) {
        area.extend([0, 48]);
        area.extend(coordinate);
    }
    area
}
