use std::path::PathBuf;

use bartizan_attestation::operation::{CaptureLimits, FlowFilter};
use bartizan_local::flow::Direction;
use bartizan_local::observation::{CapturedPacket, Filter, ObservationEnd, Tally};

use super::*;

const LIMITS: CaptureLimits = CaptureLimits {
    packets: 9,
    bytes: 9,
    snap: 96,
    seconds: 9,
};
const TALLY: Tally = Tally {
    told: 2,
    bytes: 10,
    dropped: 1,
};

fn packet() -> CapturedPacket {
    CapturedPacket {
        at_ns: 1,
        way: Direction::Egress,
        length: 5,
        bytes: b"frame".to_vec(),
    }
}

/// What the card reads until the end, where devices say this.
async fn shown(what: Observation, said: Vec<Observed>) -> (Vec<FlowsSeen>, OperatorReply) {
    let asked = ObserveFlows {
        vm: "web".into(),
        filter: FlowFilter::default(),
        what,
    };
    let (mut card, mut ours) = UnixStream::pair().unwrap();
    let (devices, mut theirs) = UnixStream::pair().unwrap();
    let says = tokio::spawn(async move {
        for said in said {
            aio::write_frame(&mut theirs, &said, observation::MAX_FRAME)
                .await
                .unwrap();
        }
    });
    let last = relay(&mut ours, devices, &asked).await.unwrap();
    says.await.unwrap();
    drop(ours);
    let mut seen = Vec::new();
    while let Ok(reply) = aio::read_frame(&mut card, MAX_FRAME).await {
        match reply {
            OperatorReply::Seen(piece) => seen.push(piece),
            other => panic!("{other:?}"),
        }
    }
    (seen, last)
}

fn pcap_of(seen: &[FlowsSeen]) -> Vec<u8> {
    let bytes = seen.iter().filter_map(|piece| match piece {
        FlowsSeen::Pcap(bytes) => Some(bytes.clone()),
        _ => None,
    });
    bytes.flatten().collect()
}

#[tokio::test]
async fn packets_become_one_file_and_its_end_is_told() {
    let ended = Observed::Ended {
        why: ObservationEnd::Packets,
        tally: TALLY,
    };
    let said = vec![
        Observed::Packets(vec![packet()]),
        Observed::Going(TALLY),
        Observed::Packets(vec![packet()]),
        ended,
    ];
    let (seen, last) = shown(Observation::Capture(LIMITS), said).await;
    let expected = [pcap::header(96), pcap::records(&[packet(), packet()])].concat();
    assert_eq!(pcap_of(&seen), expected);
    let tally = FlowsTally {
        told: 2,
        bytes: 10,
        dropped: 1,
    };
    assert!(seen.contains(&FlowsSeen::Going(tally)));
    let why = FlowsEnd::Packets;
    assert_eq!(last, OperatorReply::Seen(FlowsSeen::Ended { why, tally }));
}

#[tokio::test]
async fn a_capture_of_nothing_is_a_file() {
    let ended = Observed::Ended {
        why: ObservationEnd::Time,
        tally: Tally::default(),
    };
    let (seen, _) = shown(Observation::Capture(LIMITS), vec![ended]).await;
    assert_eq!(pcap_of(&seen), pcap::header(96));
}

#[tokio::test]
async fn a_refusal_says_which_and_writes_no_file() {
    for (why, expected) in [
        (
            ObservationRefusal::NoDevice,
            OperatorRefusal::NoNetwork("web".into()),
        ),
        (
            ObservationRefusal::TooMany,
            OperatorRefusal::TooManyObservers,
        ),
    ] {
        let refused = vec![Observed::Refused(why)];
        let (seen, last) = shown(Observation::Capture(LIMITS), refused).await;
        assert_eq!((seen, last), (Vec::new(), OperatorReply::Refused(expected)));
    }
}

/// Known attack: devices end in the midst, or say what is no message.
#[tokio::test]
async fn devices_that_are_gone_are_no_end_of_a_capture() {
    let said = vec![Observed::Packets(vec![packet()])];
    let (_, last) = shown(Observation::Capture(LIMITS), said).await;
    let away = OperatorReply::Refused(OperatorRefusal::DevicesAway(String::new()));
    assert_eq!(std::mem::discriminant(&last), std::mem::discriminant(&away));
    let nowhere = PathBuf::from("/nonexistent/devices.sock");
    let none = ask(
        &nowhere,
        Observe {
            guest: Guest {
                vm: [1; 16],
                boot: 1,
            },
            filter: Filter::default(),
            what: observation::Observation::List,
        },
    );
    let refused = none.await.unwrap_err();
    assert!(
        matches!(refused, OperatorRefusal::DevicesAway(_)),
        "{refused}"
    );
}
