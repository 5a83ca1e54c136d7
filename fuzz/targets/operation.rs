//! Operators' orders: the input as a whole message, as what an operator signed, and as a line of the log.
#![no_main]

use bartizan_attestation::certificates::{Role, Usage};
use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::operation::log::{Head, Record};
use bartizan_attestation::operation::{Operation, Order, SignedOrder, sign_order};
use bartizan_fuzz::fleet::{FLEET, NOW_S};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(signed) = SignedOrder::verify(data, &FLEET.ca, NOW_S) {
        // The seeds' keys are fixed: only what the operator signed is good.
        assert_eq!(
            signed.order().operation,
            Operation::ListGuests,
            "a forged order"
        );
    }
    let chain = FLEET.chain(Usage::Operator);
    let decoded = Order::decode(data).ok();
    let message = sign1(MessageType::Operation, data, &chain, &FLEET.operator_key);
    let message = message.expect("an input fits into a message");
    let verified = SignedOrder::verify(&message, &FLEET.ca, NOW_S).ok();
    assert_eq!(verified.as_ref().map(SignedOrder::order), decoded.as_ref());
    if let (Some(signed), Some(order)) = (&verified, &decoded) {
        assert_eq!(order.encode(), data, "two encodings of one order");
        assert_eq!(signed.role(), Role::Administrator);
        is_right(signed, order);
        let again = sign_order(order, &chain, &FLEET.operator_key).expect("it is small");
        assert!(SignedOrder::verify(&again, &FLEET.ca, NOW_S).is_ok());
    }
    if let Some(record) = Record::parse(data) {
        assert_eq!(
            record.line().as_deref(),
            Some(data),
            "two spellings of one record"
        );
        let mut head = Head::empty();
        assert_eq!(head.follow(data).is_ok(), record.index == 0);
    }
});

/// What is authorised is for this host, now, and not for long.
fn is_right(signed: &SignedOrder, order: &Order) {
    assert!((16..=32).contains(&order.nonce.len()) && order.version == Order::VERSION);
    let arguments = order.operation.arguments();
    assert!(arguments.values().all(|value| value.len() <= 64));
    let Ok(authorised) = signed.authorise(FLEET.guest.card, NOW_S) else {
        return;
    };
    assert_eq!(authorised.signed().order().host, FLEET.guest.card);
    assert!(order.issued_at <= NOW_S + Order::MAX_SKEW_S && order.expires_at > NOW_S);
    assert!(order.expires_at - order.issued_at <= Order::MAX_LIFETIME_S);
    if order.host == FLEET.guest.card {
        assert!(
            signed
                .authorise(FLEET.guest.card, order.expires_at)
                .is_err()
        );
    }
}
