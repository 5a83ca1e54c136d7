use proptest::prelude::*;

use super::*;

#[test]
fn a_request_proves_possession() {
    let key = EphemeralKey::generate().unwrap();
    assert_eq!(verify(&key.csr().unwrap()), Ok(key.public_key()));
}

#[test]
fn a_key_survives_being_stored() {
    let key = EphemeralKey::generate().unwrap();
    let again = EphemeralKey::from_pkcs8_der(key.pkcs8_der()).unwrap();
    assert_eq!(again.public_key(), key.public_key());
    let signature = Sign::sign(&again, b"message").unwrap();
    key.public_key().verify(b"message", &signature).unwrap();
    let signature = again.sign_der(b"message").unwrap();
    key.public_key().verify_der(b"message", &signature).unwrap();
}

#[test]
fn debug_output_holds_no_secret() {
    let key = EphemeralKey::generate().unwrap();
    let shown = format!("{key:?}");
    assert!(
        shown.len() < 150 && shown.contains("spki sha-256"),
        "{shown}"
    );
}

/// Not every bit is signed (RFC 2986 signs the request's inner part), but none of them may lead to
/// another key being certified.
#[test]
fn no_flipped_bit_leads_to_another_key() {
    let key = EphemeralKey::generate().unwrap();
    let csr = key.csr().unwrap();
    for at in 0..csr.len() * 8 {
        let mut flipped = csr.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(
            !verify(&flipped).is_ok_and(|found| found != key.public_key()),
            "bit {at}"
        );
    }
}

#[test]
fn anothers_key_or_another_curve_is_refused() {
    let (mine, theirs) = (
        EphemeralKey::generate().unwrap(),
        EphemeralKey::generate().unwrap(),
    );
    // My signature over a request for their key: what a thief of certificates would send.
    let mut csr = mine.csr().unwrap();
    let (my_point, their_point) = (mine.public_key(), theirs.public_key());
    let at = csr
        .windows(97)
        .position(|bytes| bytes == my_point.point())
        .unwrap();
    csr[at..at + 97].copy_from_slice(their_point.point());
    assert_eq!(verify(&csr), Err(CsrError::NoProof));

    let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let csr = CertificateParams::default()
        .serialize_request(&p256)
        .unwrap();
    assert_eq!(verify(csr.der()), Err(CsrError::WrongKey));
}

#[test]
fn size_and_trailing_bytes_are_refused() {
    assert_eq!(
        verify(&vec![0x30; MAX_CSR + 1]),
        Err(CsrError::TooLarge(MAX_CSR + 1))
    );
    let mut csr = EphemeralKey::generate().unwrap().csr().unwrap();
    csr.push(0);
    assert_eq!(verify(&csr), Err(CsrError::Malformed));
}

#[test]
fn other_private_keys_are_refused() {
    let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    assert!(matches!(
        EphemeralKey::from_pkcs8_der(p256.serialized_der()),
        Err(KeyError::Pkcs8(_))
    ));
    assert!(EphemeralKey::from_pkcs8_der(&[]).is_err());
}

proptest! {
    #[test]
    fn verifying_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = verify(&bytes);
        let _ = EphemeralKey::from_pkcs8_der(&bytes);
    }
}

#[test]
fn a_certificate_of_its_own_making_has_the_key_and_is_of_no_fleet() {
    use crate::certificates::{Usage, key_in, verify_chain};
    let key = EphemeralKey::generate().unwrap();
    let shown = key.self_signed().unwrap();
    assert_eq!(key_in(&shown), Ok(key.public_key()));
    let fleet = crate::certificates::tests::fleet::Fleet::new();
    let now = crate::certificates::tests::fleet::NOW;
    for usage in Usage::ALL {
        verify_chain(std::slice::from_ref(&shown), &fleet.anchor(), now, usage).unwrap_err();
    }
}
