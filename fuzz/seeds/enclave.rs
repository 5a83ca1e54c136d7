//! What the enclave is told and says: its port's frames, and the messages of its links to card, hypervisor and devices.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::cbor;
use bartizan_attestation::evidence::{self, Event, Evidence, Statement, Taken, What};
use bartizan_attestation::host::{
    CardRefusal, ForCard, FromCard, FromEnclave, MachineState, OpenLinks, RunningGuest,
    StoredState, ToEnclave, Use,
};
use bartizan_attestation::keys::{EnclaveChains, StateKey};
use bartizan_enclave::sealed::{Command, State};
use bartizan_fuzz::fleet::{FLEET, NOW_S};
use bartizan_local::admission::AdmissionRequest;
use bartizan_local::encode;
use bartizan_local::flow::{
    Direction, Epoch, Flow, FromDevices, Guest, GuestEpoch, Noted, Peers, Question, Resolved,
    Resolvers, ToDevices, Verdict, Width,
};
use bartizan_local::observation::{
    Amount, CaptureLimits, CapturedPacket, Decision, Filter, FlowEnd, FlowRecord, Observation,
    Observe, Observed,
};
use bartizan_local::port::Head;
use bartizan_stream::Bytes;
use bartizan_stream::message::{CommandOutcome, PolicySet, Source};

use crate::Seed;
use crate::frames::{chain, seed};

const GUEST: Guest = Guest {
    vm: [5; 16],
    boot: 3,
};
const EPOCH: GuestEpoch = GuestEpoch {
    guest: GUEST,
    epoch: Epoch {
        policy: 4,
        state: 300,
    },
};

pub(crate) fn seeds() -> Vec<Seed> {
    [links(), flows(), ports(), states(), vec![stated()]].concat()
}

/// What an enclave states, one of each.
fn stated() -> Seed {
    let (set, guest) = (
        NonZeroU64::MIN,
        evidence::Guest {
            vm: [5; 16],
            boot: 3,
        },
    );
    let digest = Sha384::of(b"a set");
    let happened = [
        What::Started { set: None },
        What::InForce { set, digest },
        What::SetRefused {
            set,
            why: "older".into(),
        },
        What::Isolation {
            vm: [5; 16],
            isolated: true,
            order: set,
        },
        What::Trust {
            guest,
            taken_for: Taken::Affirming,
        },
        What::Denied {
            guest,
            decisions: set,
            by: "web/only".into(),
        },
    ];
    let evidence = Evidence {
        issued_at: NOW_S,
        card: FLEET.guest.card,
        statement: Statement {
            source: [9; 16],
            sequence: set,
            previous: Some(digest),
            events: happened.map(|what| Event { at: NOW_S, what }).into(),
            dropped: 0,
        },
    };
    ("evidence", "all", cbor::encode(&evidence))
}

/// What is sealed.
fn states() -> Vec<Seed> {
    let number = NonZeroU64::MIN;
    let first = State::new(Source([1; 16]));
    let signed = vec![
        Bytes::from_static(b"a policy"),
        Bytes::from_static(b"another"),
    ];
    let later = State {
        set: PolicySet::new(number, signed).ok(),
        command: Some(Command {
            number,
            outcome: CommandOutcome::Done,
        }),
        isolated: [[5; 16], [6; 16]].into(),
        next: NonZeroU64::MIN.saturating_add(1),
        previous: Some(Sha384::of(b"a piece")),
        waiting: vec![Bytes::from_static(b"a piece")],
        ..first.clone()
    };
    vec![
        ("sealed_state", "first", first.encode()),
        ("sealed_state", "later", later.encode()),
    ]
}

fn links() -> Vec<Seed> {
    let certify = ForCard::Certify {
        tls: vec![1; 8],
        evidence: vec![2; 8],
    };
    let certified = FromCard::Certified(EnclaveChains {
        tls: chain(),
        evidence: chain(),
    });
    let runs = ToEnclave::Runs(RunningGuest {
        guest: FLEET.guest,
        record: vec![3; 8],
        ordered_at_s: 1_700_000_000,
    });
    let machine = MachineState {
        since_s: Some(1_700_000_000),
        starts: 2,
        links: OpenLinks {
            card: true,
            ..OpenLinks::default()
        },
        use_of: Use {
            memory: Some(64 << 20),
            ..Use::default()
        },
    };
    let said = encode(&FromDevices::InForce(EPOCH));
    let told = encode(&ToDevices::Epoch(EPOCH));
    let store = ForCard::StoreState {
        number: 1,
        sealed: vec![4; 8],
    };
    let state = FromCard::State(StoredState {
        key: StateKey::new([7; 32]),
        record: None,
        sealed: Some(vec![4; 8].into()),
    });
    vec![
        seed(16, "enclave-load-state", &ForCard::LoadState),
        seed(16, "enclave-store-state", &store),
        seed(17, "enclave-state", &state),
        seed(17, "enclave-stored", &FromCard::Stored),
        seed(16, "enclave-certify", &certify),
        seed(17, "enclave-certified", &certified),
        seed(
            17,
            "enclave-uncertified",
            &FromCard::Refused(CardRefusal::NotEnrolled),
        ),
        seed(18, "enclave-runs", &runs),
        seed(18, "enclave-ended", &ToEnclave::Ended(FLEET.guest)),
        seed(18, "enclave-all-told", &ToEnclave::AllTold),
        seed(18, "enclave-of-devices", &ToEnclave::OfDevices(said.into())),
        seed(
            19,
            "enclave-for-devices",
            &FromEnclave::ForDevices(told.into()),
        ),
        seed(18, "enclave-ping", &ToEnclave::Ping),
        seed(19, "enclave-pong", &FromEnclave::Pong),
        seed(22, "enclave-machine", &machine),
    ]
}

