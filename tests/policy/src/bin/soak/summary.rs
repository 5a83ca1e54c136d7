//! What came of it, for programs and for people.

use std::collections::BTreeMap;
use std::fmt;

use bartizan_policy::{Action, Decided, Decision, Effect, Operation, Policy};
use bartizan_policy_tests::Owned;
use serde::Serialize;

use crate::drawn::Trial;

/// What a soak is about: each of these is to be there, else it shows less than it says.
const WANTED: [&str; 16] = [
    "exec",
    "file",
    "network",
    "syscall",
    "IPv6",
    "by a rule",
    "by a default",
    "by no policy",
    "allowed",
    "denied",
    "allowed while nobody can decide",
    "denied then alone",
    "in audit otherwise",
    "violation log",
    "violation kill",
    "flows by their width",
];

/// After how many sets of policies all of that is to be there.
const LONG: u64 = 250;

#[derive(Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) ok: bool,
    pub(crate) seed: u64,
    /// Pairs of policies and a request that were decided alike.
    pub(crate) pairs: u64,
    pub(crate) seconds: f64,
    /// Sets of policies, and the rules of all of them.
    pub(crate) sets: u64,
    pub(crate) rules: u64,
    pub(crate) most_rules: usize,
    /// What was decided how often.
    pub(crate) decided: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
}

/// What does not hold, as small as it was found.
#[derive(Serialize)]
pub(crate) struct Failure {
    /// What its set of policies is drawn from.
    pub(crate) seed: u64,
    pub(crate) says: String,
    pub(crate) policies: Vec<Policy>,
    pub(crate) guest: serde_json::Value,
    pub(crate) request: Option<Owned>,
}

impl Summary {
    pub(crate) fn policies(&mut self, policies: &[Policy]) {
        let rules = policies.iter().map(|policy| policy.rules.len()).sum();
        self.sets += 1;
        self.rules += rules as u64;
        self.most_rules = self.most_rules.max(rules);
    }

    pub(crate) fn pair(&mut self, trial: &Trial, decision: &Decision<'_>) {
        self.pairs += 1;
        let (kind, v6) = trial.one.with(|request| {
            let v6 = match &request.operation {
                Operation::Network(flow) => flow.address.is_ipv6(),
                _ => false,
            };
            (request.operation.kind(), v6)
        });
        let allows = |effect| effect == Effect::Allow;
        let (now, then) = (allows(decision.effect), allows(decision.unavailable));
        let violation = decision.violation.map(|action| match action {
            Action::Log => "violation log",
            Action::Isolate => "violation isolate",
            Action::Pause => "violation pause",
            Action::Kill => "violation kill",
        });
        let by = match decision.by {
            Decided::Rule(_) => "by a rule",
            Decided::Default(_) => "by a default",
            Decided::NoPolicy => "by no policy",
        };
        let all = [
            Some(kind.name()),
            v6.then_some("IPv6"),
            Some(by),
            Some(if now { "allowed" } else { "denied" }),
            then.then_some("allowed while nobody can decide"),
            (now && !then).then_some("denied then alone"),
            decision.audited.map(|_| "in audit otherwise"),
            violation,
            trial.facts.as_ref().map(|_| "flows by their width"),
        ];
        all.into_iter().flatten().for_each(|what| self.count(what));
    }

    fn count(&mut self, what: &str) {
        match self.decided.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.decided.insert(what.to_owned(), 1)),
        }
    }

    /// What is to be there and is not; a short run need not have all.
    pub(crate) fn lacking(&self) -> impl Iterator<Item = &'static str> {
        let long = self.sets >= LONG;
        let lacks = move |what: &&str| long && !self.decided.contains_key(*what);
        WANTED.into_iter().filter(lacks)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nseed {}: {} pairs in {:.0} s, of {} sets of policies with {} rules (at most {})",
            self.seed, self.pairs, self.seconds, self.sets, self.rules, self.most_rules
        )?;
        for (what, count) in &self.decided {
            writeln!(f, "  {count:>9}  {what}")?;
        }
        if let Some(failure) = &self.failure {
            writeln!(f, "\u{2717} {}", failure.says)?;
            writeln!(f, "policies: {}", json(&failure.policies))?;
            writeln!(f, "guest: {}", json(&failure.guest))?;
            writeln!(f, "request: {}", json(&failure.request))?;
            writeln!(f, "repeat with --seed {} --pairs 1", failure.seed)?;
        }
        for what in self.lacking() {
            writeln!(f, "\u{2717} nothing was: {what}")?;
        }
        f.write_str(if self.ok {
            "\u{2713} all were decided alike\n"
        } else {
            "NOT all were decided alike\n"
        })
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
