use bartizan_attestation::cose::sign1;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::measurement::{DigestKind, HashAlgorithm, Region, Target};
use proptest::prelude::*;

use super::*;

fn request() -> MeasurementRequest {
    MeasurementRequest {
        version: MeasurementRequest::VERSION,
        verifier_nonce: [1; 32],
        guest_nonce: [2; 32],
        audience: "audience".into(),
        application: "application".into(),
        target: Target::Physical(vec![Region {
            address: 0,
            size: 4096,
        }]),
        algorithm: HashAlgorithm::Sha512,
        kind: DigestKind::Tree,
        expected: None,
        page_digests: false,
    }
}

fn signed(request: &MeasurementRequest) -> Vec<u8> {
    let key = EphemeralKey::generate().unwrap();
    sign1(
        MessageType::MeasurementRequest,
        &request.encode(),
        &[],
        &key,
    )
    .unwrap()
}

#[test]
fn a_signed_request_is_read() {
    assert_eq!(parse(&signed(&request())), Ok(request()));
}

#[test]
fn a_bad_region_keeps_its_own_refusal() {
    let mut request = request();
    request.target = Target::Physical(vec![Region {
        address: 1,
        size: 4096,
    }]);
    let refused = parse(&signed(&request));
    assert_eq!(
        refused,
        Err(Refusal::UnalignedRegion {
            address: 1,
            size: 4096
        })
    );
}

#[test]
fn page_digests_narrow_the_budget() {
    let mut request = request();
    assert_eq!(allowed(&request, u64::MAX), u64::MAX);
    let limit = MeasurementRequest::MAX_BYTES_WITH_PAGE_DIGESTS;
    request.page_digests = true;
    assert_eq!(allowed(&request, u64::MAX), limit);
    let over = Refusal::OverBudget {
        requested: 2,
        allowed: 1,
    };
    assert_eq!((check_size(1, 1), check_size(2, 1)), (Ok(()), Err(over)));
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_changed_byte(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut message = signed(&request());
        *at.get_mut(&mut message) = to;
        let _ = parse(&message);
    }
}
