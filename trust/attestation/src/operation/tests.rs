use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::certificates::tests::fleet::{Fleet, NOT_AFTER, NOW, key, params, signed};
use crate::certificates::{Subject, Usage};
use crate::cose::{MessageType, sign1};
use crate::csr::EphemeralKey;
use crate::identity::CardId;
use crate::launch::sign_record;

const HOST: CardId = CardId([7; 32]);

const FLOWS: FlowFilter = FlowFilter {
    protocol: Some(6),
    network: Some(Network {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)),
        prefix: 24,
    }),
    ports: Some((80, 443)),
};

const LIMITS: CaptureLimits = CaptureLimits {
    packets: 1,
    bytes: 2,
    snap: 3,
    seconds: 4,
};

struct Scene {
    fleet: Fleet,
    key: EphemeralKey,
    chain: Vec<Vec<u8>>,
}

fn scene(role: Role) -> Scene {
    let (fleet, key) = (Fleet::new(), key());
    let subject = Subject::operator("alice", role).unwrap();
    let chain = vec![signed(&params(Usage::Operator, &subject), &key, &fleet.ca)];
    Scene { fleet, key, chain }
}

fn order(operation: Operation) -> Order {
    Order {
        version: Order::VERSION,
        host: HOST,
        operation,
        nonce: vec![9; 16].into(),
        issued_at: NOW,
        expires_at: NOW + 60,
    }
}

fn each() -> Vec<Operation> {
    let vm = || "web".to_owned();
    vec![
        Operation::RunGuest { record: vec![1; 9] },
        Operation::ListGuests,
        Operation::ShowGuest { vm: vm() },
        Operation::StopGuest {
            vm: vm(),
            force: true,
        },
        Operation::ReadConsole { vm: vm(), max: 9 },
        Operation::RotateKeys {
            key: RotatableKey::TlsClient,
        },
        Operation::ReadLog { from: 1, most: 2 },
        Operation::ShowBoot,
        Operation::ListKeys,
        Operation::KeyHistory,
        Operation::RotateReportKey { vm: vm() },
        Operation::AttestHost,
        Operation::RenewCertificate,
        Operation::ResetEnclaveState,
        Operation::ShowEnclave,
        Operation::ListFlows {
            vm: vm(),
            filter: FLOWS,
        },
        Operation::WatchFlows {
            vm: vm(),
            filter: FLOWS,
            seconds: 60,
        },
        Operation::CaptureFlows {
            vm: vm(),
            filter: FLOWS,
            limits: LIMITS,
        },
    ]
}

impl Scene {
    fn sign(&self, order: &Order) -> Vec<u8> {
        sign_order(order, &self.chain, &self.key).unwrap()
    }

    fn verify(&self, signed: &[u8]) -> Result<SignedOrder, OperationRefusal> {
        SignedOrder::verify(signed, &self.fleet.anchor(), NOW)
    }

    fn refusal(&self, order: &Order) -> OperationRefusal {
        let signed = self.verify(&self.sign(order)).unwrap();
        signed.authorise(HOST, NOW).unwrap_err()
    }
}

#[test]
fn each_operation_is_authorised_by_its_role_and_those_above_it() {
    for role in Role::ALL {
        let scene = scene(role);
        for operation in each() {
            let order = order(operation.clone());
            let signed = scene.verify(&scene.sign(&order)).unwrap();
            assert_eq!((signed.operator(), signed.role()), ("alice", role));
            assert_eq!(signed.order(), &order);
            let authorised = signed.authorise(HOST, NOW);
            let allowed = authorised.is_ok();
            assert_eq!(
                allowed,
                role >= operation.least_role(),
                "{role} {operation:?}"
            );
            if let Err(refusal) = authorised {
                assert_eq!(refusal.word(), "role");
            }
        }
    }
}

#[test]
fn whoever_looks_changes_nothing() {
    let of = |role| {
        let allowed = each().into_iter().filter(|one| one.least_role() <= role);
        allowed.map(|one| one.name()).collect::<Vec<_>>()
    };
    assert_eq!(
        of(Role::Observer),
        [
            "list-guests",
            "show-guest",
            "read-log",
            "show-boot",
            "list-keys",
            "key-history",
            "show-enclave",
            "list-flows",
            "watch-flows"
        ]
    );
    for changes in [
        "rotate-keys",
        "rotate-report-key",
        "renew-certificate",
        "reset-enclave-state",
        // It changes nothing, and is what others say to a guest.
        "capture-flows",
    ] {
        assert!(!of(Role::Runner).contains(&changes));
    }
    assert!(of(Role::Runner).contains(&"attest-host"));
    assert_eq!(of(Role::Administrator).len(), each().len());
}

