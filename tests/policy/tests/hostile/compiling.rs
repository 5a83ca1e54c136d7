//! From a policy to its index.

use std::fmt::Write as _;

use bartizan_policy::{Compiled, Format, Guest, Policy, TooLarge, Trust, read};
use uuid::Uuid;

use crate::most_bytes;

/// Of an index, as much again while it is made, and what rules list, some times over.
const MOST: u64 = 96 << 20;

fn guest() -> Guest {
    Guest {
        vm: Uuid::nil(),
        role: "web".into(),
        labels: [].into(),
        trust: Trust::None,
    }
}

fn policy(rules: impl IntoIterator<Item = String>) -> Policy {
    named("a", "", rules)
}

fn named(name: &str, head: &str, rules: impl IntoIterator<Item = String>) -> Policy {
    let mut text = format!("version: 1\nname: {name}\nserial: 1\n{head}rules:\n");
    for (number, rule) in rules.into_iter().enumerate() {
        writeln!(text, "- {{name: r{number}, effect: allow, {rule}}}").unwrap();
    }
    read(&text, Format::Yaml).unwrap()
}

fn compiled(policies: &[Policy]) -> Result<Compiled, TooLarge> {
    let guest = guest();
    let (bytes, compiled) = most_bytes(|| Compiled::of(policies, &guest));
    assert!(bytes <= MOST, "{} MiB", bytes >> 20);
    compiled
}

fn refused(policies: &[Policy]) -> TooLarge {
    compiled(policies).map(drop).unwrap_err()
}

fn list(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect::<Vec<_>>().join(", ")
}

/// Two conditions on one argument: the numbers that are in a range of both.
#[test]
fn overlapping_values_of_one_argument() {
    let values = list(50_000, |number| format!("0-{number}"));
    let argument = format!("{{index: 0, values: [{values}]}}");
    let rule = format!("syscall: {{arguments: [{argument}, {argument}]}}");
    assert!(compiled(&[policy([rule])]).is_ok());
}

#[test]
fn more_values_than_there_may_be() {
    // A rule and its addresses: as much as one policy may say.
    let addresses = list((1 << 17) - 1, |number| {
        let [_, a, b, c] = u32::try_from(number).unwrap().to_be_bytes();
        format!("10.{a}.{b}.{c}")
    });
    let rule = |addresses| format!("network: {{peer: {{addresses: [{addresses}]}}}}");
    let most = policy([rule(addresses)]);
    let more = |addresses: &str| named("b", "", [rule(addresses.to_owned())]);
    assert!(compiled(&[most.clone(), more("11.0.0.0")]).is_ok());
    let refused = refused(&[most, more("11.0.0.0, 11.0.0.2")]);
    assert_eq!(refused, TooLarge::Values);
}

#[test]
fn more_masks_than_there_may_be() {
    let arguments = list(60_000, |mask| {
        format!("{{index: 0, mask: {mask}, values: [0]}}")
    });
    let rule = format!("syscall: {{arguments: [{arguments}]}}");
    assert_eq!(refused(&[policy([rule])]), TooLarge::Fields);
}

#[test]
fn more_labels_than_there_may_be() {
    let labels = list(60_000, |key| format!("k{key}: v"));
    let rule = format!("network: {{peer: {{labels: {{{labels}}}}}}}");
    assert_eq!(refused(&[policy([rule])]), TooLarge::Fields);
}

/// Paths of two thousand segments each.
#[test]
fn paths_of_nothing_but_slashes() {
    let path = |number: usize| format!("file: {{paths: [/{number}{}]}}", "/a".repeat(2000));
    assert_eq!(refused(&[policy((0..400).map(path))]), TooLarge::Index);
}

/// Each path is also in all folders: what is meant by those is not written anew for each.
#[test]
fn folders_of_everything() {
    let everything = (0..2000).map(|_| "file: {paths: [/**]}".to_owned());
    let paths = (0..2000).map(|number| format!("file: {{paths: [/d{number}/a/b/c]}}"));
    assert!(compiled(&[policy(everything.chain(paths))]).is_ok());
}

/// Ranges one in another make a set of rules at each edge.
#[test]
fn ranges_that_all_overlap() {
    let rule = |number: usize| {
        let last = 1_000_000 - number;
        format!("syscall: {{arguments: [{{index: 0, values: [{number}-{last}]}}]}}")
    };
    assert!(compiled(&[policy((0..2000).map(rule))]).is_ok());
    assert_eq!(refused(&[policy((0..20_000).map(rule))]), TooLarge::Index);
}

#[test]
fn more_rules_than_there_may_be() {
    let rules = || (0..40_000).map(|_| "exec: {}".to_owned());
    let policies = [named("a", "", rules()), named("b", "", rules())];
    assert_eq!(refused(&policies), TooLarge::Rules(80_000));
    assert!(compiled(&policies[..1]).is_ok());
}

/// Those that all policies trust are found without comparing each with each.
#[test]
fn resolvers_without_end() {
    let servers = list(100_000, |number| {
        let [_, a, b, c] = u32::try_from(number).unwrap().to_be_bytes();
        format!("10.{a}.{b}.{c}")
    });
    let head = format!("resolvers: [{servers}]\n");
    let policy = |name| {
        named(
            name,
            &head,
            ["network: {peer: {names: [a.test]}}".to_owned()],
        )
    };
    let compiled = compiled(&[policy("a"), policy("b"), policy("c")]).unwrap();
    assert_eq!(compiled.resolvers().len(), 100_000);
}
