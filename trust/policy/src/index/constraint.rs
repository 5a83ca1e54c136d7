//! What a rule asks of a request's fields.

use super::field::{Field, number_of_access, number_of_direction};
use crate::document::{
    Cidr, Digest, Hosts, Network, PathPattern, Range, Rule, Subject, Syscall, What,
};

/// What a field must be: one of these.
#[derive(Clone, Debug)]
pub(crate) enum Constraint<'p> {
    Numbers(Vec<(u128, u128)>),
    Addresses(&'p [Cidr]),
    Paths(&'p [PathPattern]),
    Words(Vec<&'p str>),
    Digests(&'p [Digest]),
    Names(&'p [Hosts]),
}

/// All that a rule asks, of each field once.
pub(crate) fn of(rule: &Rule) -> Vec<(Field, Constraint<'_>)> {
    let mut asked = Vec::new();
    let Subject {
        executables,
        sha256,
        uids,
    } = &rule.subject;
    push(
        &mut asked,
        Field::Executable,
        executables.as_deref().map(Constraint::Paths),
    );
    push(
        &mut asked,
        Field::ExecutableSha256,
        sha256.as_deref().map(Constraint::Digests),
    );
    push(&mut asked, Field::Uid, uids.as_deref().map(numbers));
    match &rule.what {
        What::Exec(exec) => {
            push(
                &mut asked,
                Field::Program,
                exec.paths.as_deref().map(Constraint::Paths),
            );
            let sha256 = exec.sha256.as_deref().map(Constraint::Digests);
            push(&mut asked, Field::ProgramSha256, sha256);
        }
        What::File(file) => {
            push(
                &mut asked,
                Field::Path,
                file.paths.as_deref().map(Constraint::Paths),
            );
            let one = |access: &_| number_of_access(*access);
            let access = file
                .access
                .as_deref()
                .map(|list| singles(list.iter().map(one)));
            push(&mut asked, Field::Access, access);
        }
        What::Network(network) => of_network(network, &mut asked),
        What::Syscall(syscall) => of_syscall(syscall, &mut asked),
    }
    asked
}

type Asked<'p> = Vec<(Field, Constraint<'p>)>;

fn of_network<'p>(network: &'p Network, asked: &mut Asked<'p>) {
    let direction = network
        .direction
        .map(|one| singles([number_of_direction(one)].into_iter()));
    push(asked, Field::Direction, direction);
    let protocols = network.protocols.as_deref();
    let protocols =
        protocols.map(|list| singles(list.iter().map(|protocol| protocol.number().into())));
    push(asked, Field::Protocol, protocols);
    push(asked, Field::Port, network.ports.as_deref().map(numbers));
    push(
        asked,
        Field::IcmpType,
        network.icmp_types.as_deref().map(numbers),
    );
    let peer = &network.peer;
    push(
        asked,
        Field::Address,
        peer.addresses.as_deref().map(Constraint::Addresses),
    );
    push(
        asked,
        Field::PeerNames,
        peer.names.as_deref().map(Constraint::Names),
    );
    let roles = peer.roles.as_ref();
    let roles = roles.map(|roles| Constraint::Words(roles.iter().map(String::as_str).collect()));
    push(asked, Field::PeerRole, roles);
    for (key, value) in &peer.labels {
        let field = Field::PeerLabel(key.as_str().into());
        asked.push((field, Constraint::Words(vec![value])));
    }
}

fn of_syscall<'p>(syscall: &'p Syscall, asked: &mut Asked<'p>) {
    let calls = syscall.calls.as_deref();
    let calls = calls.map(|calls| singles(calls.iter().map(|call| call.0.into())));
    push(asked, Field::Call, calls);
    for argument in &syscall.arguments {
        let field = Field::Argument(argument.index, argument.mask);
        let Constraint::Numbers(new) = numbers(&argument.values) else {
            continue;
        };
        // Both must hold.
        let same = asked.iter_mut().find(|(other, _)| *other == field);
        match same {
            Some((_, Constraint::Numbers(ranges))) => *ranges = common(ranges, &new),
            _ => asked.push((field, Constraint::Numbers(new))),
        }
    }
}

/// What is in a range of each.
fn common(one: &[(u128, u128)], other: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let pairs = one
        .iter()
        .flat_map(|one| other.iter().map(move |other| (one, other)));
    let cut = pairs.map(|(one, other)| (one.0.max(other.0), one.1.min(other.1)));
    cut.filter(|(first, last)| first <= last).collect()
}

fn push<'p>(asked: &mut Asked<'p>, field: Field, constraint: Option<Constraint<'p>>) {
    asked.extend(constraint.map(|constraint| (field, constraint)));
}

fn numbers<'p, T: crate::document::Number>(ranges: &[Range<T>]) -> Constraint<'p> {
    Constraint::Numbers(ranges.iter().map(Range::bounds).collect())
}

fn singles<'p>(numbers: impl Iterator<Item = u128>) -> Constraint<'p> {
    Constraint::Numbers(numbers.map(|number| (number, number)).collect())
}
