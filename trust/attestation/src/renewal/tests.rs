use proptest::prelude::*;

use super::*;
use crate::certificates::Usage;
use crate::certificates::tests::fleet::{Fleet, NOT_AFTER, NOW, key};
use crate::cose::sign1;
use crate::csr::EphemeralKey;
use crate::keys::Chain;

const NOW_MS: u64 = NOW * 1000;

struct Scene {
    fleet: Fleet,
    key: EphemeralKey,
    enrollment: Enrollment,
}

fn scene() -> Scene {
    let (fleet, key) = (Fleet::new(), key());
    let enrollment = Enrollment::new(certified(&fleet, &key));
    Scene {
        fleet,
        key,
        enrollment,
    }
}

fn certified(fleet: &Fleet, key: &EphemeralKey) -> Chain {
    let chain = fleet.issue(Usage::GuestKey, key, |_| ());
    chain.into_iter().map(Into::into).collect()
}

fn ask(enrollment: &Enrollment, signer: &EphemeralKey, new: &EphemeralKey) -> Vec<u8> {
    let request = RenewalRequest::new(&enrollment.chain[0], new.csr().unwrap());
    sign(&request.encode(), signer)
}

fn sign(payload: &[u8], signer: &EphemeralKey) -> Vec<u8> {
    sign1(MessageType::RenewalRequest, payload, &[], signer).unwrap()
}

impl Scene {
    /// Renews to `new` at `now_ms`; answers the request.
    fn renew(&mut self, new: EphemeralKey, now_ms: u64) -> Vec<u8> {
        let request = ask(&self.enrollment, &self.key, &new);
        let due = judge(&request, &self.enrollment, now_ms).unwrap();
        assert!(matches!(due, Renewal::Due { key, .. } if key == new.public_key()));
        let chain = certified(&self.fleet, &new);
        self.enrollment = self.enrollment.renewed(chain, now_ms);
        self.key = new;
        request
    }

    fn refused(&self, request: &[u8], now_ms: u64) -> RenewalRefusal {
        judge(request, &self.enrollment, now_ms).unwrap_err()
    }
}

#[test]
fn enrolled_key_renews_itself_and_the_lost_answer_is_told_again() {
    let mut scene = scene();
    let first = scene.renew(key(), NOW_MS);
    for now_ms in [NOW_MS, NOW_MS + 10 * OVERLAP_MS] {
        assert_eq!(
            judge(&first, &scene.enrollment, now_ms),
            Ok(Renewal::Done),
            "what was done is done"
        );
    }
    scene.renew(key(), NOW_MS + OVERLAP_MS);
}

#[test]
fn replayed_request_brings_no_old_key_back() {
    let mut scene = scene();
    let first = scene.renew(key(), NOW_MS);
    let second = scene.renew(key(), NOW_MS + OVERLAP_MS);
    let later = NOW_MS + 9 * OVERLAP_MS;
    assert_eq!(scene.refused(&first, later), RenewalRefusal::WrongSigner);
    assert_eq!(judge(&second, &scene.enrollment, later), Ok(Renewal::Done));
    // A key that comes back by its owner's wish has another certificate: its old requests are void.
    let mut scene = self::scene();
    let first_key = EphemeralKey::from_pkcs8_der(scene.key.pkcs8_der()).unwrap();
    let to_second = scene.renew(key(), NOW_MS);
    scene.renew(key(), NOW_MS + OVERLAP_MS);
    scene.renew(first_key, NOW_MS + 2 * OVERLAP_MS);
    assert_eq!(scene.refused(&to_second, later), RenewalRefusal::Superseded);
}

#[test]
fn of_two_renewals_from_one_key_one_wins() {
    let mut scene = scene();
    let loser = ask(&scene.enrollment, &scene.key, &key());
    scene.renew(key(), NOW_MS);
    assert_eq!(scene.refused(&loser, NOW_MS), RenewalRefusal::Superseded);
}

