use bartizan_attestation::host::{FlowsTally, OperatorRefusal};
use bartizan_attestation::operation::OperationRefusal;
use bartizan_attestation::operation::log::Outcome;

use super::super::perform::outcome;
use super::*;

fn devices_away() -> Result<OperationReply, OperationRefusal> {
    let refusal = OperatorRefusal::DevicesAway("it was killed".into());
    Ok(OperationReply::Guests(OperatorReply::Refused(refusal)))
}

fn hypervisor_away() -> Result<OperationReply, OperationRefusal> {
    Err(OperationRefusal::HypervisorAway("it was killed".into()))
}

#[tokio::test]
async fn what_was_shown_before_it_broke_off_is_in_its_outcome() {
    let (to, mut taken) = mpsc::channel(8);
    let mut shown = Shown::new(&to);
    let not_begun = outcome(&devices_away(), &shown);
    assert!(
        matches!(not_begun, Outcome::Refused { .. }),
        "{not_begun:?}"
    );
    for piece in [
        FlowsSeen::Pcap(b"head".to_vec()),
        FlowsSeen::Going(FlowsTally::default()),
        FlowsSeen::Pcap(b"a body".to_vec()),
    ] {
        assert!(shown.hand_on(piece.clone()).await);
        let expected = OperationReply::Guests(OperatorReply::Seen(piece));
        assert_eq!(taken.recv().await, Some(expected));
    }
    for done in [devices_away(), hypervisor_away()] {
        match outcome(&done, &shown) {
            Outcome::Unknown { detail } => {
                let begins =
                    detail.starts_with("0 flows and 10 bytes of a capture were shown, then: ");
                assert!(begins && detail.contains("it was killed"), "{detail}");
            }
            other => panic!("{other:?}"),
        }
    }
    let ended = outcome(&Ok(OperationReply::Done), &shown);
    let all = "0 flows and 10 bytes of a capture were shown";
    assert_eq!(ended, Outcome::shown(all));
    drop(taken);
    assert!(!shown.hand_on(FlowsSeen::Pcap(b"more".to_vec())).await);
}

#[tokio::test]
async fn it_has_begun_where_it_goes_on() {
    let (to, _taken) = mpsc::channel(1);
    let mut shown = Shown::new(&to);
    assert!(!shown.has_begun());
    shown.hand_on(FlowsSeen::Going(FlowsTally::default())).await;
    let outcome = outcome(&devices_away(), &shown);
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
}
