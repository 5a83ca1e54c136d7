use proptest::prelude::*;

use super::*;
use crate::test_key::TestKey;

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// RFC 6979 appendix A.2.6: ECDSA over P-384 with SHA-384 of "sample".
#[test]
fn es384_vector() {
    let x = "EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64DEF8F0EA9055866064A254515480BC13";
    let y = "8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1288B231C3AE0D4FE7344FD2533264720";
    let r = "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46";
    let s = "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8";
    let key = PublicKey::from_point(Curve::P384, &unhex(&format!("04{x}{y}"))).unwrap();
    let mut signature = unhex(&format!("{r}{s}"));
    key.verify(b"sample", &signature).unwrap();
    assert_eq!(key.verify(b"simple", &signature), Err(BadSignature));
    signature[95] ^= 1;
    assert_eq!(key.verify(b"sample", &signature), Err(BadSignature));
}

/// RFC 6979 appendix A.2.5: ECDSA over P-256 with SHA-256 of "sample".
#[test]
fn es256_vector() {
    let x = "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6";
    let y = "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299";
    let r = "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716";
    let s = "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8";
    let key = PublicKey::from_point(Curve::P256, &unhex(&format!("04{x}{y}"))).unwrap();
    key.verify(b"sample", &unhex(&format!("{r}{s}"))).unwrap();
}

#[test]
fn spki_round_trips() {
    let key = TestKey::generate().public_key();
    assert_eq!(PublicKey::from_spki_der(&key.spki_der()).unwrap(), key);
}

#[test]
fn a_jwk_has_the_coordinates_of_the_point() {
    let key = TestKey::generate().public_key();
    let Jwk { crv, kty, x, y } = key.jwk();
    assert_eq!((crv.as_str(), kty.as_str()), ("P-384", "EC"));
    let coordinate = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let point = [vec![4], coordinate(&x), coordinate(&y)].concat();
    assert_eq!(PublicKey::from_point(Curve::P384, &point).unwrap(), key);
}

/// RFC 7638 hashes the required members in lexicographic order, without white space.
#[test]
fn thumbprint_hashes_the_canonical_jwk() {
    let key = TestKey::generate().public_key();
    let canonical = serde_json::to_string(&key.jwk()).unwrap();
    assert!(canonical.starts_with(r#"{"crv":"P-384","kty":"EC","x":""#));
    assert_eq!(key.thumbprint(), sha256(canonical.as_bytes()));
}

#[test]
fn strange_keys_are_refused() {
    let key = TestKey::generate().public_key();
    let spki = key.spki_der();
    assert_eq!(
        PublicKey::from_spki_der(&[&spki[..], &[0]].concat()),
        Err(PublicKeyError::Unsupported)
    );
    assert_eq!(
        PublicKey::from_spki_der(&spki[..spki.len() - 1]),
        Err(PublicKeyError::Unsupported)
    );
    let mut off_curve = spki.clone();
    off_curve[119] ^= 1;
    assert_eq!(
        PublicKey::from_spki_der(&off_curve),
        Err(PublicKeyError::NotOnCurve)
    );
    let mut compressed = key.point()[..49].to_vec();
    compressed[0] = 2;
    assert_eq!(
        PublicKey::from_point(Curve::P384, &compressed),
        Err(PublicKeyError::Unsupported)
    );
    // A P-384 point under the name of P-256.
    assert_eq!(
        PublicKey::from_point(Curve::P256, key.point()),
        Err(PublicKeyError::Unsupported)
    );
    // The point at infinity.
    let zero = [&[4][..], &[0; 96]].concat();
    assert_eq!(
        PublicKey::from_point(Curve::P384, &zero),
        Err(PublicKeyError::NotOnCurve)
    );
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), tail in prop::collection::vec(any::<u8>(), 97)) {
        let _ = PublicKey::from_spki_der(&bytes);
        let _ = PublicKey::from_spki_der(&[Curve::P384.spki_head(), &tail].concat());
    }
}
