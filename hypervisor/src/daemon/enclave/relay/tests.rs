use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::host::RunningGuest;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_local::encode;
use bartizan_local::flow::{Epoch, FromDevices, Guest, GuestEpoch, MAX_FRAME};
use tokio::io::DuplexStream;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use uuid::Uuid;

use super::*;

/// How long what waits for nobody may take.
const DEADLINE: Duration = Duration::from_secs(20);

fn boot(vm: u8, boot: u64) -> Arc<RunningGuest> {
    let guest = GuestIdentity {
        card: CardId([9; 32]),
        vm: [vm; 16],
        boot,
    };
    Arc::new(RunningGuest {
        guest,
        record: vec![vm],
        ordered_at_s: 7,
    })
}

fn boots(of: &[(u8, u64)]) -> Boots {
    let boots = of
        .iter()
        .map(|&(vm, number)| (Uuid::from_bytes([vm; 16]), boot(vm, number)));
    boots.collect()
}

fn epoch(policy: u64) -> GuestEpoch {
    let guest = Guest {
        vm: [1; 16],
        boot: 1,
    };
    GuestEpoch {
        guest,
        epoch: Epoch { policy, state: 0 },
    }
}

struct Rig {
    running: watch::Sender<Boots>,
    enclave: DuplexStream,
    devices: UnixListener,
    relay: tokio::task::JoinHandle<RelayError>,
    folder: tempfile::TempDir,
}

