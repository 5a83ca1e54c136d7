//! A rule as it is written: each kind has a field of its own, of which one is there.

use serde::{Deserialize, Serialize};

use super::{Action, Effect, Exec, File, Mode, Network, Rule, Subject, Syscall, What};

/// See [`Rule`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    #[serde(deserialize_with = "super::name::rule")]
    name: String,
    effect: Effect,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    priority: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_unavailable: Option<Effect>,
    /// What is done about what it denies; left out, as the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_violation: Option<Action>,
    #[serde(default)]
    subject: Subject,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exec: Option<Exec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<File>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<Network>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    syscall: Option<Syscall>,
}

/// It contradicts itself.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoRule {
    /// It is about none, or about several.
    #[error(
        "rule `{0}` is about {1} kinds of operation: give one of `exec`, `file`, `network`, `syscall`; `{{}}` after it means all of that kind"
    )]
    NotOneKind(String, usize),
    /// It denies, and would not while nobody can decide.
    #[error(
        "rule `{0}` denies, so that nothing of it can be allowed while nobody can decide: leave `on_unavailable` out"
    )]
    OpensUp(String),
    /// It allows, and has a violation.
    #[error("rule `{0}` allows, so that nothing violates it: leave `on_violation` out")]
    NoViolation(String),
}

impl TryFrom<Written> for Rule {
    type Error = NoRule;

    fn try_from(written: Written) -> Result<Self, NoRule> {
        let Written {
            name,
            effect,
            mode,
            priority,
            on_unavailable,
            on_violation,
            subject,
            exec,
            file,
            network,
            syscall,
        } = written;
        if (effect, on_unavailable) == (Effect::Deny, Some(Effect::Allow)) {
            return Err(NoRule::OpensUp(name));
        }
        if effect == Effect::Allow && on_violation.is_some() {
            return Err(NoRule::NoViolation(name));
        }
        let kinds = [
            exec.map(What::Exec),
            file.map(What::File),
            network.map(What::Network),
            syscall.map(What::Syscall),
        ];
        let mut kinds = kinds.into_iter().flatten();
        match (kinds.next(), kinds.count()) {
            (Some(what), 0) => Ok(Self {
                name,
                effect,
                mode,
                priority,
                on_unavailable,
                on_violation,
                subject,
                what,
            }),
            (None, _) => Err(NoRule::NotOneKind(name, 0)),
            (Some(_), more) => Err(NoRule::NotOneKind(name, 1 + more)),
        }
    }
}

impl From<Rule> for Written {
    fn from(rule: Rule) -> Self {
        let mut written = Self {
            name: rule.name,
            effect: rule.effect,
            mode: rule.mode,
            priority: rule.priority,
            on_unavailable: rule.on_unavailable,
            on_violation: rule.on_violation,
            subject: rule.subject,
            exec: None,
            file: None,
            network: None,
            syscall: None,
        };
        match rule.what {
            What::Exec(exec) => written.exec = Some(exec),
            What::File(file) => written.file = Some(file),
            What::Network(network) => written.network = Some(network),
            What::Syscall(syscall) => written.syscall = Some(syscall),
        }
        written
    }
}
