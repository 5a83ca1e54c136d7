//! Public areas and endorsement certificates made here. That a TPM opens what [`make_credential`] makes, the vault's
//! conformance tests try on one.

use std::collections::BTreeMap;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PublicKeyData as _,
};

use super::*;
use crate::boot::Sha384;
use crate::cose::{Curve, Sign as _};
use crate::csr::EphemeralKey;

const EK_ATTRIBUTES: u32 = 0x0003_00b2;

/// The area of a storage key on P-256, as the TCG's template L-2 has it.
fn storage(point: &[u8], attributes: u32) -> Vec<u8> {
    let mut area = vec![0x00, 0x23, 0x00, 0x0b];
    area.extend(attributes.to_be_bytes());
    area.extend([0, 32]);
    area.extend([7; 32]);
    // AES-128-CFB, no scheme, P-256, no derivation.
    area.extend([0, 6, 0, 128, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10]);
    for coordinate in point[1..].chunks(32) {
        area.extend([0, 32]);
        area.extend(coordinate);
    }
    area
}

/// The area of a key that signs, on P-256.
fn signing(point: &[u8], attributes: u32, policy: &[u8]) -> Vec<u8> {
    let mut area = vec![0x00, 0x23, 0x00, 0x0b];
    area.extend(attributes.to_be_bytes());
    area.extend(u16::try_from(policy.len()).unwrap().to_be_bytes());
    area.extend(policy);
    area.extend([0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10]);
    for coordinate in point[1..].chunks(32) {
        area.extend([0, 32]);
        area.extend(coordinate);
    }
    area
}

fn point() -> Vec<u8> {
    let key = PrivateKey::generate(&ECDH_P256).unwrap();
    key.compute_public_key().unwrap().as_ref().to_vec()
}

#[test]
fn a_public_area_is_read_and_named() {
    let point = point();
    let bytes = storage(&point, EK_ATTRIBUTES);
    let area = PublicArea::parse(&bytes).unwrap();
    let AsymmetricKey::Ec(key) = area.key() else {
        panic!("an elliptic curve's");
    };
    assert_eq!((key.curve(), key.point()), (Curve::P256, &point[..]));
    let name = [&[0, 0x0b][..], &crate::digest::sha256(&bytes)].concat();
    assert_eq!(area.name(), name);
    assert!(make_credential(&area, &name, &[1; SECRET_LEN]).is_ok());
}

#[test]
fn a_key_for_anything_else_is_refused() {
    let (point, policy) = (point(), [7; 32]);
    let signs = 0x0004_0032;
    let signer = |attributes, policy: &[u8]| {
        let area = PublicArea::parse(&signing(&point, attributes, policy)).unwrap();
        area.policy_bound_signer().is_ok()
    };
    assert!(signer(signs, &policy));
    // It can leave, was not made there, signs by password, is restricted, decrypts, or has no policy.
    for (attributes, policy) in [
        (signs & !0x2, &policy[..]),
        (signs & !0x10, &policy),
        (signs & !0x20, &policy),
        (signs | 0x40, &policy),
        (signs | 0x0001_0000, &policy),
        (signs | 0x0002_0000, &policy),
        (signs & !0x0004_0000, &policy),
        (signs, &[]),
    ] {
        assert!(!signer(attributes, policy), "{attributes:x}");
    }
    let attests = |attributes| {
        let area = PublicArea::parse(&signing(&point, attributes, &[])).unwrap();
        area.attestation_key().is_ok()
    };
    assert!(attests(signs | 0x0001_0040));
    assert!(!attests(signs | 0x40));
    assert!(!attests((signs | 0x0001_0000) & !0x2));
    // Whatever decrypts and hands out what it decrypted is no endorsement key.
    for attributes in [EK_ATTRIBUTES & !0x0001_0000, EK_ATTRIBUTES | 0x0004_0000] {
        let area = PublicArea::parse(&storage(&point, attributes)).unwrap();
        let refused = make_credential(&area, &[], &[1; SECRET_LEN]);
        assert_eq!(refused, Err(CredentialError::EndorsementKey));
    }
}

struct Maker {
    key: KeyPair,
    params: CertificateParams,
    pem: String,
}

impl Maker {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { key, params, pem }
    }

    fn certify(&self, key: &KeyPair, purpose: &[u64]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(purpose.to_vec())];
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(key, &issuer).unwrap().der().to_vec()
    }
}

