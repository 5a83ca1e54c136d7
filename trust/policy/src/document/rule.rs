//! A rule as it is written: each kind has a field of its own, of which one is there.

use serde::{Deserialize, Serialize};

use super::{Action, Effect, Exec, File, Mode, Network, Rule, Subject, Syscall, What};

/// A rule: whom and what it is about, and whether that may be. Exactly one of `exec`, `file`, `network` and `syscall` is there; `{}` means all of the kind.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Written {
    /// Its name, one in its policy.
    #[serde(deserialize_with = "super::name::rule")]
    #[cfg_attr(test, schemars(regex(pattern = "^[A-Za-z0-9._-]{1,128}$")))]
    name: String,
    /// What becomes of what it matches.
    effect: Effect,
    /// Whether it decides.
    #[serde(default)]
    mode: Mode,
    /// The higher comes first.
    #[serde(default)]
    priority: i32,
    /// What becomes of what it matches while nobody can decide; left out, as the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_unavailable: Option<Effect>,
    /// What is done about what it denies; left out, as the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_violation: Option<Action>,
    /// The process; left out, any.
    #[serde(default)]
    subject: Subject,
    /// Programs that are executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exec: Option<Exec>,
    /// Files that are opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<File>,
    /// Flows that begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<Network>,
    /// System calls that are made.
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
