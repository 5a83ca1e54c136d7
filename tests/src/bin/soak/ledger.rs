//! What the guests were told: every verdict, and why there was none.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bartizan_tests::operator::Operator;
use serde_json::Value;

/// Verdicts on a page of the verifier's list.
const PAGE: usize = 1000;

/// Shared by the guests' threads.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Book>);

#[derive(Default)]
pub(crate) struct Book {
    /// Verdict ids that a guest was told of, with their statuses.
    pub(crate) acknowledged: BTreeMap<String, String>,
    /// How often each status was told.
    pub(crate) statuses: BTreeMap<String, u64>,
    /// How often there was no verdict, by the problem's kind.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// What must never happen and did.
    pub(crate) wrong: Vec<String>,
}

impl Ledger {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it goes, for people.
    pub(crate) fn told(&self) -> String {
        let book = self.book();
        let refusals: u64 = book.refusals.values().sum();
        let wrong = book.wrong.len();
        format!(
            "verdicts {:?}, {refusals} refusals, {wrong} wrong",
            book.statuses
        )
    }
}

impl Book {
    /// A guest was told a verdict where `due` was.
    pub(crate) fn verdict(&mut self, id: &str, status: &str, due: &str, answer: &Value) {
        *self.statuses.entry(status.into()).or_default() += 1;
        self.acknowledged.insert(id.into(), status.into());
        if status != due {
            self.wrong
                .push(format!("`{status}` where `{due}` was due: {answer}"));
        }
    }

    /// A guest was refused; while nothing is killed that is wrong.
    pub(crate) fn refusal(&mut self, kind: &str, calm: bool, answer: &Value) {
        *self.refusals.entry(kind.into()).or_default() += 1;
        if calm {
            self.wrong.push(format!("refused in the calm: {answer}"));
        }
    }

    /// Acknowledged verdicts that the verifier does not list, or lists with another status.
    pub(crate) fn lost(&self, operator: &Operator) -> Result<Vec<String>> {
        let mut missing = self.acknowledged.clone();
        let limit = PAGE.to_string();
        let mut after: Option<String> = None;
        loop {
            let mut arguments = vec!["verdict", "list", "--limit", &limit];
            arguments.extend(after.iter().flat_map(|after| ["--after", after]));
            let page = operator.must(&arguments)?;
            let page = page.as_array().context("a list of verdicts")?;
            for verdict in page {
                let id = verdict["id"].as_str().context("a verdict has an id")?;
                if missing
                    .get(id)
                    .is_some_and(|status| verdict["status"] == **status)
                {
                    missing.remove(id);
                }
                after = Some(id.to_owned());
            }
            if page.len() < PAGE {
                return Ok(missing.into_keys().collect());
            }
        }
    }
}