#[test]
fn an_endorsement_key_needs_a_known_makers_word_for_itself() {
    let (maker, other) = (Maker::new(), Maker::new());
    let makers = Makers::from_pem(maker.pem.as_bytes()).unwrap();
    let key = KeyPair::generate().unwrap();
    let area = PublicArea::parse(&storage(key.der_bytes(), EK_ATTRIBUTES)).unwrap();
    let ek = &[2, 23, 133, 8, 1];
    let now = 1_800_000_000;
    let verify = |certificate: &[u8], area: &PublicArea| {
        EndorsementCertificate::verify(certificate, area.clone(), &makers, now)
    };
    let mut padded = maker.certify(&key, ek);
    // As TPMs keep it: what follows is not looked at.
    padded.extend([0xff; 20]);
    let verified = verify(&padded, &area).unwrap();
    assert_eq!(verified.area(), &area);

    let unknown = verify(&other.certify(&key, ek), &area);
    assert!(matches!(unknown, Err(EndorsementError::Unknown(_))));
    let another_purpose = verify(&maker.certify(&key, &[1, 3, 6, 1, 5, 5, 7, 3, 1]), &area);
    assert!(matches!(another_purpose, Err(EndorsementError::Unknown(_))));
    let foreign = PublicArea::parse(&storage(&point(), EK_ATTRIBUTES)).unwrap();
    let refused = verify(&padded, &foreign);
    assert!(matches!(refused, Err(EndorsementError::OtherKey)));
    let late = EndorsementCertificate::verify(&padded, area.clone(), &makers, u64::MAX / 2);
    assert!(matches!(late, Err(EndorsementError::Unknown(_))));
    for malformed in [&[][..], b"junk", &[0; 5000]] {
        let refused = verify(malformed, &area);
        assert!(matches!(refused, Err(EndorsementError::Malformed)));
    }
    assert_eq!(
        Makers::from_pem(b"no PEM").unwrap_err(),
        MakersError::Malformed
    );
}

/// TPMS_ATTEST of a quote of these PCRs.
fn attested(nonce: &[u8], pcrs: &BTreeMap<u8, Sha384>) -> Vec<u8> {
    let mut quote = vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x18, 0, 2, 9, 9];
    quote.extend(u16::try_from(nonce.len()).unwrap().to_be_bytes());
    quote.extend(nonce);
    quote.extend([0; 25]);
    quote.extend([0, 0, 0, 1, 0, 0x0c, 3]);
    let selected = pcrs.keys().fold(0_u32, |bits, number| bits | 1 << number);
    quote.extend(&selected.to_le_bytes()[..3]);
    let values: Vec<u8> = pcrs.values().flat_map(|value| value.0).collect();
    quote.extend([0, 48]);
    quote.extend(Sha384::of(&values).0);
    quote
}

/// TPMT_SIGNATURE by a key.
fn quoted_by(key: &EphemeralKey, attested: &[u8]) -> Vec<u8> {
    let fixed = key.sign(attested).unwrap();
    let mut signature = vec![0, 0x18, 0, 0x0c];
    for number in fixed.chunks(48) {
        signature.extend([0, 48]);
        signature.extend(number);
    }
    signature
}

#[test]
fn a_quote_is_of_its_key_its_nonce_and_its_pcrs() {
    let (key, other) = (
        EphemeralKey::generate().unwrap(),
        EphemeralKey::generate().unwrap(),
    );
    let pcrs = BTreeMap::from([
        (0, Sha384([1; 48])),
        (12, Sha384([2; 48])),
        (15, Sha384([3; 48])),
    ]);
    let quote = attested(b"nonce", &pcrs);
    let signature = quoted_by(&key, &quote);
    let public = key.public_key();
    let verify = |attested: &[u8], signature: &[u8], nonce: &[u8], pcrs: &BTreeMap<u8, Sha384>| {
        verify_quote(attested, signature, &public, nonce, pcrs)
    };
    assert_eq!(verify(&quote, &signature, b"nonce", &pcrs), Ok(()));
    let forged = quoted_by(&other, &quote);
    let refused = verify(&quote, &forged, b"nonce", &pcrs);
    assert_eq!(refused, Err(QuoteError::Signature));
    let refused = verify(&quote, &signature, b"other", &pcrs);
    assert_eq!(refused, Err(QuoteError::Nonce));
    let mut fewer = pcrs.clone();
    fewer.remove(&0);
    let mut changed = pcrs.clone();
    changed.insert(12, Sha384([4; 48]));
    for wrong in [fewer, changed] {
        let refused = verify(&quote, &signature, b"nonce", &wrong);
        assert_eq!(refused, Err(QuoteError::Pcrs));
    }
    // Anything else that the key may sign is no quote: of another type, of another bank, of two.
    for (at, byte) in [(0, 0), (5, 0x17), (45, 2), (47, 0x0b)] {
        let mut changed = quote.clone();
        changed[at] = byte;
        let signature = quoted_by(&key, &changed);
        let refused = verify(&changed, &signature, b"nonce", &pcrs);
        assert_eq!(refused, Err(QuoteError::Malformed), "{at}");
    }
}

