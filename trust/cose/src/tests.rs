use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable};
use proptest::prelude::*;

use super::*;
use crate::test_key::TestKey;

const KIND: MessageType = MessageType::MeasurementRequest;

fn key() -> TestKey {
    TestKey::generate()
}

fn refused(bytes: &[u8]) -> CoseError {
    Unverified::parse(bytes, KIND).unwrap_err()
}

/// Builds a message by another implementation, to differ from our shape in one thing at a time.
fn foreign(
    key: &TestKey,
    change: impl FnOnce(HeaderBuilder) -> HeaderBuilder,
    finish: impl FnOnce(CoseSign1Builder) -> CoseSign1Builder,
) -> CoseSign1 {
    let header = HeaderBuilder::new()
        .algorithm(coset::iana::Algorithm::ES384)
        .value(16, coset::cbor::Value::Text(KIND.media_type().into()));
    finish(
        CoseSign1Builder::new()
            .protected(change(header).build())
            .payload(b"payload".to_vec()),
    )
    .create_signature(&[], |bytes| key.sign(bytes).unwrap())
    .build()
}

#[test]
fn round_trip_with_chains_of_every_length() {
    let key = key();
    for length in 0..=MAX_CHAIN {
        let chain: Vec<Vec<u8>> = (1..=length).map(|size| vec![0x30; size]).collect();
        for kind in [
            KIND,
            MessageType::Report,
            MessageType::LaunchRecord,
            MessageType::RenewalRequest,
            MessageType::Operation,
            MessageType::VaultCounter,
            MessageType::Succession,
            MessageType::FleetCaRotation,
        ] {
            let bytes = sign1(kind, b"payload", &chain, &key).unwrap();
            let message = Unverified::parse(&bytes, kind).unwrap();
            assert_eq!(message.chain(), chain);
            assert_eq!(message.verify(&key.public_key()).unwrap(), b"payload");
        }
    }
}

#[test]
fn types_that_name_their_key_name_it_and_have_no_chain() {
    let key = key();
    let public = key.public_key();
    for kind in [MessageType::PolicyYaml, MessageType::PolicyJson] {
        let bytes = sign1_by_named_key(kind, b"payload", &public, &key).unwrap();
        let message = Unverified::parse(&bytes, kind).unwrap();
        assert_eq!(message.key_sha256(), Some(&public.sha256()));
        assert!(message.chain().is_empty());
        assert_eq!(message.verify(&public).unwrap(), b"payload");
        let read = CoseSign1::from_tagged_slice(&bytes).unwrap();
        assert_eq!(read.protected.header.key_id, public.sha256());
        let unnamed = sign1(kind, b"payload", &[], &key).unwrap_err();
        assert_eq!(unnamed, SignError::Signer(kind.media_type()));
    }
    let named = sign1_by_named_key(KIND, b"payload", &public, &key).unwrap_err();
    assert_eq!(named, SignError::Signer(KIND.media_type()));
    // The key's name in a message whose type has none, and one of another length.
    let bytes = foreign(&key, |h| h.key_id(vec![0; 32]), |b| b);
    assert!(matches!(
        refused(&bytes.to_tagged_vec().unwrap()),
        CoseError::Header
    ));
    for length in [0, 31, 33] {
        let kind = MessageType::PolicyYaml;
        let header = HeaderBuilder::new()
            .algorithm(coset::iana::Algorithm::ES384)
            .key_id(vec![0; length])
            .value(16, coset::cbor::Value::Text(kind.media_type().into()));
        let message = CoseSign1Builder::new()
            .protected(header.build())
            .payload(b"payload".to_vec())
            .create_signature(&[], |bytes| key.sign(bytes).unwrap())
            .build();
        let refused = Unverified::parse(&message.to_tagged_vec().unwrap(), kind).unwrap_err();
        // An empty one is left out by the other implementation.
        assert!(matches!(
            refused,
            CoseError::KeyId(31 | 33) | CoseError::Header
        ));
    }
}

#[test]
fn another_implementation_reads_what_we_write() {
    let key = key();
    let bytes = sign1(KIND, b"payload", &[vec![1], vec![2]], &key).unwrap();
    let message = CoseSign1::from_tagged_slice(&bytes).unwrap();
    message
        .verify_signature(&[], |signature, signed| {
            key.public_key().verify(signed, signature)
        })
        .unwrap();
    assert_eq!(message.payload.as_deref(), Some(&b"payload"[..]));
}

