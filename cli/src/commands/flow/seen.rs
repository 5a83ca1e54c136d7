//! A flow as people and programs see it; pure.

use std::net::{IpAddr, SocketAddr};

use bartizan_attestation::host::FlowShown;
use serde_json::{Value, json};

use super::which;
use crate::utc::utc;

/// For people.
#[derive(Debug)]
pub(super) struct Line {
    began: String,
    protocol: String,
    from: String,
    to: String,
    sent: String,
    received: String,
    refused: String,
    verdict: String,
    rule: String,
    state: String,
}

impl Line {
    pub(super) const COLUMNS: [&str; 10] = [
        "began", "state", "protocol", "from", "to", "sent", "received", "refused", "verdict",
        "rule",
    ];

    pub(super) fn of(flow: &FlowShown) -> Self {
        let [from, to] = ends(flow);
        Self {
            began: utc(flow.began_ms),
            protocol: protocol(flow),
            from,
            to,
            sent: amount(flow.sent),
            received: amount(flow.received),
            refused: match flow.refused {
                0 => "-".into(),
                refused => refused.to_string(),
            },
            verdict: verdict(flow).into(),
            rule: flow
                .decision
                .as_ref()
                .map_or_else(|| "-".into(), |decision| decision.rule.clone()),
            state: state(flow).into(),
        }
    }

    pub(super) fn cells(self) -> [String; 10] {
        [
            self.began,
            self.state,
            self.protocol,
            self.from,
            self.to,
            self.sent,
            self.received,
            self.refused,
            self.verdict,
            self.rule,
        ]
    }
}

/// Cells of a line among others that are not known yet.
pub(super) fn watched(cells: &[String; 10]) -> String {
    let [
        began,
        state,
        protocol,
        from,
        to,
        sent,
        received,
        refused,
        verdict,
        rule,
    ] = cells;
    let line = format!(
        "{began:<20}  {state:<9}  {protocol:<8}  {from:<21}  {to:<21}  {sent:<15}  {received:<15}  {refused:<7}  {verdict:<9}  {rule}"
    );
    line.trim_end().to_owned()
}

/// For programs.
pub(super) fn row(flow: &FlowShown) -> Value {
    let amount = |(packets, bytes): (u64, u64)| json!({ "packets": packets, "bytes": bytes });
    json!({
        "direction": if flow.by_guest { "egress" } else { "ingress" },
        "protocol": flow.protocol,
        "local": flow.local,
        "peer": flow.peer,
        "begun_port": flow.begun_port,
        "port": flow.port,
        "icmp_type": flow.icmp_type,
        "outside": flow.outside,
        "began_ms": flow.began_ms,
        "last_ms": flow.last_ms,
        "sent": amount(flow.sent),
        "received": amount(flow.received),
        "refused_packets": flow.refused,
        "allowed": flow.decision.as_ref().map(|decision| decision.allowed),
        "rule": flow.decision.as_ref().map(|decision| &decision.rule),
        "policy_epoch": flow.decision.as_ref().map(|decision| decision.policy_epoch),
        "state_epoch": flow.decision.as_ref().map(|decision| decision.state_epoch),
        "ended": flow.end.map(|end| end.word()),
    })
}

/// From whoever began it to whoever did not.
fn ends(flow: &FlowShown) -> [String; 2] {
    let (from, to) = if flow.by_guest {
        (flow.local, flow.peer)
    } else {
        (flow.peer, flow.local)
    };
    let of = |address: IpAddr, port: Option<u16>| match port {
        Some(port) => SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    };
    [of(from, flow.begun_port), of(to, flow.port)]
}

fn protocol(flow: &FlowShown) -> String {
    let name = which::name(flow.protocol);
    match flow.icmp_type {
        Some(kind) => format!("{name} {kind}"),
        None => name,
    }
}

const fn verdict(flow: &FlowShown) -> &'static str {
    match &flow.decision {
        Some(decision) if decision.allowed => "allowed",
        Some(_) => "denied",
        None => "undecided",
    }
}

/// Why it is over, or how it is.
const fn state(flow: &FlowShown) -> &'static str {
    match (flow.end, &flow.decision) {
        (Some(end), _) => end.word(),
        (None, Some(decision)) if decision.allowed => "live",
        (None, Some(_)) => "denied",
        (None, None) => "waiting",
    }
}

fn amount((packets, size): (u64, u64)) -> String {
    match packets {
        0 => "-".into(),
        _ => format!("{packets} / {}", bytes(size)),
    }
}

/// A number of bytes, in three digits or so.
pub(super) fn bytes(size: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if size < 1000 {
        return format!("{size} B");
    }
    let (mut whole, mut rest) = (size, 0);
    let mut unit = UNITS[0];
    for next in UNITS {
        if whole < 1000 {
            break;
        }
        (whole, rest) = (whole / 1000, whole % 1000);
        unit = next;
    }
    if whole < 100 {
        format!("{whole}.{} {unit}", rest / 100)
    } else {
        format!("{whole} {unit}")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bartizan_attestation::host::{FlowDecision, FlowEnd};

    use super::*;

    pub(in super::super) fn flow() -> FlowShown {
        FlowShown {
            by_guest: true,
            protocol: 6,
            local: "10.77.0.2".parse().unwrap(),
            peer: "10.77.0.1".parse().unwrap(),
            begun_port: Some(40_000),
            port: Some(80),
            icmp_type: None,
            outside: false,
            began_ms: 1_795_325_061_999,
            last_ms: 1_795_325_062_999,
            sent: (12, 3_456),
            received: (0, 0),
            refused: 0,
            decision: Some(FlowDecision {
                allowed: true,
                rule: "net/ask".into(),
                policy_epoch: 7,
                state_epoch: 1,
            }),
            end: None,
        }
    }

    #[test]
    fn a_flow_is_a_line_from_who_began_it_to_who_did_not() {
        let cells = Line::of(&flow()).cells();
        let expected = [
            "2026-11-22T05:24:21Z",
            "live",
            "tcp",
            "10.77.0.2:40000",
            "10.77.0.1:80",
            "12 / 3.4 kB",
            "-",
            "-",
            "allowed",
            "net/ask",
        ];
        assert_eq!(cells, expected);
        let asked = FlowShown {
            by_guest: false,
            local: "fd00::2".parse().unwrap(),
            peer: "fd00::1".parse().unwrap(),
            refused: 3,
            decision: None,
            end: Some(FlowEnd::Undecided),
            ..flow()
        };
        let cells = Line::of(&asked).cells();
        assert_eq!(cells[3..5], ["[fd00::1]:40000", "[fd00::2]:80"]);
        assert_eq!(cells[1], "undecided");
        assert_eq!(cells[7..], ["3", "undecided", "-"]);
        let echo = FlowShown {
            protocol: 1,
            icmp_type: Some(8),
            begun_port: None,
            port: None,
            ..flow()
        };
        let cells = Line::of(&echo).cells();
        assert_eq!(cells[2..5], ["icmp 8", "10.77.0.2", "10.77.0.1"]);
    }

    #[test]
    fn programs_get_all_of_it() {
        let row = row(&flow());
        assert_eq!(row["direction"], "egress");
        assert_eq!(row["sent"]["bytes"], 3_456);
        assert_eq!(row["rule"], "net/ask");
        assert_eq!(row["policy_epoch"], 7);
        assert_eq!(row["ended"], Value::Null);
        assert_eq!(row.as_object().unwrap().len(), 18);
    }

    #[test]
    fn sizes_are_short() {
        for (size, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (99_999, "99.9 kB"),
            (100_000, "100 kB"),
            (1_500_000, "1.5 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }
}
