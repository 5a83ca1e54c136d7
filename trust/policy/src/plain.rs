//! Decides as plainly as the language is described, rule by rule: slow, and the oracle of the compiled form's tests.

use std::cmp::Ordering;

use crate::decision::{Decided, Decision, RuleName};
use crate::document::{
    Action, Argument, Digest, Effect, Exec, File, Mode, Network, PathPattern, Peer, Policy, Range,
    Rule, Subject, Syscall, What,
};
use crate::guest::Guest;
use crate::request::{Flow, Known, MAX_NAMES, Operation, Process, Request};

/// Decides a request of a guest.
#[must_use]
pub fn decide<'p>(policies: &'p [Policy], guest: &Guest, request: &Request<'_>) -> Decision<'p> {
    let selecting = policies
        .iter()
        .filter(|policy| policy.select.includes(guest));
    let selecting: Vec<&Policy> = selecting.collect();
    if selecting.is_empty() {
        return Decision::NO_POLICY;
    }
    let kind = request.operation.kind();
    let matching = all(&selecting, request);
    let audited = matching.first();
    let audited = audited.filter(|matching| matching.rule.mode == Mode::Audit);
    let audited = audited.map(|matching| (matching.name(), matching.rule.effect));
    let mut enforced = matching.iter();
    if let Some(decides) = enforced.find(|matching| matching.rule.mode == Mode::Enforce) {
        let effect = decides.rule.effect;
        let stated = decides.rule.on_unavailable;
        let stated = stated.unwrap_or(decides.policy.on_unavailable);
        return Decision {
            effect,
            unavailable: both(effect, stated),
            violation: match (effect, decides.rule.on_violation) {
                (Effect::Allow, _) => None,
                (Effect::Deny, Some(action)) => Some(action),
                (Effect::Deny, None) => Some(decides.policy.on_violation),
            },
            by: Decided::Rule(decides.name()),
            audited,
        };
    }
    let stated = selecting.iter();
    let stated: Vec<_> = stated
        .filter_map(|policy| policy.defaults.of(kind))
        .collect();
    let effect = if stated.is_empty() || stated.contains(&Effect::Deny) {
        Effect::Deny
    } else {
        Effect::Allow
    };
    let mut violation = Action::Log;
    for policy in &selecting {
        if policy.defaults.of(kind) == Some(Effect::Deny) {
            violation = violation.max(policy.on_violation);
        }
    }
    let unavailable = selecting.iter().map(|policy| policy.on_unavailable);
    Decision {
        effect,
        unavailable: unavailable.fold(effect, both),
        violation: (effect == Effect::Deny).then_some(violation),
        by: Decided::Default(kind),
        audited,
    }
}

/// The rules that match a request of a guest, the first one first, for who asks why it was decided so.
#[must_use]
pub fn matching<'p>(
    policies: &'p [Policy],
    guest: &Guest,
    request: &Request<'_>,
) -> Vec<(RuleName<'p>, &'p Rule)> {
    let selecting = policies
        .iter()
        .filter(|policy| policy.select.includes(guest));
    let matching = all(&selecting.collect::<Vec<_>>(), request);
    let named = matching
        .iter()
        .map(|matching| (matching.name(), matching.rule));
    named.collect()
}

/// The rules that match, in their order.
fn all<'p>(policies: &[&'p Policy], request: &Request<'_>) -> Vec<Matching<'p>> {
    let mut matching = Vec::new();
    for policy in policies {
        for (place, rule) in policy.rules.iter().enumerate() {
            if rule.what.kind() == request.operation.kind() && applies(rule, request) {
                matching.push(Matching {
                    policy,
                    place,
                    rule,
                });
            }
        }
    }
    matching.sort_by(Matching::order);
    matching
}

/// A rule that matches, with its place in its policy.
#[derive(Clone, Copy)]
struct Matching<'p> {
    policy: &'p Policy,
    place: usize,
    rule: &'p Rule,
}

impl<'p> Matching<'p> {
    /// The first comes first.
    fn order(&self, other: &Self) -> Ordering {
        let denies = |matching: &Self| matching.rule.effect == Effect::Deny;
        let priority = other.rule.priority.cmp(&self.rule.priority);
        priority
            .then(denies(other).cmp(&denies(self)))
            .then(self.policy.name.cmp(&other.policy.name))
            .then(self.place.cmp(&other.place))
    }

    fn name(&self) -> RuleName<'p> {
        RuleName {
            policy: &self.policy.name,
            rule: &self.rule.name,
        }
    }
}

/// Allowed where both allow.
fn both(one: Effect, other: Effect) -> Effect {
    match (one, other) {
        (Effect::Allow, Effect::Allow) => Effect::Allow,
        _ => Effect::Deny,
    }
}

