//! RUNBOOKS.md, carried out with the very commands that it gives.

use std::collections::VecDeque;

use anyhow::{Context, Result, ensure};
use bartizan_tests::accounts::Account;
use bartizan_tests::operator::{Operator, Ran};
use serde_json::Value;

pub(super) const RUNBOOKS: &str = include_str!("../../../../RUNBOOKS.md");
const BARTIZAN: &str = "bartizan ";

/// A section's commands that are not done yet.
pub(crate) struct Runbook<'o> {
    operator: &'o Operator,
    commands: VecDeque<&'static str>,
}

impl<'o> Runbook<'o> {
    /// Carries out the section, or the one within a section, with this title: to its end, or it is a failure.
    pub(crate) fn carried_out<T>(
        title: &str,
        operator: &'o Operator,
        carry_out: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let commands = commands(title)?;
        let mut book = Self { operator, commands };
        let done = carry_out(&mut book)?;
        ensure!(book.commands.is_empty(), "not done: {:?}", book.commands);
        Ok(done)
    }

    /// What is left is for another operator to do.
    pub(crate) const fn by(&mut self, operator: &'o Operator) {
        self.operator = operator;
    }

    /// Carries out the next command, which must begin so and be done.
    pub(crate) fn must(&mut self, begins: &str, names: &[(&str, &str)]) -> Result<Value> {
        let words = self.next(begins, names)?;
        done(begins, self.operator.run(&borrowed(&words))?)
    }

    /// The same as another user of the machine, with some standard input.
    pub(crate) fn must_as(
        &mut self,
        user: Account,
        input: &str,
        begins: &str,
        names: &[(&str, &str)],
    ) -> Result<Value> {
        let words = self.next(begins, names)?;
        let ran = self.operator.run_as(user, &borrowed(&words), input);
        done(begins, ran?)
    }

    fn next(&mut self, begins: &str, names: &[(&str, &str)]) -> Result<Vec<String>> {
        let words = self.commands.pop_front().context("no command is left")?;
        ensure!(words.starts_with(begins), "`{begins}` expected: {words}");
        let put_in = |word: &str| match word.strip_prefix('$') {
            None => Ok(word.to_owned()),
            Some(name) => names
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
                .with_context(|| format!("${name} stands for nothing")),
        };
        words.split(' ').map(put_in).collect()
    }
}

/// The commands of a section, without the program's name. There must be one, and none of another program, which nobody would carry out.
pub(super) fn commands(title: &str) -> Result<VecDeque<&'static str>> {
    let (_, rest) = RUNBOOKS
        .split_once(&format!("# {title}\n"))
        .with_context(|| format!("no section `{title}`"))?;
    // To the next heading, of whatever level.
    let section = rest.split("\n#").next().unwrap_or_default();
    let fenced = section.split("```").skip(1).step_by(2);
    let commands = fenced.flat_map(|block| block.lines().skip(1).map(str::trim));
    let commands = commands.filter(|line| !line.is_empty()).map(|line| {
        let words = line.strip_prefix(BARTIZAN);
        words.with_context(|| format!("`{title}` has another program's command: {line}"))
    });
    let commands = commands.collect::<Result<VecDeque<_>>>()?;
    ensure!(!commands.is_empty(), "`{title}` has no command");
    Ok(commands)
}

fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn done(begins: &str, ran: Ran) -> Result<Value> {
    ensure!(ran.code == Some(0), "`{begins}`: {ran:?}");
    Ok(ran.json)
}