#[test]
fn we_read_what_another_implementation_writes() {
    let key = key();
    let bytes = foreign(&key, |h| h, |b| b).to_tagged_vec().unwrap();
    let message = Unverified::parse(&bytes, KIND).unwrap();
    assert_eq!(message.verify(&key.public_key()).unwrap(), b"payload");
}

/// RFC 9052 appendix C.2.1: a message outside our profile (ES256, unprotected `kid`), whose
/// signature over `Sig_structure` verifies nevertheless.
#[test]
fn sig_structure_is_that_of_the_rfc() {
    let message = hex::decode(
        "d28443a10126a10442313154546869732069732074686520636f6e74656e742e58408eb33e4ca31d1c465ab05aac\
         34cc6b23d58fef5c083106c4d25a91aef0b0117e2af9a291aa32e14ab834dc56ed2a223444547e01f11d3b0916e5\
         a4c345cacb36",
    )
    .unwrap();
    let point = hex::decode(
        "04bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff\
         20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e",
    )
    .unwrap();
    let key = PublicKey::from_point(Curve::P256, &point).unwrap();
    let signed = wire::to_be_signed(&[0xa1, 0x01, 0x26], b"This is the content.");
    key.verify(&signed, &message[message.len() - 64..]).unwrap();
    assert!(matches!(refused(&message), CoseError::Unprotected));
}

#[test]
fn one_type_does_not_pass_for_another() {
    let bytes = sign1(MessageType::Report, b"payload", &[], &key()).unwrap();
    assert!(matches!(refused(&bytes), CoseError::WrongType { .. }));
}

#[test]
fn another_key_is_refused() {
    let bytes = sign1(KIND, b"payload", &[], &key()).unwrap();
    let message = Unverified::parse(&bytes, KIND).unwrap();
    assert!(matches!(
        message.verify(&key().public_key()),
        Err(CoseError::BadSignature(_))
    ));
}

#[test]
fn a_key_of_another_curve_is_refused() {
    let pkcs8 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let p256 = PublicKey::from_point(Curve::P256, pkcs8.public_key().as_ref()).unwrap();
    let bytes = sign1(KIND, b"payload", &[], &key()).unwrap();
    let message = Unverified::parse(&bytes, KIND).unwrap();
    assert!(matches!(message.verify(&p256), Err(CoseError::WrongCurve)));
}

#[test]
fn every_other_shape_is_refused() {
    let key = key();
    let untagged = foreign(&key, |h| h, |b| b).to_vec().unwrap();
    assert!(matches!(refused(&untagged), CoseError::Malformed(_)));

    let unprotected = foreign(
        &key,
        |h| h,
        |b| b.unprotected(HeaderBuilder::new().key_id(vec![1]).build()),
    );
    assert!(matches!(
        refused(&unprotected.to_tagged_vec().unwrap()),
        CoseError::Unprotected
    ));

    let unknown = foreign(
        &key,
        |h| h.value(100, coset::cbor::Value::Bool(true)),
        |b| b,
    );
    assert!(matches!(
        refused(&unknown.to_tagged_vec().unwrap()),
        CoseError::Header
    ));

    let critical = foreign(
        &key,
        |h| h.add_critical(coset::iana::HeaderParameter::Alg),
        |b| b,
    );
    assert!(matches!(
        refused(&critical.to_tagged_vec().unwrap()),
        CoseError::Header
    ));

    let other_algorithm = foreign(&key, |h| h.algorithm(coset::iana::Algorithm::ES256), |b| b);
    let refusal = refused(&other_algorithm.to_tagged_vec().unwrap());
    assert!(matches!(refusal, CoseError::Algorithm(-7)));

    let mut detached = foreign(&key, |h| h, |b| b);
    detached.payload = None;
    assert!(matches!(
        refused(&detached.to_tagged_vec().unwrap()),
        CoseError::Malformed(_)
    ));

    let mut short = foreign(&key, |h| h, |b| b);
    short.signature.pop();
    assert!(matches!(
        refused(&short.to_tagged_vec().unwrap()),
        CoseError::SignatureLength(95)
    ));
}

