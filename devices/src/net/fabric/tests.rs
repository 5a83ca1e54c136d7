use std::thread;

use super::*;
use crate::net::sample::{interface, station};

/// Known attack: a former boot of a guest, or its supervisor, has the next one refused its addresses.
#[test]
fn a_device_waits_for_the_former_one_of_its_address_that_ends() {
    let fabric = Arc::new(Fabric::default());
    let former = fabric.plug(interface(1)).unwrap();
    let waits = thread::spawn({
        let fabric = Arc::clone(&fabric);
        move || fabric.plug(interface(1)).map(drop).is_ok()
    });
    drop(former);
    assert!(waits.join().unwrap());
    assert!(fabric.segments().is_empty());
}

#[test]
fn no_two_stations_have_an_address_in_common() {
    let fabric = Arc::new(Fabric::default());
    let first = fabric.plug(interface(1)).unwrap();
    let changes: [fn(&mut Interface); 4] = [
        |other| other.mac = interface(1).mac,
        |other| other.ipv4 = interface(1).ipv4,
        |other| other.ipv6 = interface(1).ipv6,
        // The link-local address that follows from the other's MAC.
        |other| {
            if let Some(ip) = &mut other.ipv6 {
                ip.address = guard::link_local(Mac(station(1).mac));
            }
        },
    ];
    // At once, since each waits for the first one to end.
    thread::scope(|scope| {
        let refused = changes.map(|change| {
            let mut other = interface(2);
            change(&mut other);
            scope.spawn(|| fabric.plug(other))
        });
        for refused in refused {
            let refused = refused.join().unwrap();
            assert!(matches!(refused, Err(FabricError::Taken(_))), "{refused:?}");
        }
    });
    // What was refused left nothing behind.
    let second = fabric.plug(interface(2)).unwrap();
    let (one, other) = (station(1), station(2));
    for (address, mac) in [
        (one.v4.into(), Some(one.mac)),
        (one.v6.into(), Some(one.mac)),
        (guard::link_local(Mac(other.mac)).into(), Some(other.mac)),
        (station(3).v4.into(), None),
    ] {
        assert_eq!(first.segment().stations().whose(address), mac.map(Mac));
    }
    drop(second);
    assert_eq!(first.segment().stations().whose(other.v4.into()), None);
}