fn flows() -> Vec<Seed> {
    let question = |peer, protocol, port, icmp_type| {
        FromDevices::Question(Question {
            number: 7,
            guest: GUEST,
            flow: Flow {
                direction: Direction::Egress,
                protocol,
                peer,
                port,
                icmp_type,
                outside: false,
            },
            since_s: 0,
        })
    };
    let tcp = question(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 6, Some(443), None);
    let icmp = question(IpAddr::V6(Ipv6Addr::LOCALHOST), 58, None, Some(128));
    let verdict = ToDevices::Verdict(Verdict {
        number: 7,
        guest: GUEST,
        epoch: EPOCH.epoch,
        allowed: true,
        allowed_unavailable: false,
        reason: "web/https".into(),
        width: Width {
            direction: Some(Direction::Egress),
            protocol: Some(6),
            peers: Some(Peers::V4(
                Ipv4Addr::new(10, 0, 0, 0),
                Ipv4Addr::new(10, 0, 0, 255),
            )),
            ports: Some((443, 443)),
            icmp_types: None,
            outside: None,
        },
        begin_within_s: Some(60),
    });
    let resolved = FromDevices::Resolved(Resolved {
        number: 8,
        guest: GUEST,
        resolver: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 53)),
        name: "db.example.com".into(),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))],
        ttl_s: 300,
        since_s: 0,
        guests: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))],
    });
    let resolvers = ToDevices::Resolvers(Resolvers {
        guest: GUEST,
        servers: vec![
            IpAddr::V4(Ipv4Addr::new(10, 0, 0, 53)),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ],
    });
    let noted = ToDevices::Noted(Noted {
        number: 8,
        guest: GUEST,
        anew: true,
    });
    let isolate = ToDevices::Isolate {
        guest: GUEST,
        isolated: true,
    };
    vec![
        seed(20, "flow-question-tcp", &tcp),
        seed(23, "flow-records", &records()),
        seed(23, "flow-packets", &packets()),
        seed(12, "flow-capture", &observe()),
        seed(20, "flow-question-icmp", &icmp),
        seed(20, "flow-in-force", &FromDevices::InForce(EPOCH)),
        seed(20, "flow-isolated", &FromDevices::Isolated([5; 16])),
        seed(21, "flow-verdict", &verdict),
        seed(21, "flow-epoch", &ToDevices::Epoch(EPOCH)),
        seed(21, "flow-isolate", &isolate),
        seed(20, "flow-resolved", &resolved),
        seed(21, "flow-resolvers", &resolvers),
        seed(21, "flow-noted", &noted),
    ]
}

/// The first byte says in which pieces they are read.
fn ports() -> Vec<Seed> {
    let data = |id, data: &[u8]| {
        let length = u16::try_from(data.len()).ok();
        let length = length.and_then(|length| length.try_into().ok());
        let head = length.map(|length| Head::Data(id, length).to_bytes());
        [head.unwrap_or_default().as_slice(), data].concat()
    };
    let connection = |id| {
        [
            Head::Open(id).to_bytes().as_slice(),
            &data(id, b"one"),
            &data(id, b"and another"),
            &Head::Close(id).to_bytes(),
        ]
        .concat()
    };
    let two = [vec![4], connection(1), connection(2)].concat();
    let late = [
        [9].as_slice(),
        &Head::Open(1).to_bytes(),
        &Head::Open(2).to_bytes(),
        &data(1, b"late"),
        &data(2, b"in time")[..9],
    ]
    .concat();
    vec![("port", "two", two), ("port", "late", late)]
}

fn records() -> Observed {
    let amount = Amount {
        packets: 3,
        bytes: 180,
    };
    let decision = Decision {
        allowed: true,
        rule: "web/https".into(),
        epoch: EPOCH.epoch,
    };
    Observed::Flows(vec![FlowRecord {
        flow: Flow {
            direction: Direction::Egress,
            protocol: 6,
            peer: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
            port: Some(443),
            icmp_type: None,
            outside: true,
        },
        local: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        begun_port: Some(40_000),
        began_ms: 1_795_325_061_999,
        last_ms: 1_795_325_062_999,
        sent: amount,
        received: amount,
        refused: 0,
        decision: Some(decision),
        end: Some(FlowEnd::Closed),
    }])
}

fn packets() -> Observed {
    Observed::Packets(vec![CapturedPacket {
        at_ns: 1_795_325_061_999_000_000,
        way: Direction::Ingress,
        length: 60,
        bytes: vec![7; 8],
    }])
}

fn observe() -> AdmissionRequest {
    let limits = CaptureLimits {
        packets: 100,
        bytes: 1 << 20,
        snap: 96,
        seconds: 60,
    };
    AdmissionRequest::Observe(Observe {
        guest: GUEST,
        filter: Filter {
            protocol: Some(6),
            addresses: Some(Peers::V6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST)),
            ports: Some((443, 443)),
        },
        what: Observation::Capture(limits),
    })
}
