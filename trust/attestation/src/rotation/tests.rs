use proptest::prelude::*;

use super::*;
use crate::certificates::tests::fleet::{Fleet, NOT_AFTER, NOW};
use crate::certificates::tests::lineage::Line;
use crate::csr::EphemeralKey;

fn order(ca: &FleetCa) -> RotationOrder {
    RotationOrder {
        version: RotationOrder::VERSION,
        fleet_ca: ca.sha256(),
        expires_at: NOW + 120,
    }
}

/// An operator's key and chain, of a fleet and with a role.
fn operator(fleet: &Fleet, role: Role) -> (EphemeralKey, Vec<Vec<u8>>) {
    let key = EphemeralKey::generate().unwrap();
    let uri = Subject::operator("alice", role).unwrap().uri().unwrap();
    let chain = fleet.issue(Usage::Operator, &key, |params| {
        params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
    });
    (key, chain)
}

fn signed(fleet: &Fleet, role: Role, order: &RotationOrder) -> Vec<u8> {
    let (key, chain) = operator(fleet, role);
    sign_rotation(order, &chain, &key).unwrap()
}

#[test]
fn an_administrators_order_is_taken() {
    let fleet = Fleet::new();
    let ca = fleet.anchor();
    let signed = signed(&fleet, Role::Administrator, &order(&ca));
    let taken = AuthorisedRotation::verify(&signed, &ca, NOW).unwrap();
    assert_eq!(taken.operator(), "alice");
}

#[test]
fn lesser_roles_and_strangers_are_refused() {
    let fleet = Fleet::new();
    let ca = fleet.anchor();
    for role in [Role::Observer, Role::Runner] {
        let signed = signed(&fleet, role, &order(&ca));
        let refused = AuthorisedRotation::verify(&signed, &ca, NOW).unwrap_err();
        assert!(matches!(refused, RotationRefusal::Role { .. }), "{refused}");
    }
    let signed = signed(&Fleet::new(), Role::Administrator, &order(&ca));
    let refused = AuthorisedRotation::verify(&signed, &ca, NOW).unwrap_err();
    assert!(matches!(refused, RotationRefusal::Signer(_)), "{refused}");
    // A host's certificate is no operator's.
    let key = EphemeralKey::generate().unwrap();
    let chain = fleet.issue(Usage::TlsClient, &key, |_| ());
    let signed = sign_rotation(&order(&ca), &chain, &key).unwrap();
    let refused = AuthorisedRotation::verify(&signed, &ca, NOW).unwrap_err();
    assert!(matches!(refused, RotationRefusal::Signer(_)), "{refused}");
}

#[test]
fn an_operator_whose_certificate_has_ended_orders_nothing() {
    let fleet = Fleet::new();
    let ca = fleet.anchor();
    let late = NOT_AFTER + 1;
    let order = RotationOrder {
        expires_at: late + 60,
        ..order(&ca)
    };
    let signed = signed(&fleet, Role::Administrator, &order);
    let refused = AuthorisedRotation::verify(&signed, &ca, late).unwrap_err();
    assert!(matches!(refused, RotationRefusal::Signer(_)), "{refused}");
}

/// The one that it replaced is not the present one any more. Operators of the former one go on, and order no other.
#[test]
fn an_order_is_good_for_one_rotation() {
    let line = Line::new(2);
    let [old, new] = [&line.fleets[0], &line.fleets[1]];
    let present = new.anchor().with_lineage(&line.lineage).unwrap();
    let again = signed(old, Role::Administrator, &order(&old.anchor()));
    let refused = AuthorisedRotation::verify(&again, &present, NOW).unwrap_err();
    assert!(
        matches!(refused, RotationRefusal::OtherCa { .. }),
        "{refused}"
    );
    let next = signed(old, Role::Administrator, &order(&present));
    let stolen = AuthorisedRotation::verify(&next, &present, NOW).unwrap_err();
    let operator = "alice".to_owned();
    assert_eq!(stolen, RotationRefusal::FormerCa { operator });
    let anew = signed(new, Role::Administrator, &order(&present));
    assert!(AuthorisedRotation::verify(&anew, &present, NOW).is_ok());
    let unlinked = AuthorisedRotation::verify(&next, &new.anchor(), NOW).unwrap_err();
    assert!(matches!(unlinked, RotationRefusal::Signer(_)), "{unlinked}");
}

#[test]
fn an_order_is_good_for_ten_minutes() {
    let fleet = Fleet::new();
    let ca = fleet.anchor();
    let at = |expires_at| {
        let order = RotationOrder {
            expires_at,
            ..order(&ca)
        };
        let signed = signed(&fleet, Role::Administrator, &order);
        AuthorisedRotation::verify(&signed, &ca, NOW)
    };
    assert!(at(NOW + 1).is_ok());
    assert!(at(NOW + RotationOrder::MAX_LIFETIME_S).is_ok());
    for expires_at in [0, NOW - 1, NOW] {
        let now_s = NOW;
        assert_eq!(
            at(expires_at),
            Err(RotationRefusal::Expired { expires_at, now_s })
        );
    }
    for ahead_s in [RotationOrder::MAX_LIFETIME_S + 1, u64::MAX - NOW] {
        assert_eq!(
            at(NOW + ahead_s),
            Err(RotationRefusal::Lifetime { ahead_s })
        );
    }
}

#[test]
fn only_an_order_of_this_kind_and_version_is_one() {
    let fleet = Fleet::new();
    let ca = fleet.anchor();
    let (key, chain) = operator(&fleet, Role::Administrator);
    let payload = order(&ca).encode();
    let other = sign1(MessageType::Operation, &payload, &chain, &key).unwrap();
    let later = RotationOrder {
        version: 2,
        ..order(&ca)
    };
    let later = sign_rotation(&later, &chain, &key).unwrap();
    let nothing = sign1(MessageType::FleetCaRotation, b"", &chain, &key).unwrap();
    for signed in [other, later, nothing, Vec::new()] {
        let refused = AuthorisedRotation::verify(&signed, &ca, NOW).unwrap_err();
        assert!(
            matches!(refused, RotationRefusal::Malformed(_)),
            "{refused}"
        );
    }
    // Somebody else's chain under it.
    let (_, anothers) = operator(&fleet, Role::Administrator);
    let forged = sign_rotation(&order(&ca), &anothers, &key).unwrap();
    let refused = AuthorisedRotation::verify(&forged, &ca, NOW).unwrap_err();
    assert!(
        matches!(refused, RotationRefusal::Signature(_)),
        "{refused}"
    );
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = RotationOrder::decode(&bytes);
    }

    #[test]
    fn an_order_has_one_encoding(fleet_ca in any::<[u8; 32]>(), expires_at in any::<u64>()) {
        let order = RotationOrder { version: 1, fleet_ca, expires_at };
        prop_assert_eq!(RotationOrder::decode(&order.encode()).unwrap(), order);
    }
}
