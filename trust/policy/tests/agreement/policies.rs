//! Policies over few values, so that rules meet.

use std::collections::BTreeMap;

use bartizan_policy::*;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use uuid::Uuid;

pub(crate) const PATHS: [&str; 9] = [
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/ab",
    "/a/",
    "/a//b",
    "/b/c/d/e",
    "relative/a",
];
const PATTERNS: [&str; 8] = [
    "/a", "/a/b", "/a/**", "/a/b/**", "/**", "/b/c/d/e", "/ab/**", "/b/**",
];
pub(crate) const NAMES: [&str; 7] = [
    "x.test",
    "a.x.test",
    "b.a.x.test",
    "y.test",
    "",
    ".x.test",
    "test",
];
const HOSTS: [&str; 6] = [
    "x.test",
    "*.x.test",
    "*.test",
    "y.test",
    "*.a.x.test",
    "test",
];
const NETWORKS: [&str; 10] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3",
    "0.0.0.0/0",
    "255.255.255.255",
    "::/0",
    "fd00::/8",
    "fd00::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "10.1.0.0/31",
];
pub(crate) const ROLES: [&str; 3] = ["web", "db", "other"];
pub(crate) const KEYS: [&str; 2] = ["env", "zone"];
pub(crate) const VALUES: [&str; 2] = ["one", "two"];

pub(crate) fn guest() -> impl Strategy<Value = Guest> {
    (0..3_u128, select(&ROLES[..]), labels(), trust()).prop_map(|(vm, role, labels, trust)| Guest {
        vm: Uuid::from_u128(vm),
        role: role.into(),
        labels,
        trust,
    })
}

pub(crate) fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let word = |words: &'static [&str]| select(words).prop_map(str::to_owned);
    btree_map(word(&KEYS), word(&VALUES), 0..2)
}

fn trust() -> impl Strategy<Value = Trust> {
    select(&[Trust::None, Trust::Affirming, Trust::Contraindicated][..])
}

