//! Rules in great number, that few requests match: those that do stand far behind in the order.

use std::ops::Range;

use bartizan_policy::{
    Argument, Effect, Exec, File, Index, Mode, Network, Peer, Range as Numbers, Rule, Subject,
    Syscall, What,
};
use proptest::prelude::*;

use super::rules::right;

/// So many.
pub(super) fn padding(counts: Range<u32>) -> impl Strategy<Value = Vec<Rule>> {
    (counts, any::<u32>(), 0..5_u8).prop_map(|(count, from, kind)| {
        let rule = |number| rule(from.wrapping_add(number), (kind < 4).then_some(kind));
        (0..count).map(rule).collect()
    })
}

/// Of one kind, or of each in turn.
fn rule(number: u32, kind: Option<u8>) -> Rule {
    let pattern = || vec![right(format!("/padding/{number}/**").parse())];
    let kind = kind.map_or(number % 4, u32::from);
    let port = u16::try_from(number % 20_000).unwrap_or(0) + 40_000;
    let what = match kind {
        0 => What::Exec(Exec {
            paths: Some(pattern()),
            sha256: None,
        }),
        1 => What::File(File {
            paths: Some(pattern()),
            access: None,
        }),
        2 => What::Network(Network {
            direction: None,
            protocols: None,
            peer: Peer::default(),
            ports: Numbers::new(port, port.saturating_add(2)).map(|range| vec![range]),
            icmp_types: None,
        }),
        _ => What::Syscall(Syscall {
            calls: None,
            arguments: vec![Argument {
                index: right(Index::try_from(5)),
                mask: u64::MAX,
                values: Vec::from_iter(Numbers::new(
                    1 << 40 | u64::from(number),
                    1 << 40 | u64::from(number),
                )),
            }],
        }),
    };
    Rule {
        name: String::new(),
        effect: if number & 1 == 0 {
            Effect::Deny
        } else {
            Effect::Allow
        },
        mode: Mode::Enforce,
        // Before most of the others.
        priority: 1,
        on_unavailable: None,
        on_violation: None,
        subject: Subject::default(),
        what,
    }
}
