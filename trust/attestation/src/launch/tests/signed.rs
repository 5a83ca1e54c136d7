use crate::certificates::tests::fleet::{Fleet, NOT_AFTER, NOW, key};
use crate::certificates::tests::lineage::Line;
use crate::certificates::{ChainError, Usage};
use crate::cose::{CoseError, MessageType, sign1};
use crate::csr::EphemeralKey;
use crate::launch::{LaunchRecordError, sign_record, verify_record};

/// A fleet, an operator of it, and a record that pins the fleet's CA.
struct Scene {
    fleet: Fleet,
    key: EphemeralKey,
    chain: Vec<Vec<u8>>,
    yaml: String,
}

fn scene() -> Scene {
    let (fleet, key) = (Fleet::new(), key());
    let chain = fleet.issue(Usage::Operator, &key, |_| ());
    let anchor = hex::encode(fleet.anchor().sha256());
    let yaml = super::RECORD.replace(&"d".repeat(64), &anchor);
    Scene {
        fleet,
        key,
        chain,
        yaml,
    }
}

impl Scene {
    fn refusal(&self, signed: &[u8], at: u64) -> LaunchRecordError {
        verify_record(signed, &self.fleet.anchor(), at).unwrap_err()
    }
}

#[test]
fn a_signed_record_is_verified_and_kept_verbatim() {
    let scene = scene();
    let signed = sign_record(&scene.yaml, &scene.chain, &scene.key).unwrap();
    let verified = verify_record(&signed, &scene.fleet.anchor(), NOW).unwrap();
    assert_eq!(verified.yaml, scene.yaml);
    assert_eq!(verified.operator, "alice");
    assert_eq!(verified.record.name, "web-1");
}

/// The fleet CA was replaced: operators and anchors of either CA count, from wherever it is looked.
#[test]
fn a_record_may_pin_any_ca_of_the_fleets_line() {
    let line = Line::new(3);
    let pinned = line.fleets[1].anchor();
    let linked = pinned.with_lineage(&line.lineage).unwrap();
    for signer in &line.fleets {
        let key = key();
        let chain = signer.issue(Usage::Operator, &key, |_| ());
        for named in &line.fleets {
            let anchor = hex::encode(named.anchor().sha256());
            let yaml = super::RECORD.replace(&"d".repeat(64), &anchor);
            let signed = sign_record(&yaml, &chain, &key).unwrap();
            assert!(verify_record(&signed, &linked, NOW).is_ok());
        }
        let stranger = hex::encode(Fleet::new().anchor().sha256());
        let yaml = super::RECORD.replace(&"d".repeat(64), &stranger);
        let signed = sign_record(&yaml, &chain, &key).unwrap();
        let refused = verify_record(&signed, &linked, NOW).unwrap_err();
        assert!(matches!(refused, LaunchRecordError::ForeignAnchor { .. }));
    }
}

#[test]
fn a_wrong_record_is_not_signed() {
    let scene = scene();
    let outcome = sign_record("version: 1", &scene.chain, &scene.key);
    assert!(matches!(outcome, Err(LaunchRecordError::Yaml { .. })));
}

#[test]
fn only_this_fleets_operators_count() {
    let scene = scene();
    // No chain at all.
    let unsigned = sign_record(&scene.yaml, &[], &scene.key).unwrap();
    let refusal = scene.refusal(&unsigned, NOW);
    assert!(matches!(
        refusal,
        LaunchRecordError::Chain(ChainError::Length { .. })
    ));
    // The operator's chain over another key's signature.
    let stolen = sign_record(&scene.yaml, &scene.chain, &key()).unwrap();
    let refusal = scene.refusal(&stolen, NOW);
    assert!(matches!(
        refusal,
        LaunchRecordError::Cose(CoseError::BadSignature(_))
    ));
    // Another fleet's operator.
    let (other, other_key) = (Fleet::new(), key());
    let chain = other.issue(Usage::Operator, &other_key, |_| ());
    let foreign = sign_record(&scene.yaml, &chain, &other_key).unwrap();
    let refusal = scene.refusal(&foreign, NOW);
    assert!(matches!(
        refusal,
        LaunchRecordError::Chain(ChainError::ForeignCa)
    ));
    // A key of this fleet that is no operator's.
    let guest_key = key();
    let chain = scene.fleet.issue(Usage::GuestKey, &guest_key, |_| ());
    let by_guest = sign_record(&scene.yaml, &chain, &guest_key).unwrap();
    assert!(matches!(
        scene.refusal(&by_guest, NOW),
        LaunchRecordError::Chain(_)
    ));
    // An operator whose certificate has ended.
    let signed = sign_record(&scene.yaml, &scene.chain, &scene.key).unwrap();
    let refusal = scene.refusal(&signed, NOT_AFTER + 1);
    assert!(matches!(
        refusal,
        LaunchRecordError::Chain(ChainError::Expired)
    ));
}

#[test]
fn a_record_that_pins_another_ca_is_refused() {
    let scene = scene();
    let signed = sign_record(super::RECORD, &scene.chain, &scene.key).unwrap();
    assert!(matches!(
        scene.refusal(&signed, NOW),
        LaunchRecordError::ForeignAnchor { .. }
    ));
}

#[test]
fn another_message_of_the_operator_is_no_record() {
    let scene = scene();
    let yaml = scene.yaml.as_bytes();
    let report = sign1(MessageType::Report, yaml, &scene.chain, &scene.key).unwrap();
    let refusal = scene.refusal(&report, NOW);
    assert!(matches!(
        refusal,
        LaunchRecordError::Cose(CoseError::WrongType { .. })
    ));
    let kind = MessageType::LaunchRecord;
    let binary = sign1(kind, &[0xff, 0xfe], &scene.chain, &scene.key).unwrap();
    assert!(matches!(
        scene.refusal(&binary, NOW),
        LaunchRecordError::NotText
    ));
}

#[test]
fn a_changed_character_is_refused() {
    let scene = scene();
    let mut signed = sign_record(&scene.yaml, &scene.chain, &scene.key).unwrap();
    let at = signed
        .windows(7)
        .position(|bytes| bytes == b"cpus: 2")
        .unwrap();
    signed[at + 6] = b'3';
    let refusal = scene.refusal(&signed, NOW);
    assert!(matches!(
        refusal,
        LaunchRecordError::Cose(CoseError::BadSignature(_))
    ));
}
