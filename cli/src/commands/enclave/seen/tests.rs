use bartizan_attestation::boot::{Event, Register, Sha384};
use bartizan_attestation::host::{
    Certified, EnclaveLink, MachineHeard, MachineState, OpenLinks, Use,
};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::BootDescription;

use super::*;

const NOW_S: u64 = 1_800_000_000;

fn shown() -> EnclaveShown {
    let component = |name: &str| Event {
        register: Register::Measurement,
        measured: Measured::Component {
            phase: Phase::Enclave,
            name: name.into(),
            sha384: Sha384::of(name.as_bytes()),
        },
    };
    let log = EventLog::new(vec![
        component("enclave/kernel"),
        component("bartizan-keeper"),
    ]);
    EnclaveShown {
        boot: BootDescription {
            measured: true,
            log: log.to_cbor().into(),
            registers: log.replay(),
            phases: Vec::new(),
            stopped: None,
            firmware: None,
        },
        certified: Some(Certified {
            since_s: NOW_S - 60,
            until_s: NOW_S + 3540,
        }),
        link: true,
        forwarded: true,
        machine: Some(MachineHeard {
            state: MachineState {
                since_s: Some(NOW_S - 90),
                starts: 3,
                links: OpenLinks::default(),
                use_of: Use {
                    memory: Some(100 << 20),
                    memory_limit: Some(320 << 20),
                    ..Use::default()
                },
            },
            at_s: NOW_S - 2,
            connected: true,
        }),
        hypervisor: Some(EnclaveLink {
            since_s: Some(NOW_S - 50),
            guests: 4,
        }),
        card: CardId([7; 32]),
    }
}

fn at_verifier() -> AtVerifier {
    AtVerifier {
        set: Some(9),
        host: json!({
            "connected": true, "refused": null,
            "in_force": { "number": 9, "digest": "ab".repeat(48) },
        }),
    }
}

#[test]
fn an_enclave_that_is_well_is_shown_whole() {
    let seen = Seen::of(&shown(), Some(&at_verifier()), NOW_S);
    assert_eq!(seen.problems, [""; 0]);
    let kernel = Sha384::of(b"enclave/kernel").to_string();
    let of = &seen.json;
    assert_eq!(of["measured"], json!({ "kernel": kernel }));
    assert_eq!(
        (&of["machine"]["restarts"], &of["guests"]),
        (&json!(2), &json!(4))
    );
    assert_eq!(
        of["machine"]["use"]["threads"],
        json!({ "used": null, "limit": null })
    );
    assert_eq!(
        (&of["ok"], &of["policies"]["in_force"]["number"]),
        (&json!(true), &json!(9))
    );
    let text = seen.text();
    for said in [
        "2 restarts",
        "100 of 320 MiB, ? of ? threads",
        &kernel[..16],
        "until 2027",
        "to the hypervisor     open",
        "4 ruled",
        "set 9 (abababababababab)",
        "all is well",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

/// Each of these is said, and none other.
#[test]
fn whatever_is_wrong_is_a_problem_of_its_own() {
    type Spoil = fn(&mut EnclaveShown, &mut AtVerifier);
    let cases: [(Spoil, &str); 14] = [
        (|shown, _| shown.link = false, "link to the card"),
        (|shown, _| shown.certified = None, "certified no enclave"),
        (
            |shown, _| {
                if let Some(certified) = &mut shown.certified {
                    certified.until_s = NOW_S - 1;
                }
            },
            "certificates have ended",
        ),
        (|shown, _| shown.hypervisor = None, "does not say whether"),
        (
            |shown, _| shown.hypervisor = Some(EnclaveLink::default()),
            "link to the hypervisor",
        ),
        (
            |shown, _| {
                if let Some(machine) = &mut shown.machine {
                    machine.state.since_s = None;
                }
            },
            "does not run",
        ),
        (
            |shown, _| {
                if let Some(machine) = &mut shown.machine {
                    machine.connected = false;
                }
            },
            "the keeper said last",
        ),
        (
            |shown, _| {
                if let Some(machine) = &mut shown.machine {
                    machine.at_s = NOW_S - 31;
                }
            },
            "the keeper said last 31 s ago",
        ),
        (
            |shown, _| shown.boot.log = vec![0xff].into(),
            "does not replay",
        ),
        (
            |shown, _| {
                let log = EventLog::default();
                shown.boot.log = log.to_cbor().into();
                shown.boot.registers = log.replay();
            },
            "measured no enclave",
        ),
        (
            |_, at| at.host = json!({ "connected": true }),
            "no policies",
        ),
        (
            |_, at| at.set = Some(10),
            "set 9 of policies is in force, not 10",
        ),
        (
            |_, at| at.host["refused"] = json!({ "number": 10, "detail": "no author" }),
            "refuses set 10 of policies: no author",
        ),
        (
            |_, at| at.host["connected"] = false.into(),
            "link to the verifier",
        ),
    ];
    for (spoil, due) in cases {
        let (mut shown, mut at) = (shown(), at_verifier());
        spoil(&mut shown, &mut at);
        let seen = Seen::of(&shown, Some(&at), NOW_S);
        assert_eq!(seen.problems.len(), 1, "{due}: {:?}", seen.problems);
        assert!(seen.problems[0].contains(due), "{due}: {:?}", seen.problems);
        assert_eq!(seen.json["ok"], false);
        assert!(seen.text().contains(&seen.problems[0]));
    }
}

#[test]
fn what_nobody_was_asked_is_not_known() {
    let mut shown = shown();
    shown.machine = None;
    let seen = Seen::of(&shown, None, NOW_S);
    assert_eq!(seen.problems, [""; 0]);
    assert_eq!(seen.json["links"]["verifier"], Value::Null);
    assert_eq!(
        (&seen.json["policies"], &seen.json["machine"]),
        (&Value::Null, &Value::Null)
    );
    shown.forwarded = false;
    let seen = Seen::of(&shown, None, NOW_S);
    assert_eq!(
        seen.problems,
        ["the enclave's link to the verifier is not open"]
    );
}
