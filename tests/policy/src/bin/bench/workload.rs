//! Rules as a fleet of services has them, and requests of them: the same for every engine, each of which gets them as its users would
//! write them.
//!
//! Of ten rules six are of flows, two of files, two of programs; one in ten denies. All have one priority, so that a rule that denies comes
//! before those that allow, and what no rule matches is denied, as it is in Cedar.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use bartizan_policy::{Access, Direction, Flow, Guest, Operation, Process, Request, Trust};
use uuid::Uuid;

/// Requests of each number of rules.
pub(crate) const REQUESTS: usize = 512;

/// The policy that they are written in.
pub(crate) const POLICY: &str = "services";
pub(crate) const ROLE: &str = "web";

/// A rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) denies: bool,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Flows to or from a network.
    Flow {
        direction: Direction,
        tcp: bool,
        network: (Ipv4Addr, u8),
        ports: [u16; 2],
    },
    /// Files below a folder, or the one.
    File {
        path: String,
        below: bool,
        access: Vec<Access>,
    },
    /// A program, by some users.
    Exec { path: String, uids: [u32; 2] },
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Flow {
        direction: Direction,
        tcp: bool,
        address: Ipv4Addr,
        port: u16,
    },
    File {
        path: String,
        access: Access,
    },
    Exec {
        path: String,
        uid: u32,
    },
}

pub(crate) const fn named_direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

pub(crate) const fn named_access(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
        Access::Create => "create",
    }
}

pub(crate) const fn named_protocol(tcp: bool) -> &'static str {
    if tcp { "tcp" } else { "udp" }
}

/// So many rules.
pub(crate) fn rules(count: u32) -> Vec<Rule> {
    (0..count).map(rule).collect()
}

fn rule(number: u32) -> Rule {
    let [_, _, high, low] = number.to_be_bytes();
    let (denies, what) = match number % 10 {
        kind @ 0..6 => {
            let denies = kind == 5;
            // What denies does so of sixteen of the networks.
            let network = if denies {
                (Ipv4Addr::new(10, high, low & 0xf0, 0), 20)
            } else {
                (Ipv4Addr::new(10, high, low, 0), 24)
            };
            let port = 8000 + u16::from(low) % 50;
            let what = What::Flow {
                direction: if number.is_multiple_of(2) {
                    Direction::Egress
                } else {
                    Direction::Ingress
                },
                tcp: !number.is_multiple_of(3),
                network,
                ports: [port, port + 1],
            };
            (denies, what)
        }
        kind @ 6..8 => {
            // The one that denies is in the folder of the one before it.
            let denies = kind == 7 && number.is_multiple_of(3);
            let what = What::File {
                path: if denies {
                    format!("/srv/app{}/secret", number - 1)
                } else {
                    format!("/srv/app{number}")
                },
                below: !denies,
                access: vec![Access::Read, Access::Write],
            };
            (denies, what)
        }
        _ => {
            let what = What::Exec {
                path: format!("/opt/app{number}/bin/serve"),
                uids: [33, 1000 + number % 7],
            };
            (false, what)
        }
    };
    Rule {
        name: format!("rule-{number}"),
        denies,
        what,
    }
}

/// The policy's text.
pub(crate) fn yaml(rules: &[Rule]) -> String {
    let mut text =
        format!("version: 1\nname: {POLICY}\nserial: 1\nselect: {{roles: [{ROLE}]}}\nrules:\n");
    for Rule { name, denies, what } in rules {
        let effect = if *denies { "deny" } else { "allow" };
        let what = match what {
            What::Flow {
                direction,
                tcp,
                network: (address, prefix),
                ports: [one, other],
            } => format!(
                "network: {{direction: {}, protocols: [{}], peer: {{addresses: [{address}/{prefix}]}}, ports: [{one}, {other}]}}",
                named_direction(*direction),
                named_protocol(*tcp)
            ),
            What::File {
                path,
                below,
                access,
            } => {
                let access: Vec<_> = access.iter().map(|one| named_access(*one)).collect();
                let below = if *below { "/**" } else { "" };
                format!(
                    "file: {{paths: [{path}{below}], access: [{}]}}",
                    access.join(", ")
                )
            }
            What::Exec {
                path,
                uids: [one, other],
            } => {
                format!("subject: {{uids: [{one}, {other}]}}\n    exec: {{paths: [{path}]}}")
            }
        };
        // To a string it cannot fail.
        let _written = writeln!(text, "  - name: {name}\n    effect: {effect}\n    {what}");
    }
    text
}

/// The guest that asks.
pub(crate) fn guest() -> Guest {
    Guest {
        vm: Uuid::nil(),
        role: ROLE.into(),
        labels: [].into(),
        trust: Trust::Affirming,
    }
}

/// Requests of rules, in no order: three of four match one, but for what another one denies.
pub(crate) fn requests(rules: &[Rule]) -> Vec<Asked> {
    let mut state = 1_u64;
    let mut draw = move |below: usize| {
        // Knuth's MMIX constants: any order will do.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % below.max(1)
    };
    let mut one = || {
        let rule = rules.get(draw(rules.len()))?;
        let misses = draw(4) == 0;
        Some(match &rule.what {
            What::Flow {
                direction,
                tcp,
                network: (address, _),
                ports,
            } => {
                let [a, b, c, _] = address.octets();
                Asked::Flow {
                    direction: *direction,
                    tcp: *tcp,
                    address: Ipv4Addr::new(a, b, c, u8::try_from(draw(256)).unwrap_or(0)),
                    port: if misses { 22 } else { ports[draw(2)] },
                }
            }
            What::File {
                path,
                below,
                access,
            } => Asked::File {
                path: match (misses, below) {
                    (true, _) => format!("{path}.old/file"),
                    (false, true) => format!("{path}/data/file{}", draw(100)),
                    (false, false) => path.clone(),
                },
                access: access[draw(access.len())],
            },
            What::Exec { path, uids } => Asked::Exec {
                path: path.clone(),
                uid: if misses { 0 } else { uids[draw(2)] },
            },
        })
    };
    (0..REQUESTS).filter_map(|_| one()).collect()
}

impl Asked {
    /// As it is decided here.
    pub(crate) fn request(&self) -> Request<'_> {
        let mut process = Process::default();
        let operation = match self {
            Self::Flow {
                direction,
                tcp,
                address,
                port,
            } => Operation::Network(Flow {
                direction: *direction,
                protocol: if *tcp { 6 } else { 17 },
                address: (*address).into(),
                port: Some(*port),
                icmp_type: None,
                guest: Some(None),
                names: &[],
            }),
            Self::File { path, access } => Operation::File {
                path,
                access: *access,
            },
            Self::Exec { path, uid } => {
                process.uid = Some(*uid);
                Operation::Exec { path, sha256: None }
            }
        };
        Request { process, operation }
    }
}
