//! Orders to replace the fleet CA: the input as a whole message, and as what an administrator signed.
#![no_main]

use bartizan_attestation::certificates::Usage;
use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::rotation::{AuthorisedRotation, RotationOrder};
use bartizan_fuzz::fleet::{FLEET, NOW_S};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The certificate of the fleet's CA differs from run to run: no order of another run's is for it.
    let refused = AuthorisedRotation::verify(data, &FLEET.ca, NOW_S).is_err();
    assert!(refused, "a forged order");
    let chain = FLEET.chain(Usage::Operator);
    let kind = MessageType::FleetCaRotation;
    let message = sign1(kind, data, &chain, &FLEET.operator_key);
    let message = message.expect("an input fits into a message");
    let refused = AuthorisedRotation::verify(&message, &FLEET.ca, NOW_S).is_err();
    let Ok(mut order) = RotationOrder::decode(data) else {
        assert!(refused, "an order in another encoding");
        return;
    };
    assert_eq!(order.encode(), data, "two encodings of one order");
    // It is the present CA's in this run alone.
    order.fleet_ca = FLEET.ca.sha256();
    let message = sign1(kind, &order.encode(), &chain, &FLEET.operator_key);
    let taken = AuthorisedRotation::verify(&message.expect("it is small"), &FLEET.ca, NOW_S);
    let ahead_s = order.expires_at.checked_sub(NOW_S);
    let in_time = matches!(ahead_s, Some(1..=RotationOrder::MAX_LIFETIME_S));
    let right = order.version == RotationOrder::VERSION && in_time;
    assert_eq!(taken.is_ok(), right, "{order:?}");
});