#[test]
fn one_renewal_an_overlap() {
    let mut scene = scene();
    scene.renew(key(), NOW_MS);
    let next = ask(&scene.enrollment, &scene.key, &key());
    assert_eq!(
        scene.refused(&next, NOW_MS + 1),
        RenewalRefusal::Busy {
            retry_after_ms: OVERLAP_MS - 1
        }
    );
    assert!(judge(&next, &scene.enrollment, NOW_MS + OVERLAP_MS).is_ok());
}

#[test]
fn other_keys_and_stale_ones_renew_nothing() {
    let mut scene = scene();
    let by_stranger = ask(&scene.enrollment, &key(), &key());
    assert_eq!(
        scene.refused(&by_stranger, NOW_MS),
        RenewalRefusal::WrongSigner
    );
    let expired = ask(&scene.enrollment, &scene.key, &key());
    assert!(judge(&expired, &scene.enrollment, NOT_AFTER * 1000).is_ok());
    assert_eq!(
        scene.refused(&expired, (NOT_AFTER + 1) * 1000),
        RenewalRefusal::Expired
    );
    let same = ask(&scene.enrollment, &scene.key, &scene.key);
    assert_eq!(scene.refused(&same, NOW_MS), RenewalRefusal::KeyNotFresh);
    let former = EphemeralKey::from_pkcs8_der(scene.key.pkcs8_der()).unwrap();
    scene.renew(key(), NOW_MS);
    let back = ask(&scene.enrollment, &scene.key, &former);
    let later = NOW_MS + OVERLAP_MS;
    assert_eq!(scene.refused(&back, later), RenewalRefusal::KeyNotFresh);
    let by_former = ask(&scene.enrollment, &former, &key());
    assert_eq!(
        scene.refused(&by_former, NOW_MS),
        RenewalRefusal::Superseded
    );
}

#[test]
fn malformed_requests_are_refused() {
    let scene = scene();
    let right = RenewalRequest::new(&scene.enrollment.chain[0], key().csr().unwrap());
    let refused =
        |request: &RenewalRequest| scene.refused(&sign(&request.encode(), &scene.key), NOW_MS);
    let other = RenewalRequest {
        version: 2,
        ..right.clone()
    };
    assert_eq!(refused(&other), RenewalRefusal::Version(2));
    let no_csr = RenewalRequest {
        csr: vec![0x30, 0],
        ..right.clone()
    };
    assert!(matches!(refused(&no_csr), RenewalRefusal::Csr(_)));
    let elsewhere = RenewalRequest {
        replaces: [0; 32],
        ..right.clone()
    };
    assert_eq!(refused(&elsewhere), RenewalRefusal::Superseded);
    let large = RenewalRequest {
        csr: vec![0; RenewalRequest::MAX_LEN],
        ..right.clone()
    };
    assert!(matches!(refused(&large), RenewalRefusal::TooLarge { .. }));
    let kind = MessageType::MeasurementRequest;
    let measurement = sign1(kind, &right.encode(), &[], &scene.key).unwrap();
    assert!(matches!(
        scene.refused(&measurement, NOW_MS),
        RenewalRefusal::Malformed(_)
    ));
    let enrollment = Enrollment::new(vec![vec![1].into()]);
    assert_eq!(
        judge(&sign(&right.encode(), &scene.key), &enrollment, NOW_MS),
        Err(RenewalRefusal::EnrolledUnreadable)
    );
}

proptest! {
    #[test]
    fn requests_have_one_encoding(replaces: [u8; 32], csr in proptest::collection::vec(any::<u8>(), 0..600)) {
        let request = RenewalRequest { version: 1, replaces, csr };
        let bytes = request.encode();
        prop_assert_eq!(RenewalRequest::decode(&bytes), Ok(request));
        let mut longer = bytes;
        longer.push(0);
        prop_assert!(RenewalRequest::decode(&longer).is_err());
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes: Vec<u8>) {
        if let Ok(request) = RenewalRequest::decode(&bytes) {
            prop_assert_eq!(request.encode(), bytes.clone());
        }
        let enrollment = Enrollment::new(vec![bytes.clone().into()]);
        prop_assert!(judge(&bytes, &enrollment, NOW_MS).is_err());
    }
}
