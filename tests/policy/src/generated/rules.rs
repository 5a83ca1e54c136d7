//! Rules of every kind.

use std::fmt::Debug;
use std::str::FromStr;

use bartizan_policy::{
    Access, Action, Argument, Call, Digest, Effect, Exec, File, Index, Mode, Range, Rule, Subject,
    Syscall, What,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::network::network;
use super::words::{ARGUMENTS, CALLS, DIGESTS, MASKS, PATTERNS, UIDS};

pub(super) fn rule() -> impl Strategy<Value = Rule> {
    let mode = prop_oneof![3 => Just(Mode::Enforce), 1 => Just(Mode::Audit)];
    let priority = prop_oneof![8 => -1..2_i32, 1 => Just(i32::MIN), 1 => Just(i32::MAX)];
    let otherwise = (of(effect()), of(action()));
    (effect(), mode, priority, otherwise, subject(), what()).prop_map(
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

pub(super) fn effect() -> impl Strategy<Value = Effect> {
    select(&[Effect::Deny, Effect::Allow][..])
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    select(&[Action::Log, Action::Isolate, Action::Pause, Action::Kill][..])
}

/// Mostly any: else nothing matches.
fn subject() -> impl Strategy<Value = Subject> {
    let some = (of(parsed(&PATTERNS)), of(digests()), of(ranges(&UIDS)));
    let some = some.prop_map(|(executables, sha256, uids)| Subject {
        executables,
        sha256,
        uids,
    });
    prop_oneof![3 => Just(Subject::default()), 1 => some]
}

fn what() -> impl Strategy<Value = What> {
    let exec = (of(parsed(&PATTERNS)), of(digests()))
        .prop_map(|(paths, sha256)| What::Exec(Exec { paths, sha256 }));
    let accesses = &[Access::Read, Access::Write, Access::Create][..];
    let file = (of(parsed(&PATTERNS)), of(subsequence(accesses, 1..=3)))
        .prop_map(|(paths, access)| What::File(File { paths, access }));
    prop_oneof![
        1 => exec,
        1 => file,
        2 => network().prop_map(What::Network),
        1 => syscall().prop_map(What::Syscall),
    ]
}

fn syscall() -> impl Strategy<Value = Syscall> {
    let argument = (0..3_u8, select(&MASKS[..]), ranges(&ARGUMENTS));
    let argument = argument.prop_map(|(index, mask, values)| Argument {
        index: right(Index::try_from(index)),
        mask,
        values,
    });
    let calls = vec(select(&CALLS[..]).prop_map(Call), 1..3);
    (of(calls), vec(argument, 0..3)).prop_map(|(calls, arguments)| Syscall { calls, arguments })
}

fn digests() -> impl Strategy<Value = Vec<Digest>> {
    vec((0..DIGESTS).prop_map(|byte| Digest([byte; 32])), 1..3)
}

/// One or two of them.
pub(super) fn parsed<T>(texts: &'static [&str]) -> impl Strategy<Value = Vec<T>>
where
    T: FromStr<Err: Debug> + Debug,
{
    let parse = |texts: Vec<&str>| texts.iter().map(|text| right(text.parse())).collect();
    subsequence(texts, 1..=2).prop_map(parse)
}

/// Ranges from one of them to another, that may overlap.
pub(super) fn ranges<T>(numbers: &'static [T]) -> impl Strategy<Value = Vec<Range<T>>>
where
    T: Ord + Copy + Debug + Into<u64> + TryFrom<u64> + bartizan_policy::Number,
{
    let range = (select(numbers), select(numbers)).prop_map(|(one, other)| {
        let range = Range::new(one.min(other), one.max(other));
        right(range.ok_or("it ends before it begins"))
    });
    vec(range, 1..3)
}

/// What is written here is right.
#[expect(
    clippy::panic,
    reason = "a word of this crate that is none is a slip in it"
)]
pub(super) fn right<T, E: Debug>(made: Result<T, E>) -> T {
    match made {
        Ok(made) => made,
        Err(error) => panic!("{error:?}"),
    }
}
