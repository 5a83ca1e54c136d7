mod names;

use std::time::Duration;

use bartizan_attestation::host::{FROM_ENCLAVE_FRAME, FromEnclave};
use bartizan_local::encode;
use tokio::io::DuplexStream;
use tokio::time::timeout;

use super::*;
use crate::deciding::{ANY_BOOT, Isolated};
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
    match heard(link).await {
        FromEnclave::ForDevices(bytes) => decode(&bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn heard(link: &mut DuplexStream) -> FromEnclave {
    let reading = aio::read_frame(link, FROM_ENCLAVE_FRAME);
    timeout(DEADLINE, reading).await.unwrap().unwrap()
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

#[tokio::test]
async fn each_ping_is_answered() {
    let ruling = Ruling::default();
    with(&ruling, async |link| {
        for _ in 0..2 {
            aio::write_frame(link, &ToEnclave::Ping, TO_ENCLAVE_FRAME)
                .await
                .unwrap();
            assert_eq!(heard(link).await, FromEnclave::Pong);
        }
    })
    .await;
}
