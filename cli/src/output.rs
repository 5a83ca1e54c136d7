//! What a person, or with `--json` a program, gets to see.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::failure;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints one result: the value for programs, the sentence for people.
    pub(crate) fn result(self, value: &Value, sentence: &str) {
        if self.json {
            print(format_args!("{value}"));
        } else {
            print(format_args!("{}", printable(sentence)));
        }
    }

    /// Prints one of many, as they come; whoever reads may have left.
    pub(crate) fn line(self, value: &Value, sentence: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{value}")
        } else {
            writeln!(out, "{}", printable(sentence))
        }
    }

    /// Whether it is for programs.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints a list: the array for programs, a table of the named members for people.
    pub(crate) fn table(self, rows: &Value, columns: &[&str]) {
        let rows_of = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        let cells = rows_of
            .iter()
            .map(|row| columns.iter().map(|name| cell(&row[*name])).collect());
        self.lines(rows, columns, cells.collect());
    }

    /// Prints a list whose cells for people are no members of what programs get.
    pub(crate) fn list<const N: usize>(
        self,
        rows: &Value,
        columns: &[&str; N],
        lines: Vec<[String; N]>,
    ) {
        let lines = lines
            .into_iter()
            .map(|cells| cells.iter().map(|cell| printable(cell)).collect());
        self.lines(rows, columns, lines.collect());
    }

    fn lines(self, rows: &Value, columns: &[&str], cells: Vec<Vec<String>>) {
        if self.json {
            print(format_args!("{rows}"));
            return;
        }
        let mut lines = vec![
            columns
                .iter()
                .map(|name| name.to_uppercase())
                .collect::<Vec<_>>(),
        ];
        lines.extend(cells);
        let widths: Vec<_> = (0..columns.len())
            .map(|column| {
                lines
                    .iter()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for line in lines {
            let cells = line
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            print(format_args!("{}", line.trim_end()));
        }
    }

    /// Says what went wrong, and picks the exit code.
    pub(crate) fn failure(self, error: &anyhow::Error) -> ExitCode {
        let message = failure::message(error);
        if self.json {
            print(format_args!("{}", json!({ "ok": false, "error": message })));
        }
        eprintln!("bartizan: {}", printable(&message));
        failure::code(error)
    }
}

/// A line to whoever reads. Who has left, as `head` does, needs no more of it, and what was done was done; what could not be written for
/// any other reason would be taken for all.
fn print(line: fmt::Arguments<'_>) {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("bartizan: the result cannot be written: {error}");
            std::process::exit(1);
        }
        _ => {}
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// Names come from guests and files: no control character of theirs reaches the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}