impl Rig {
    fn new(of: &[(u8, u64)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("decisions.sock");
        let running = watch::Sender::new(boots(of));
        let (enclave, theirs) = tokio::io::duplex(1 << 16);
        Self {
            devices: UnixListener::bind(&socket).unwrap(),
            relay: tokio::spawn(run(theirs, running.subscribe(), socket)),
            running,
            enclave,
            folder,
        }
    }

    /// What the enclave hears next of guests.
    async fn heard(&mut self) -> ToEnclave {
        let heard = async {
            loop {
                match aio::read_frame(&mut self.enclave, TO_ENCLAVE_FRAME)
                    .await
                    .unwrap()
                {
                    ToEnclave::DevicesThere | ToEnclave::Ping => {}
                    heard => return heard,
                }
            }
        };
        timeout(DEADLINE, heard).await.unwrap()
    }

    async fn device(&self) -> UnixStream {
        timeout(DEADLINE, self.devices.accept())
            .await
            .unwrap()
            .unwrap()
            .0
    }

    async fn says(&mut self, saying: &ToDevices) {
        let frame = FromEnclave::ForDevices(encode(saying).into());
        aio::write_frame(&mut self.enclave, &frame, FROM_ENCLAVE_FRAME)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn guests_are_told_once_each_as_they_come_and_go() {
    let mut rig = Rig::new(&[(1, 1), (2, 5)]);
    assert_eq!(
        rig.heard().await,
        ToEnclave::Runs(boot(1, 1).as_ref().clone())
    );
    assert_eq!(
        rig.heard().await,
        ToEnclave::Runs(boot(2, 5).as_ref().clone())
    );
    assert_eq!(rig.heard().await, ToEnclave::AllTold);
    // One ended, one was booted again, one came.
    rig.running.send_replace(boots(&[(2, 6), (3, 1)]));
    assert_eq!(rig.heard().await, ToEnclave::Ended(boot(1, 1).guest));
    assert_eq!(
        rig.heard().await,
        ToEnclave::Runs(boot(2, 6).as_ref().clone())
    );
    assert_eq!(
        rig.heard().await,
        ToEnclave::Runs(boot(3, 1).as_ref().clone())
    );
    rig.running.send_replace(Boots::new());
    assert_eq!(rig.heard().await, ToEnclave::Ended(boot(2, 6).guest));
}

#[tokio::test]
async fn devices_and_enclave_hear_one_another_again_after_devices_were_gone() {
    let mut rig = Rig::new(&[]);
    assert_eq!(rig.heard().await, ToEnclave::AllTold);
    for round in 1..=3 {
        let mut device = rig.device().await;
        let said = FromDevices::InForce(epoch(round));
        aio::write_frame(&mut device, &said, MAX_FRAME)
            .await
            .unwrap();
        assert_eq!(
            rig.heard().await,
            ToEnclave::OfDevices(encode(&said).into())
        );
        // For a former link, it would not arrive here.
        let order = ToDevices::Epoch(epoch(10 + round));
        rig.says(&order).await;
        let heard = aio::read_frame(&mut device, MAX_FRAME);
        let heard: ToDevices = timeout(DEADLINE, heard).await.unwrap().unwrap();
        assert_eq!(heard, order);
        drop(device);
        assert_eq!(rig.heard().await, ToEnclave::DevicesGone);
    }
}

/// Known attack: whoever has the enclave's link makes devices end theirs, or hang, by what is no message.
#[tokio::test]
async fn what_is_no_message_to_devices_does_not_reach_them() {
    let mut rig = Rig::new(&[]);
    let mut device = rig.device().await;
    let frame = FromEnclave::ForDevices(vec![0xff; 9].into());
    aio::write_frame(&mut rig.enclave, &frame, FROM_ENCLAVE_FRAME)
        .await
        .unwrap();
    let ended = timeout(DEADLINE, rig.relay).await.unwrap().unwrap();
    assert!(matches!(ended, RelayError::ForDevices(_)), "{ended}");
    let heard = aio::read_frame::<ToDevices>(&mut device, MAX_FRAME);
    assert!(matches!(
        timeout(DEADLINE, heard).await.unwrap(),
        Err(FrameError::Closed)
    ));
}

/// While there are no devices, what is for them is in nobody's way.
#[tokio::test]
async fn an_enclave_that_speaks_to_absent_devices_is_heard_on() {
    let mut rig = Rig::new(&[]);
    let device = rig.device().await;
    std::fs::remove_file(rig.folder.path().join("decisions.sock")).unwrap();
    drop(device);
    for policy in 0..1000 {
        rig.says(&ToDevices::Epoch(epoch(policy))).await;
    }
    rig.running.send_replace(boots(&[(1, 1)]));
    loop {
        match rig.heard().await {
            ToEnclave::Runs(_) => break,
            ToEnclave::AllTold | ToEnclave::DevicesGone => {}
            other => panic!("{other:?}"),
        }
    }
}

/// An enclave of which nothing is heard but that it takes what it is told.
async fn takes_all(enclave: &mut DuplexStream, mut answer: impl FnMut(&ToEnclave) -> bool) {
    loop {
        // The relay's end is for others to tell of.
        let Ok(heard) = aio::read_frame(enclave, TO_ENCLAVE_FRAME).await else {
            return std::future::pending().await;
        };
        if answer(&heard) {
            aio::write_frame(enclave, &FromEnclave::Pong, FROM_ENCLAVE_FRAME)
                .await
                .unwrap();
        }
    }
}

/// Known attack: the enclave hangs, and devices wait for its answers for ever.
#[tokio::test(start_paused = true)]
async fn an_enclave_that_says_nothing_is_gone_and_devices_hear_it() {
    let began = tokio::time::Instant::now();
    let mut rig = Rig::new(&[]);
    let mut device = rig.device().await;
    let relay = &mut rig.relay;
    let ended = tokio::select! {
        ended = relay => ended.unwrap(),
        () = takes_all(&mut rig.enclave, |_| false) => unreachable!(),
    };
    assert!(matches!(ended, RelayError::Silent), "{ended}");
    assert_eq!(began.elapsed().as_secs(), SILENCE.as_secs());
    let heard = aio::read_frame::<ToDevices>(&mut device, MAX_FRAME).await;
    assert!(matches!(heard, Err(FrameError::Closed)));
}

/// The same, where it takes nothing either: whoever tells it waits.
#[tokio::test(start_paused = true)]
async fn an_enclave_that_takes_nothing_is_gone() {
    let many: Vec<_> = (0..200).map(|vm| (vm, 1)).collect();
    let folder = tempfile::tempdir().unwrap();
    let running = watch::Sender::new(boots(&many));
    let (_enclave, theirs) = tokio::io::duplex(64);
    let socket = folder.path().join("nobody.sock");
    let ended = run(theirs, running.subscribe(), socket).await;
    assert!(matches!(ended, RelayError::Silent), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn an_enclave_that_answers_is_there() {
    let mut rig = Rig::new(&[]);
    let mut pings = 0;
    let answering = takes_all(&mut rig.enclave, |heard| {
        let is_ping = *heard == ToEnclave::Ping;
        pings += u32::from(is_ping);
        is_ping
    });
    let hour = Duration::from_secs(3600);
    tokio::select! {
        ended = &mut rig.relay => panic!("{}", ended.unwrap()),
        never = timeout(hour, answering) => assert!(never.is_err()),
    }
    assert!(pings > 3000, "{pings}");
}
