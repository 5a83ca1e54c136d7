//! Messages between enclave and verifier.

use std::num::NonZeroU64;

use bartizan_stream::Bytes;
use bartizan_stream::message::{
    CommandKind, CommandOutcome, Detail, Down, Evidence, Guest, GuestPolicies, GuestPolicy,
    HeldSet, Hello, PolicySet, RefusalReason, Said, Source, Span, Trust, Up, write_down, write_up,
};

use crate::Seed;

const NUMBER: NonZeroU64 = NonZeroU64::MIN;

const GUEST: Guest = Guest {
    vm: [7; 16],
    boot: 3,
};

pub(crate) fn seeds() -> Vec<Seed> {
    let set = HeldSet {
        number: NUMBER,
        digest: [9; 48],
    };
    let hello = Said::Hello(Hello {
        source: Source([1; 16]),
        span: Span::empty(NUMBER),
        in_force: Some(set),
        last_command: 4,
    });
    let evidence = Evidence::new(NUMBER, Bytes::from_static(b"signed")).unwrap();
    let digest = [5; 48];
    let guests = GuestPolicies::new(vec![GuestPolicy {
        guest: GUEST,
        digest,
    }])
    .unwrap();
    let refused = Up::PolicyRefused {
        number: NUMBER,
        reason: RefusalReason::Author,
        detail: Detail::cut("nobody is known by that key"),
    };
    let done = Up::CommandDone {
        number: NUMBER,
        outcome: CommandOutcome::NoGuest,
        detail: Detail::default(),
    };
    let signed = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    let command = Down::Command {
        number: NUMBER,
        kind: CommandKind::Isolate,
        guest: GUEST,
    };
    let appraisal = Down::Appraisal {
        guest: GUEST,
        trust: Trust::Affirming,
    };
    vec![
        up("hello", &hello),
        up("evidence", &Said::Up(Up::Evidence(evidence))),
        up("in_force", &Said::Up(Up::PolicyInForce { set, guests })),
        up("refused", &Said::Up(refused)),
        up("done", &Said::Up(done)),
        down("kept", &Down::EvidenceKept(8)),
        down(
            "set",
            &Down::PolicySet(PolicySet::new(NUMBER, signed).unwrap()),
        ),
        down("appraisal", &appraisal),
        down("command", &command),
    ]
}

fn up(name: &'static str, said: &Said) -> Seed {
    ("stream", name, [&[0], write_up(said).as_ref()].concat())
}

fn down(name: &'static str, said: &Down) -> Seed {
    ("stream", name, [&[1], write_down(said).as_ref()].concat())
}