#[test]
fn an_order_is_for_one_host_and_one_window() {
    let scene = scene(Role::Administrator);
    let right = order(Operation::ListGuests);
    let word = |change: fn(&mut Order)| {
        let mut order = right.clone();
        change(&mut order);
        scene.refusal(&order).word()
    };
    assert_eq!(word(|order| order.host = CardId([8; 32])), "other-host");
    assert_eq!(word(|order| order.expires_at = NOW + 601), "lifetime");
    assert_eq!(word(|order| order.expires_at = NOW), "lifetime");
    assert_eq!(word(|order| order.expires_at = 0), "lifetime");
    assert_eq!(
        word(|order| (order.issued_at, order.expires_at) = (NOW + 61, NOW + 99)),
        "not-yet-valid"
    );
    assert_eq!(
        word(|order| (order.issued_at, order.expires_at) = (NOW - 600, NOW)),
        "expired"
    );
    assert_eq!(
        word(|order| (order.issued_at, order.expires_at) = (u64::MAX, u64::MAX)),
        "not-yet-valid"
    );
    let edges = [(NOW + 60, NOW + 660), (NOW - 599, NOW + 1)];
    for (issued_at, expires_at) in edges {
        let order = Order {
            issued_at,
            expires_at,
            ..right.clone()
        };
        let signed = scene.verify(&scene.sign(&order)).unwrap();
        assert!(signed.authorise(HOST, NOW).is_ok());
    }
}

#[test]
fn only_operators_of_this_fleet_give_orders() {
    let scene = scene(Role::Administrator);
    let order = order(Operation::ListGuests);
    let word = |signed: &[u8], at| {
        let verified = SignedOrder::verify(signed, &scene.fleet.anchor(), at);
        verified.unwrap_err().word()
    };
    let other = self::scene(Role::Administrator);
    assert_eq!(word(&other.sign(&order), NOW), "signer");
    assert_eq!(word(&scene.sign(&order), NOT_AFTER + 1), "signer");
    // Another's key under this chain.
    let stolen = sign_order(&order, &scene.chain, &other.key).unwrap();
    assert_eq!(word(&stolen, NOW), "signature");
    let unsigned = sign_order(&order, &[], &scene.key).unwrap();
    assert_eq!(word(&unsigned, NOW), "signer");
    for usage in [Usage::GuestKey, Usage::TlsClient, Usage::Card] {
        let key = key();
        let chain = scene.fleet.issue(usage, &key, |_| ());
        let signed = sign_order(&order, &chain, &key).unwrap();
        assert_eq!(word(&signed, NOW), "signer");
    }
    for bytes in [&b""[..], b"x", &order.encode()] {
        assert_eq!(word(bytes, NOW), "malformed");
    }
}

#[test]
fn another_message_of_the_operator_is_no_order() {
    let scene = scene(Role::Administrator);
    let payload = order(Operation::ListGuests).encode();
    for kind in [
        MessageType::LaunchRecord,
        MessageType::Report,
        MessageType::MeasurementRequest,
        MessageType::RenewalRequest,
    ] {
        let signed = sign1(kind, &payload, &scene.chain, &scene.key);
        let Ok(signed) = signed else { continue };
        assert_eq!(scene.verify(&signed).unwrap_err().word(), "malformed");
    }
    let huge = vec![0; MessageType::Operation.max_len() + 1];
    assert_eq!(scene.verify(&huge).unwrap_err().word(), "malformed");
}

#[test]
fn a_launch_record_fits_into_an_order() {
    let scene = scene(Role::Runner);
    let record = vec![0; MessageType::LaunchRecord.max_len()];
    let order = order(Operation::RunGuest { record });
    assert_eq!(scene.verify(&scene.sign(&order)).unwrap().order(), &order);
}

#[test]
fn observers_sign_no_launch_records() {
    let scene = scene(Role::Observer);
    let anchor = hex::encode(scene.fleet.anchor().sha256());
    let yaml = include_str!("../launch/tests/record.yaml").replace(&"d".repeat(64), &anchor);
    let signed = sign_record(&yaml, &scene.chain, &scene.key).unwrap();
    let refused = crate::launch::verify_record(&signed, &scene.fleet.anchor(), NOW).unwrap_err();
    assert!(
        matches!(refused, crate::launch::LaunchRecordError::Role { .. }),
        "{refused}"
    );
}

