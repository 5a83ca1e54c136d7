use std::collections::BTreeMap;
use std::time::Duration;

use bartizan_attestation::host::{FROM_ENCLAVE_FRAME, FromEnclave};
use bartizan_local::encode;
use bartizan_local::flow::{Noted, Resolved, Resolvers};
use bartizan_policy::{Format, Guest, Trust, read};
use tokio::io::DuplexStream;
use tokio::time::timeout;
use uuid::Uuid;

use super::*;
use crate::deciding::{ANY_BOOT, Isolated, Network, WatchedGuest};
use crate::peers::tests::Fleet;

const DEADLINE: Duration = Duration::from_secs(20);
const VM: [u8; 16] = [1; 16];
const ANY: GuestBoot = GuestBoot {
    vm: VM,
    boot: ANY_BOOT,
};

/// A hypervisor whose devices say so, after whom nothing else is said.
async fn say(link: &mut DuplexStream, said: &FromDevices) {
    let bytes = encode(said).into();
    let saying = ToEnclave::OfDevices(bytes);
    aio::write_frame(link, &saying, TO_ENCLAVE_FRAME)
        .await
        .unwrap();
}

async fn there(link: &mut DuplexStream) {
    let saying = ToEnclave::DevicesThere;
    aio::write_frame(link, &saying, TO_ENCLAVE_FRAME)
        .await
        .unwrap();
}

/// What devices are told next.
async fn told(link: &mut DuplexStream) -> ToDevices {
    let reading = aio::read_frame(link, FROM_ENCLAVE_FRAME);
    let FromEnclave::ForDevices(bytes) = timeout(DEADLINE, reading).await.unwrap().unwrap();
    decode(&bytes).unwrap()
}

/// Serves a hypervisor that goes on with the link, until it is done.
async fn with(ruling: &Ruling, goes_on: impl AsyncFnOnce(&mut DuplexStream)) {
    let fleet = Fleet::new();
    let anchors = Anchors::new(&fleet.ca);
    let host = Host {
        card: fleet.card().id,
        anchors: &anchors,
    };
    let (near, mut far) = tokio::io::duplex(1 << 16);
    tokio::select! {
        error = serve(near, ruling, host) => panic!("{error}"),
        () = goes_on(&mut far) => {}
    }
}

/// Known attack: whoever ends the enclave's machine has an isolated guest back on its network.
#[tokio::test]
async fn an_enclave_that_was_started_again_learns_from_devices_whom_they_cut_off() {
    let ruling = Ruling::default();
    with(&ruling, async |link| {
        there(link).await;
        say(link, &FromDevices::Isolated(VM)).await;
        assert_eq!(told(link).await, telling::isolate(VM, true));
        assert!(ruling.decider().isolated().contains(&VM));
        // It is taken back as if it had been ordered here, though the guest does not run.
        assert_eq!(ruling.isolate(ANY, false), Isolated::Done);
        // Before that it may be said again that they are to go on.
        while told(link).await != telling::isolate(VM, false) {}
    })
    .await;
    // Devices that did not hear of that are told when they are back.
    with(&ruling, async |link| {
        there(link).await;
        say(link, &FromDevices::Isolated(VM)).await;
        assert_eq!(told(link).await, telling::isolate(VM, false));
    })
    .await;
    assert!(!ruling.decider().isolated().contains(&VM));
}

/// Devices that were started again know of nobody.
#[tokio::test]
async fn devices_are_told_anew_whom_to_cut_off() {
    let ruling = Ruling::default();
    ruling.change(|decider| decider.is_isolated(VM));
    for _ in 0..2 {
        with(&ruling, async |link| {
            there(link).await;
            assert_eq!(told(link).await, telling::isolate(VM, true));
            there(link).await;
            assert_eq!(told(link).await, telling::isolate(VM, true));
        })
        .await;
    }
}

/// A guest that runs, whose names are believed from one server.
fn named(guest: GuestBoot) -> Ruling {
    let policy = "
version: 1
name: web
serial: 1
resolvers: [10.0.0.53]
rules:
- { name: db, effect: allow, network: { peer: { names: [db.test] } } }
";
    let ruling = Ruling::default();
    ruling.change(|decider| {
        let identity = Guest {
            vm: Uuid::from_bytes(guest.vm),
            role: "web".into(),
            labels: BTreeMap::new(),
            trust: Trust::None,
        };
        let network = Network {
            segment: "front".into(),
            addresses: vec![("10.0.0.1".parse().unwrap(), 24)],
        };
        decider.runs(guest, WatchedGuest::new(identity, Some(network)));
    });
    ruling.rule(1, vec![read(policy, Format::Yaml).unwrap()]);
    ruling
}

/// What devices are told before what may begin while nobody can decide, which comes last.
async fn until_fallback(link: &mut DuplexStream) -> Vec<ToDevices> {
    let mut before = Vec::new();
    loop {
        match told(link).await {
            ToDevices::Fallback(_) => return before,
            other => before.push(other),
        }
    }
}

#[tokio::test]
async fn devices_are_told_whom_to_believe_before_that_counts_and_of_what_is_known() {
    let guest = GuestBoot { vm: VM, boot: 1 };
    let ruling = named(guest);
    let server = "10.0.0.53".parse().unwrap();
    let resolved = |number, resolver| {
        FromDevices::Resolved(Resolved {
            number,
            guest,
            resolver,
            name: "db.test".into(),
            addresses: vec!["10.0.0.7".parse().unwrap()],
            ttl_s: 300,
            since_s: 0,
        })
    };
    let noted = |number, anew| {
        ToDevices::Noted(Noted {
            number,
            guest,
            anew,
        })
    };
    for anew in [true, false] {
        with(&ruling, async |link| {
            there(link).await;
            let resolvers = ToDevices::Resolvers(Resolvers {
                guest,
                servers: vec![server],
            });
            // Devices that are there anew were told nothing.
            let began = until_fallback(link).await;
            assert!(began.len() >= 2 && began.len().is_multiple_of(2));
            for told in began.chunks(2) {
                assert_eq!(told[0], resolvers);
                assert!(matches!(told[1], ToDevices::Epoch(_)));
            }
            // Known attack: what nobody believes. It is not noted, and what comes after it is.
            say(link, &resolved(7, "10.0.0.54".parse().unwrap())).await;
            say(link, &resolved(8, server)).await;
            assert_eq!(told(link).await, noted(8, anew));
        })
        .await;
    }
    // Nobody is believed any more.
    with(&ruling, async |link| {
        there(link).await;
        until_fallback(link).await;
        ruling.rule(2, Vec::new());
        let nobody = Resolvers {
            guest,
            servers: Vec::new(),
        };
        assert_eq!(told(link).await, ToDevices::Resolvers(nobody));
        assert!(matches!(told(link).await, ToDevices::Epoch(_)));
    })
    .await;
}
