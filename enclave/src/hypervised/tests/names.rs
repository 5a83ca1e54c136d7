//! DNS answers, as devices tell of them.

use std::collections::BTreeMap;

use bartizan_local::flow::{Noted, Resolved, Resolvers};
use bartizan_policy::{Format, Guest, Trust, read};
use uuid::Uuid;

use super::*;
use crate::deciding::{Network, WatchedGuest};

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
            guests: Vec::new(),
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
