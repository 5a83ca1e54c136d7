use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::{decode, encode};

const TCP: Ends = Ends {
    protocol: 6,
    addresses: [
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
    ],
    ports: [Some(40_000), Some(443)],
};

fn address(last: u8) -> Option<Peers> {
    let address = Ipv4Addr::new(10, 0, 0, last);
    Some(Peers::V4(address, address))
}

#[test]
fn a_filter_is_of_either_end_and_of_all_that_it_says() {
    assert!(Filter::default().contains(&TCP) && Filter::default().is_everything());
    let all = Filter {
        protocol: Some(6),
        addresses: address(2),
        ports: Some((443, 443)),
    };
    assert!(all.contains(&TCP) && !all.is_everything());
    let begun = Filter {
        addresses: address(1),
        ports: Some((40_000, 41_000)),
        ..all
    };
    assert!(begun.contains(&TCP));
    for other in [
        Filter {
            protocol: Some(17),
            ..all
        },
        Filter {
            addresses: address(3),
            ..all
        },
        Filter {
            ports: Some((444, 39_999)),
            ..all
        },
        Filter {
            addresses: Some(Peers::V6(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from(u128::MAX))),
            ..all
        },
    ] {
        assert!(!other.contains(&TCP), "{other:?}");
    }
    // What has no ports has none of these.
    let echo = Ends {
        protocol: 1,
        ports: [None, None],
        ..TCP
    };
    let any_port = Filter {
        ports: Some((0, u16::MAX)),
        ..Filter::default()
    };
    assert!(any_port.contains(&TCP) && !any_port.contains(&echo));
}

#[test]
fn what_has_no_bound_is_refused() {
    let limits = CaptureLimits {
        packets: 1,
        bytes: 1,
        snap: MAX_SNAP,
        seconds: MAX_SECONDS,
    };
    assert!(Observation::List.is_bounded() && Observation::Capture(limits).is_bounded());
    for seconds in [0, MAX_SECONDS + 1, u32::MAX] {
        assert!(!Observation::Watch { seconds }.is_bounded());
        assert!(!Observation::Capture(CaptureLimits { seconds, ..limits }).is_bounded());
    }
    for snap in [0, MAX_SNAP + 1] {
        assert!(!Observation::Capture(CaptureLimits { snap, ..limits }).is_bounded());
    }
    let (packets, bytes) = (0, 0);
    assert!(!Observation::Capture(CaptureLimits { packets, ..limits }).is_bounded());
    assert!(!Observation::Capture(CaptureLimits { bytes, ..limits }).is_bounded());
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::V4),
        any::<Ipv6Addr>().prop_map(IpAddr::V6),
    ]
}

fn directions() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Egress), Just(Direction::Ingress)]
}

fn amounts() -> impl Strategy<Value = Amount> {
    any::<(u64, u64)>().prop_map(|(packets, bytes)| Amount { packets, bytes })
}

fn ends() -> impl Strategy<Value = FlowEnd> {
    prop_oneof![
        Just(FlowEnd::Closed),
        Just(FlowEnd::Idle),
        Just(FlowEnd::Denied),
        Just(FlowEnd::Undecided),
        Just(FlowEnd::Replaced),
    ]
}

prop_compose! {
    fn decisions()(allowed in any::<bool>(), rule in ".{0,40}", policy in any::<u64>(), state in any::<u64>()) -> Decision {
        Decision { allowed, rule, epoch: Epoch { policy, state } }
    }
}

prop_compose! {
    fn records()(
        (direction, protocol, peer, port, icmp_type) in (directions(), any::<u8>(), addresses(), any::<Option<u16>>(), any::<Option<u8>>()),
        (local, begun_port, began_ms, last_ms, refused, outside) in (addresses(), any::<Option<u16>>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>()),
        sent in amounts(),
        received in amounts(),
        decision in prop::option::of(decisions()),
        end in prop::option::of(ends()),
    ) -> FlowRecord {
        let flow = Flow { direction, protocol, peer, port, icmp_type, outside };
        FlowRecord { flow, local, begun_port, began_ms, last_ms, sent, received, refused, decision, end }
    }
}

proptest! {
    #[test]
    fn messages_are_read_as_written(flows in prop::collection::vec(records(), 0..8), bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let flows = Observed::Flows(flows);
        prop_assert_eq!(&decode::<Observed>(&encode(&flows)).unwrap(), &flows);
        let packet = CapturedPacket { at_ns: 1, way: Direction::Egress, length: 80, bytes };
        let packets = Observed::Packets(vec![packet; 2]);
        prop_assert_eq!(&decode::<Observed>(&encode(&packets)).unwrap(), &packets);
    }

    /// Known attack: devices that were taken over send what the daemon cannot read.
    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(said) = decode::<Observed>(&bytes) {
            prop_assert_eq!(encode(&said), bytes);
        }
    }
}

/// A frame holds one packet of the greatest length.
#[test]
fn the_longest_packet_fits() {
    let packet = CapturedPacket {
        at_ns: u64::MAX,
        way: Direction::Ingress,
        length: MAX_SNAP,
        bytes: vec![0xff; MAX_SNAP as usize],
    };
    assert!(encode(&Observed::Packets(vec![packet; 3])).len() <= MAX_FRAME);
}
