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

/// All that a rule asks, of each field once; none where these are more than `most` fields.
pub(crate) fn of(rule: &Rule, most: usize) -> Option<Vec<(Field, Constraint<'_>)>> {
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
        What::Syscall(syscall) => of_syscall(syscall, &mut asked, most)?,
    }
    (asked.len() <= most).then_some(asked)
}

/// Most ranges of one rule that are looked at where it asks for the same argument more than once.
const MOST_RANGES: usize = 1 << 20;

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

/// Ends where there are too many: each argument is looked for among those before it.
///
/// Known attack: a long list of ranges, and the same argument again and again, each time to be put together with all of it.
fn of_syscall<'p>(syscall: &'p Syscall, asked: &mut Asked<'p>, most: usize) -> Option<()> {
    let mut left = MOST_RANGES;
    let calls = syscall.calls.as_deref();
    let calls = calls.map(|calls| singles(calls.iter().map(|call| call.0.into())));
    push(asked, Field::Call, calls);
    for argument in &syscall.arguments {
        if asked.len() > most {
            return None;
        }
        let field = Field::Argument(argument.index, argument.mask);
        let Constraint::Numbers(new) = numbers(&argument.values) else {
            continue;
        };
        // Both must hold.
        let same = asked.iter_mut().find(|(other, _)| *other == field);
        match same {
            Some((_, Constraint::Numbers(ranges))) => {
                left = left.checked_sub(ranges.len() + new.len())?;
                *ranges = common(ranges, &new);
            }
            _ => asked.push((field, Constraint::Numbers(new))),
        }
    }
    Some(())
}

/// What is in a range of each.
///
/// Known attack: two long lists of ranges that all overlap have as many pairs as their lengths' product. So each is put in order and made
/// one without overlaps before, and one pass over both does.
fn common(one: &[(u128, u128)], other: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let (one, other) = (apart(one), apart(other));
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    let mut common = Vec::new();
    while let (Some(one), Some(other)) = (ones.peek(), others.peek()) {
        let (first, last) = (one.0.max(other.0), one.1.min(other.1));
        if first <= last {
            common.push((first, last));
        }
        // Nothing more is in the one that ends before the other.
        if one.1 <= other.1 {
            ones.next();
        } else {
            others.next();
        }
    }
    common
}

/// The same numbers, in ranges that do not overlap, ascending.
fn apart(ranges: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut apart: Vec<(u128, u128)> = Vec::new();
    for (first, last) in sorted {
        match apart.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => apart.push((first, last)),
        }
    }
    apart
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