/// Whether a field holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holds {
    No,
    /// What it would be compared with is not known.
    Unknown,
    Yes,
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

fn applies(rule: &Rule, request: &Request<'_>) -> bool {
    let subject = subject(&rule.subject, &request.process);
    let what = match (&rule.what, &request.operation) {
        (What::Exec(exec), Operation::Exec { path, sha256 }) => programs(exec, path, *sha256),
        (What::File(file), Operation::File { path, access }) => {
            let File {
                paths,
                access: accesses,
            } = file;
            listed(paths.as_ref(), Some(path), |pattern: &PathPattern, path| {
                pattern.matches(path)
            })
            .min(listed(accesses.as_ref(), Some(access), |one, access| {
                one == access
            }))
        }
        (What::Network(network), Operation::Network(flow)) => flows(network, flow),
        (What::Syscall(syscall), Operation::Syscall { number, arguments }) => {
            calls(syscall, *number, arguments)
        }
        _ => Holds::No,
    };
    match subject.min(what) {
        Holds::Yes => true,
        Holds::Unknown => rule.effect == Effect::Deny,
        Holds::No => false,
    }
}

/// Whether one of a list is it; a list that was left out is of everything.
fn listed<L, T: Copy>(list: Option<&Vec<L>>, it: Known<T>, is: impl Fn(&L, T) -> bool) -> Holds {
    let Some(list) = list else {
        return Holds::Yes;
    };
    it.map_or(Holds::Unknown, |it| {
        list.iter().any(|one| is(one, it)).into()
    })
}

fn subject(subject: &Subject, process: &Process<'_>) -> Holds {
    let path = |pattern: &PathPattern, path: &str| pattern.matches(path);
    let uid = |range: &Range<u32>, uid| range.contains(uid);
    listed(subject.executables.as_ref(), process.executable, path)
        .min(listed(subject.sha256.as_ref(), process.sha256, is_digest))
        .min(listed(subject.uids.as_ref(), process.uid, uid))
}

fn is_digest(digest: &Digest, bytes: &[u8; 32]) -> bool {
    digest.0 == *bytes
}

fn programs(exec: &Exec, path: &str, sha256: Known<&[u8; 32]>) -> Holds {
    let pattern = |pattern: &PathPattern, path: &str| pattern.matches(path);
    listed(exec.paths.as_ref(), Some(path), pattern).min(listed(
        exec.sha256.as_ref(),
        sha256,
        is_digest,
    ))
}

fn flows(network: &Network, flow: &Flow<'_>) -> Holds {
    let direction = network
        .direction
        .is_none_or(|direction| direction == flow.direction);
    let of = |ports: &Range<u16>, port: Option<u16>| port.is_some_and(|port| ports.contains(port));
    let types = |types: &Range<u8>, one: Option<u8>| one.is_some_and(|one| types.contains(one));
    Holds::from(direction)
        .min(listed(
            network.protocols.as_ref(),
            Some(flow.protocol),
            |one, protocol| one.number() == protocol,
        ))
        .min(listed(network.ports.as_ref(), Some(flow.port), of))
        .min(listed(
            network.icmp_types.as_ref(),
            Some(flow.icmp_type),
            types,
        ))
        .min(peers(&network.peer, flow))
}

fn peers(peer: &Peer, flow: &Flow<'_>) -> Holds {
    let roles = listed(peer.roles.as_ref(), flow.guest, |role, guest| {
        guest.is_some_and(|guest| guest.role == role)
    });
    let label = |(key, value): (&String, &String)| match flow.guest {
        None => Holds::Unknown,
        Some(None) => Holds::No,
        Some(Some(guest)) => (guest.labels.get(key) == Some(value)).into(),
    };
    let labels = peer.labels.iter().map(label).min().unwrap_or(Holds::Yes);
    let names = Some(flow.names).filter(|names| names.len() <= MAX_NAMES);
    let names = listed(peer.names.as_ref(), names, |hosts, names| {
        names.iter().any(|name| hosts.matches(name))
    });
    listed(
        peer.addresses.as_ref(),
        Some(flow.address),
        |cidr, address| cidr.contains(address),
    )
    .min(roles)
    .min(labels)
    .min(names)
}

fn calls(syscall: &Syscall, number: u32, arguments: &[u64; 6]) -> Holds {
    let holds = |argument: &Argument| {
        let bits = argument.index.of(arguments) & argument.mask;
        Holds::from(argument.values.iter().any(|range| range.contains(bits)))
    };
    let arguments = syscall.arguments.iter().map(holds).min();
    listed(syscall.calls.as_ref(), Some(number), |call, number| {
        call.0 == number
    })
    .min(arguments.unwrap_or(Holds::Yes))
}
