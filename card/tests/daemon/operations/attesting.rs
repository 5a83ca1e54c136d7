//! Orders by which a host proves its boot: the operator is told what the verifier said, and so is the log.

use bartizan_attestation::certificates::Role;
use bartizan_attestation::host::OperationReply;
use bartizan_attestation::operation::{Operation, OperationRefusal};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;

use super::running::{Operator, Running};
use crate::stand_in_verifier::StandInVerifier;

impl Running {
    fn verifier(&self) -> &StandInVerifier {
        self.verifier.as_ref().unwrap()
    }

    /// Refused for what the verifier said: its word.
    fn refused_as(&self, operator: &Operator) -> String {
        match self.order(operator, Operation::AttestHost) {
            OperationReply::Refused(OperationRefusal::HostRefused { kind, detail }) => {
                assert_eq!(detail, "told to refuse");
                kind
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_boot_is_handed_in_at_each_order_and_the_operator_told_what_is_accepted() {
    let scene = Running::start("");
    scene.vault.measure();
    let (ann, oscar) = (
        scene.operator("ann", Role::Runner),
        scene.operator("oscar", Role::Observer),
    );
    assert_eq!(scene.refusal(&oscar, Operation::AttestHost), "role");
    let handed_in = || scene.verifier().handed_in();
    for _ in 0..3 {
        let before = handed_in().len();
        let OperationReply::Attested(accepted) = scene.order(&ann, Operation::AttestHost) else {
            panic!("not accepted");
        };
        assert_eq!((accepted.base.version, accepted.bundle.version), (3, 4));
        assert_eq!(accepted.bundle.manifest.to_string(), "cd".repeat(48));
        assert!(handed_in().len() > before);
    }
    assert!(
        handed_in()
            .iter()
            .all(|one| one["log"] == B64.encode("a log"))
    );
    let events = scene.events();
    assert_eq!(events[1], "refused oscar role");
    assert_eq!(events[2..4], ["begun ann attest-host", "ended 2 done"]);
}

#[test]
fn a_boot_that_the_verifier_refuses_is_said_to_be_refused() {
    let scene = Running::start("");
    scene.vault.measure();
    let ann = scene.operator("ann", Role::Runner);
    scene.verifier().refuse_boot(Some("boot-quote-refused"));
    assert_eq!(scene.refused_as(&ann), "boot-quote-refused");
    // Not what was said a moment ago.
    scene.verifier().refuse_boot(Some("boot-stopped"));
    assert_eq!(scene.refused_as(&ann), "boot-stopped");
    scene.verifier().refuse_boot(None);
    let accepted = scene.order(&ann, Operation::AttestHost);
    assert!(
        matches!(accepted, OperationReply::Attested(_)),
        "{accepted:?}"
    );
    let events = scene.events();
    assert_eq!(
        [&events[2], &events[4]],
        ["ended 1 refused", "ended 3 refused"]
    );
}

/// Nothing is ordered of a host that the verifier does not serve; whoever asks is told why all the same.
#[test]
fn a_host_that_the_verifier_does_not_serve_says_so_to_whoever_orders() {
    let scene = Running::start("");
    scene.vault.measure();
    let ann = scene.operator("ann", Role::Runner);
    scene.verifier().refuse_boot(Some("boot-release-unknown"));
    for (problem, told) in [
        ("boot-not-accepted", "boot-release-unknown"),
        ("host-revoked", "host-revoked"),
    ] {
        scene.verifier().refuse(Some(problem));
        assert_eq!(scene.refused_as(&ann), told);
        assert_eq!(scene.refusal(&ann, Operation::ListGuests), "host-refused");
    }
    assert_eq!(scene.hypervisor.asked_already(), None);
    scene.verifier().refuse(None);
    let events = scene.events();
    let refused = events
        .iter()
        .filter(|event| *event == "refused ann host-refused");
    assert_eq!(refused.count(), 4, "{events:?}");
    assert!(
        !events.contains(&"begun ann attest-host".to_owned()),
        "{events:?}"
    );
}

#[test]
fn an_absent_verifier_has_judged_nothing() {
    let mut scene = Running::start("launch_grace_s: 600");
    scene.vault.measure();
    let ann = scene.operator("ann", Role::Runner);
    scene.order(&ann, Operation::ListGuests);
    let before = scene.events().len();
    drop(scene.verifier.take());
    assert_eq!(scene.refusal(&ann, Operation::AttestHost), "verifier-away");
    let events = scene.events();
    // The reading before is ended in between.
    let begun = events
        .iter()
        .position(|event| event == "begun ann attest-host");
    let begun = begun.unwrap();
    assert!(begun >= before, "{events:?}");
    assert_eq!(events[begun + 1], format!("ended {begun} unknown"));
}

#[test]
fn a_host_whose_boot_was_not_measured_has_nothing_to_hand_in() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Runner);
    assert_eq!(scene.refusal(&ann, Operation::AttestHost), "not-attested");
    assert_eq!(scene.events()[2], "ended 1 refused");
    assert!(scene.verifier().handed_in().is_empty());
}