pub(crate) fn policies() -> impl Strategy<Value = Vec<Policy>> {
    vec(policy(), 0..4).prop_map(|mut policies| {
        for (number, policy) in policies.iter_mut().enumerate() {
            policy.name = format!("policy-{number}");
        }
        policies.reverse();
        policies
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    // Now and then so many that sets are written as bits, over several words.
    let rules = prop_oneof![8 => vec(rule(), 0..12), 1 => vec(rule(), 100..300)];
    (selection(), defaults(), effect(), action(), rules).prop_map(
        |(select, defaults, on_unavailable, on_violation, mut rules)| {
            for (number, rule) in rules.iter_mut().enumerate() {
                rule.name = format!("rule-{number}");
            }
            Policy {
                version: 1,
                name: String::new(),
                serial: 1,
                select,
                defaults,
                on_unavailable,
                on_violation,
                resolvers: Some(vec![[10, 0, 0, 53].into()]),
                rules,
                thresholds: Vec::new(),
                integrity: Vec::new(),
            }
        },
    )
}

fn selection() -> impl Strategy<Value = Selection> {
    let vms = of(vec((0..3_u128).prop_map(Uuid::from_u128), 1..3));
    (vms, of(words(&ROLES)), labels(), of(vec(trust(), 1..3))).prop_map(
        |(vms, roles, labels, trust)| Selection {
            vms: vms.filter(|vms| vms.len() > 1),
            roles,
            labels: if labels.len() > 1 {
                labels
            } else {
                BTreeMap::new()
            },
            trust,
        },
    )
}

fn words(words: &'static [&str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(words, 1..=words.len())
        .prop_map(|words| words.into_iter().map(str::to_owned).collect())
}

fn effect() -> impl Strategy<Value = Effect> {
    select(&[Effect::Deny, Effect::Allow][..])
}

fn action() -> impl Strategy<Value = Action> {
    select(&[Action::Log, Action::Isolate, Action::Pause, Action::Kill][..])
}

fn defaults() -> impl Strategy<Value = Defaults> {
    (of(effect()), of(effect()), of(effect()), of(effect())).prop_map(
        |(exec, file, network, syscall)| Defaults {
            exec,
            file,
            network,
            syscall,
        },
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    let mode = prop_oneof![3 => Just(Mode::Enforce), 1 => Just(Mode::Audit)];
    let otherwise = (of(effect()), of(action()));
    (effect(), mode, -1..2_i32, otherwise, subject(), what()).prop_map(
        |(effect, mode, priority, (on_unavailable, on_violation), subject, what)| Rule {
            name: String::new(),
            effect,
            mode,
            priority,
            on_unavailable: on_unavailable.filter(|stated| *stated <= effect),
            on_violation: on_violation.filter(|_| effect == Effect::Deny),
            subject,
            what,
        },
    )
}

#[expect(clippy::unwrap_used, reason = "the texts are right")]
fn parsed<T>(texts: &'static [&str]) -> impl Strategy<Value = Vec<T>>
where
    T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug,
{
    subsequence(texts, 1..=2)
        .prop_map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect())
}

fn digests() -> impl Strategy<Value = Vec<Digest>> {
    vec((0..3_u8).prop_map(|byte| Digest([byte; 32])), 1..3)
}

macro_rules! ranges {
    ($name:ident, $number:ty, $most:expr) => {
        fn $name() -> impl Strategy<Value = Vec<Range<$number>>> {
            let number = prop_oneof![4 => 0 as $number..$most, 1 => Just(<$number>::MAX)];
            let range = (number.clone(), number)
                .prop_map(|(one, other): ($number, $number)| Range::new(one.min(other), one.max(other)).unwrap());
            vec(range, 1..3)
        }
    };
}
ranges!(uids, u32, 4);
ranges!(ports, u16, 6);
ranges!(types, u8, 4);
ranges!(arguments, u64, 6);

fn subject() -> impl Strategy<Value = Subject> {
    // Mostly none: else nothing matches.
    let some = (of(parsed(&PATTERNS)), of(digests()), of(uids()));
    let some = some.prop_map(|(executables, sha256, uids)| Subject {
        executables,
        sha256,
        uids,
    });
    prop_oneof![2 => Just(Subject::default()), 1 => some]
}

fn what() -> impl Strategy<Value = What> {
    let exec = (of(parsed(&PATTERNS)), of(digests()))
        .prop_map(|(paths, sha256)| What::Exec(Exec { paths, sha256 }));
    let access = of(subsequence(
        &[Access::Read, Access::Write, Access::Create][..],
        1..=3,
    ));
    let file = (of(parsed(&PATTERNS)), access)
        .prop_map(|(paths, access)| What::File(File { paths, access }));
    prop_oneof![
        exec,
        file,
        network().prop_map(What::Network),
        syscall().prop_map(What::Syscall)
    ]
}

fn network() -> impl Strategy<Value = Network> {
    let protocols = subsequence(
        &[
            Protocol::Tcp,
            Protocol::Udp,
            Protocol::Icmp,
            Protocol::Number(47),
        ][..],
        1..=2,
    );
    let direction = of(select(&[Direction::Ingress, Direction::Egress][..]));
    (direction, of(protocols), peer(), of(ports()), of(types())).prop_map(
        |(direction, protocols, peer, ports, icmp_types)| Network {
            direction,
            protocols,
            peer,
            ports,
            icmp_types,
        },
    )
}

fn peer() -> impl Strategy<Value = Peer> {
    (
        of(parsed(&NETWORKS)),
        of(words(&ROLES)),
        labels(),
        of(parsed(&HOSTS)),
    )
        .prop_map(|(addresses, roles, labels, names)| Peer {
            addresses,
            roles: roles.filter(|roles| roles.len() > 1),
            labels,
            names,
        })
}

#[expect(clippy::unwrap_used, reason = "the indices are")]
fn syscall() -> impl Strategy<Value = Syscall> {
    let mask = select(&[u64::MAX, 1, 2, 0xf0][..]);
    let argument = (0..3_u8, mask, arguments()).prop_map(|(index, mask, values)| Argument {
        index: index.try_into().unwrap(),
        mask,
        values,
    });
    let calls = vec((0..4_u32).prop_map(Call), 1..3);
    (of(calls), vec(argument, 0..3)).prop_map(|(calls, arguments)| Syscall { calls, arguments })
}