#[test]
fn what_cannot_be_an_order_is_refused() {
    let right = order(Operation::ShowGuest { vm: "web".into() });
    assert_eq!(Order::decode(&right.encode()).unwrap(), right);
    let wrong = |change: &dyn Fn(&mut Order)| {
        let mut order = right.clone();
        change(&mut order);
        Order::decode(&order.encode()).unwrap_err()
    };
    let version = wrong(&|order| order.version = 2);
    assert!(matches!(version, OrderError::Version(2)));
    for length in [0, 15, 33] {
        let nonce = wrong(&|order| order.nonce = vec![0; length].into());
        assert!(matches!(nonce, OrderError::Nonce(found) if found == length));
    }
    for vm in ["", "We", "a b", "a\n", &"a".repeat(64)] {
        for operation in [
            Operation::ShowGuest { vm: vm.into() },
            Operation::RotateReportKey { vm: vm.into() },
            Operation::CaptureFlows {
                vm: vm.into(),
                filter: FLOWS,
                limits: LIMITS,
            },
        ] {
            let named = wrong(&|order| order.operation = operation.clone());
            assert!(matches!(named, OrderError::Vm), "{vm}");
        }
    }
}

/// Known attack: an observation without an end, which nobody revokes.
#[test]
fn what_is_seen_of_flows_has_bounds() {
    let refused = |operation| {
        let bytes = order(operation).encode();
        matches!(Order::decode(&bytes), Err(OrderError::Bounds))
    };
    let captures = |filter, limits| {
        let vm = "web".into();
        refused(Operation::CaptureFlows { vm, filter, limits })
    };
    assert!(!captures(FLOWS, LIMITS));
    for limits in [
        CaptureLimits {
            packets: 0,
            ..LIMITS
        },
        CaptureLimits { bytes: 0, ..LIMITS },
        CaptureLimits { snap: 0, ..LIMITS },
        CaptureLimits {
            snap: MAX_SNAP + 1,
            ..LIMITS
        },
        CaptureLimits {
            seconds: 0,
            ..LIMITS
        },
        CaptureLimits {
            seconds: MAX_SECONDS + 1,
            ..LIMITS
        },
    ] {
        assert!(captures(FLOWS, limits), "{limits:?}");
    }
    for seconds in [0, MAX_SECONDS + 1, u32::MAX] {
        let (vm, filter) = ("web".into(), FLOWS);
        assert!(refused(Operation::WatchFlows {
            vm,
            filter,
            seconds
        }));
    }
    let network = Some(Network {
        prefix: 33,
        address: Ipv4Addr::UNSPECIFIED.into(),
    });
    let vm = "web".into();
    let filter = FlowFilter { network, ..FLOWS };
    assert!(refused(Operation::ListFlows { vm, filter }));
    assert!(captures(filter, LIMITS));
}

#[test]
fn the_log_says_which_flows_were_seen() {
    let captured = each().pop().unwrap().arguments();
    let said: Vec<_> = captured
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        said,
        [
            "bytes=2",
            "network=10.0.0.0/24",
            "packets=1",
            "ports=80-443",
            "protocol=6",
            "seconds=4",
            "snap=3",
            "vm=web"
        ]
    );
}

#[test]
fn every_changed_byte_of_a_signed_order_is_refused() {
    let scene = scene(Role::Administrator);
    let signed = scene.sign(&order(Operation::StopGuest {
        vm: "web".into(),
        force: false,
    }));
    scene.verify(&signed).unwrap();
    for at in 0..signed.len() {
        for bit in [0, 7] {
            let mut changed = signed.clone();
            changed[at] ^= 1 << bit;
            scene.verify(&changed).unwrap_err();
        }
    }
    for length in 0..signed.len() {
        scene.verify(&signed[..length]).unwrap_err();
    }
}

proptest! {
    #[test]
    fn orders_have_one_encoding(
        host: [u8; 32],
        nonce in proptest::collection::vec(any::<u8>(), 16..=32),
        issued_at: u64,
        expires_at: u64,
        which in 0..each().len(),
    ) {
        let order = Order {
            version: 1,
            host: CardId(host),
            operation: each().swap_remove(which),
            nonce: nonce.into(),
            issued_at,
            expires_at,
        };
        let mut bytes = order.encode();
        prop_assert_eq!(&Order::decode(&bytes).unwrap(), &order);
        bytes.push(0);
        prop_assert!(Order::decode(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        if let Ok(order) = Order::decode(&bytes) {
            prop_assert_eq!(order.encode(), bytes);
        }
    }
}