#[test]
fn other_spellings_of_the_same_message_are_refused() {
    let bytes = sign1(KIND, b"payload", &[], &key()).unwrap();
    // Array of indefinite length: 0x84 becomes 0x9f … 0xff.
    let mut indefinite = bytes.clone();
    indefinite[1] = 0x9f;
    indefinite.push(0xff);
    assert!(matches!(refused(&indefinite), CoseError::Malformed(_)));
    // Tag 18 in two bytes instead of one.
    let longer_tag = [&[0xd8, 18], &bytes[1..]].concat();
    assert!(matches!(refused(&longer_tag), CoseError::NotDeterministic));
    // Trailing bytes.
    let trailing = [&bytes[..], &[0]].concat();
    assert!(matches!(refused(&trailing), CoseError::NotDeterministic));
}

#[test]
fn chains_are_bounded_on_both_sides() {
    let key = key();
    let long = vec![vec![0]; MAX_CHAIN + 1];
    assert!(matches!(
        sign1(KIND, b"", &long, &key),
        Err(SignError::Chain { .. })
    ));
    let large = [vec![0; MAX_CERTIFICATE + 1]];
    assert!(matches!(
        sign1(KIND, b"", &large, &key),
        Err(SignError::Chain { .. })
    ));

    let array = |certificates: usize| {
        coset::cbor::Value::Array(vec![coset::cbor::Value::Bytes(vec![0]); certificates])
    };
    // RFC 9360: one certificate is no array; five are too many.
    for certificates in [0, 1, MAX_CHAIN + 1] {
        let message = foreign(&key, |h| h.value(33, array(certificates)), |b| b);
        assert!(matches!(
            refused(&message.to_tagged_vec().unwrap()),
            CoseError::Chain
        ));
    }
}

#[test]
fn size_is_looked_at_first() {
    let key = key();
    let payload = vec![0; KIND.max_len()];
    assert!(matches!(
        sign1(KIND, &payload, &[], &key),
        Err(SignError::TooLarge { .. })
    ));
    assert!(matches!(
        refused(&vec![0xd2; KIND.max_len() + 1]),
        CoseError::TooLarge { .. }
    ));
    // A byte string that announces 2^63 bytes.
    let announced = [0xd2, 0x84, 0x5b, 0x80, 0, 0, 0, 0, 0, 0, 0];
    assert!(matches!(refused(&announced), CoseError::Malformed(_)));
}

#[test]
fn a_signer_of_something_else_is_noticed() {
    struct Short;
    impl Sign for Short {
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SignError> {
            Ok(vec![0; 64])
        }
    }
    assert_eq!(
        sign1(KIND, b"", &[], &Short),
        Err(SignError::SignatureLength(64))
    );
}

#[test]
fn any_flipped_bit_is_refused() {
    let key = key();
    let bytes = sign1(KIND, b"payload", &[vec![0x30, 0x00]], &key).unwrap();
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        let outcome = Unverified::parse(&flipped, KIND).and_then(|m| m.verify(&key.public_key()));
        assert!(outcome.is_err(), "bit {at} went unnoticed");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Unverified::parse(&bytes, KIND);
    }

    /// As above, but far enough along to reach the inner parts.
    #[test]
    fn parsing_a_mangled_message_never_panics(
        at in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        patch in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let protected = wire::protected(KIND, &message::Signer::Chain(vec![vec![1; 20], vec![2; 20]]));
        let mut bytes = wire::message(&protected, &[3; 20], &[4; wire::SIGNATURE]);
        let at = at.index(bytes.len());
        let end = (at + cut.index(12)).min(bytes.len());
        bytes.splice(at..end, patch);
        if let Ok(message) = Unverified::parse(&bytes, KIND) {
            // What is read is what would be written.
            let protected = wire::protected(KIND, &message.signer);
            prop_assert_eq!(wire::message(&protected, &message.payload, &message.signature), bytes);
        }
    }

    #[test]
    fn any_payload_round_trips(payload in prop::collection::vec(any::<u8>(), 0..2000)) {
        let protected = wire::protected(KIND, &message::Signer::Chain(Vec::new()));
        let bytes = wire::message(&protected, &payload, &[4; wire::SIGNATURE]);
        prop_assert_eq!(Unverified::parse(&bytes, KIND).unwrap().payload, payload);
    }
}