/// TPMS_ATTEST of a certified object.
fn certified(nonce: &[u8], name: &[u8]) -> Vec<u8> {
    let mut said = vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x17, 0, 2, 9, 9];
    said.extend(u16::try_from(nonce.len()).unwrap().to_be_bytes());
    said.extend(nonce);
    said.extend([0; 25]);
    for name in [name, &[7; 34]] {
        said.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
        said.extend(name);
    }
    said
}

#[test]
fn a_certified_object_is_of_its_key_its_nonce_and_its_area() {
    let (key, other) = (
        EphemeralKey::generate().unwrap(),
        EphemeralKey::generate().unwrap(),
    );
    let (signs, policy) = (0x0004_0032, [7; 32]);
    let area = |attributes| {
        let bytes = signing(&point(), attributes, &policy);
        PublicArea::parse(&bytes).unwrap()
    };
    let (held, elsewhere) = (area(signs), area(signs));
    let said = certified(b"nonce", &held.name());
    let signature = quoted_by(&key, &said);
    let public = key.public_key();
    let verify = |said: &[u8], signature: &[u8], nonce: &[u8], area: &PublicArea| {
        verify_certified(said, signature, &public, nonce, area).cloned()
    };
    let AsymmetricKey::Ec(certified_key) = held.key().clone() else {
        panic!("an elliptic curve's");
    };
    assert_eq!(
        verify(&said, &signature, b"nonce", &held),
        Ok(certified_key)
    );
    // Another TPM's attestation key.
    let refused = verify(&said, &quoted_by(&other, &said), b"nonce", &held);
    assert_eq!(refused, Err(CertifyError::Signature));
    let refused = verify(&said, &signature, b"other", &held);
    assert_eq!(refused, Err(CertifyError::Nonce));
    let refused = verify(&said, &signature, b"nonce", &elsewhere);
    assert_eq!(refused, Err(CertifyError::OtherObject));
    // What is in the TPM, and can leave it or signs without its policy.
    for attributes in [signs & !0x2, signs | 0x40, signs | 0x0001_0000] {
        let loose = area(attributes);
        let said = certified(b"nonce", &loose.name());
        let refused = verify(&said, &quoted_by(&key, &said), b"nonce", &loose);
        assert!(matches!(refused, Err(CertifyError::Area(_))), "{refused:?}");
    }
    // A quote, or one that was made longer or shorter, is no such word.
    let quote = attested(b"nonce", &BTreeMap::from([(12, Sha384([2; 48]))]));
    let longer = [&*said, &[0]].concat();
    for wrong in [&quote, &longer, &said[..said.len() - 1], b""] {
        let refused = verify(wrong, &quoted_by(&key, wrong), b"nonce", &held);
        assert_eq!(refused, Err(CertifyError::Malformed));
    }
    let refused = verify(&said, b"no signature", b"nonce", &held);
    assert_eq!(refused, Err(CertifyError::Malformed));
}

proptest! {
    #[test]
    fn any_certified_object_is_answered(
        bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), bit in 0..8u8
    ) {
        let key = EphemeralKey::generate().unwrap();
        let area = PublicArea::parse(&signing(&point(), 0x0004_0032, &[7; 32])).unwrap();
        let public = key.public_key();
        prop_assert!(verify_certified(&bytes, &bytes, &public, b"nonce", &area).is_err());
        let mut changed = certified(b"nonce", &area.name());
        let signature = quoted_by(&key, &changed);
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        prop_assert!(verify_certified(&changed, &signature, &public, b"nonce", &area).is_err());
    }

    #[test]
    fn any_quote_and_signature_are_answered(
        bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), bit in 0..8u8
    ) {
        let key = EphemeralKey::generate().unwrap();
        let pcrs = BTreeMap::from([(12, Sha384([2; 48]))]);
        let public = key.public_key();
        prop_assert!(verify_quote(&bytes, &bytes, &public, b"nonce", &pcrs).is_err());
        let mut changed = attested(b"nonce", &pcrs);
        let signature = quoted_by(&key, &changed);
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        prop_assert!(verify_quote(&changed, &signature, &public, b"nonce", &pcrs).is_err());
    }

    #[test]
    fn any_area_is_answered_and_no_changed_one_has_the_name(
        bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0..8u8
    ) {
        if let Ok(area) = PublicArea::parse(&bytes) {
            let _ = make_credential(&area, &[1; 34], &[1; SECRET_LEN]);
        }
        let good = storage(&point(), EK_ATTRIBUTES);
        let named = PublicArea::parse(&good).unwrap().name();
        let mut changed = good;
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        if let Ok(area) = PublicArea::parse(&changed) {
            prop_assert_ne!(area.name(), named);
            let _ = make_credential(&area, &[1; 34], &[1; SECRET_LEN]);
        }
    }
}
