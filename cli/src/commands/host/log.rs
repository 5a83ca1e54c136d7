//! `bartizan host log`: the log of a host's operations, followed record by record.

use anyhow::Result;
use bartizan_attestation::host::{LogPage, OperationReply};
use bartizan_attestation::operation::Operation;
use bartizan_attestation::operation::log::{Event, Head, LogError, MAX_PAGE, Outcome, Record};
use serde_json::{Value, json};

use crate::card::{Card, CardError};
use crate::output::Output;
use crate::utc::utc;

/// The log does not hold what it should.
#[derive(Debug, thiserror::Error)]
#[error("the card's log does not hold: {0}; see `bartizan-card log --help`")]
pub(crate) struct LogRefused(#[from] LogError);

/// Reads, follows and shows the log, or its last records.
pub(crate) fn show(card: &Card, last: Option<u64>, output: Output) -> Result<()> {
    let page = |from| -> Result<LogPage> {
        match card.order(Operation::ReadLog {
            from,
            most: MAX_PAGE,
        })? {
            OperationReply::Log(page) => Ok(page),
            _ => Err(CardError::Unexpected.into()),
        }
    };
    // Reading it is in it, too: the first answer says where it ends.
    let mut next = match last {
        Some(last) => {
            let count = page(u64::MAX)?.head.count;
            page(count.saturating_sub(last))?
        }
        None => page(0)?,
    };
    let end = next.head.clone();
    let mut followed = Followed::default();
    while followed.take(&next, &end)? {
        next = page(followed.head.count)?;
    }
    let rows = followed.records.iter().map(row).collect();
    output.table(
        &rows,
        &["index", "at", "event", "operator", "what", "outcome"],
    );
    Ok(())
}

#[derive(Debug)]
struct Followed {
    head: Head,
    records: Vec<Record>,
}

impl Default for Followed {
    fn default() -> Self {
        Self {
            head: Head::empty(),
            records: Vec::new(),
        }
    }
}

impl Followed {
    /// Follows a piece up to `end`; whether there is more.
    fn take(&mut self, page: &LogPage, end: &Head) -> Result<bool, LogRefused> {
        for line in page.records.iter() {
            if self.records.is_empty() {
                // What the first one names is not at hand, where it is not the log's first.
                self.head = beginning(line).unwrap_or_else(Head::empty);
            }
            if self.head.count >= end.count {
                break;
            }
            self.records.push(self.head.follow(line)?);
        }
        let (found, expected) = (self.head.count, end.count);
        if found >= expected {
            return if self.head == *end {
                Ok(false)
            } else {
                Err(LogError::Changed(expected.saturating_sub(1)).into())
            };
        }
        if page.records.is_empty() {
            return Err(LogError::Truncated { expected, found }.into());
        }
        Ok(true)
    }
}

fn beginning(line: &[u8]) -> Option<Head> {
    Record::parse(line).map(|record| Head {
        count: record.index,
        sha384: record.previous,
    })
}

fn row(record: &Record) -> Value {
    let mut row = json!({ "index": record.index, "at": utc(record.at_s.saturating_mul(1000)), "at_s": record.at_s });
    let more = match &record.event {
        Event::Opened { after } => json!({
            "event": "opened",
            "what": after.as_ref().map_or(Value::Null, |_| "after another that was put aside".into()),
            "after": after,
        }),
        Event::Begun {
            operator,
            role,
            operation,
            arguments,
            order_sha256,
            nonce,
            expires_at,
        } => json!({
            "event": "begun", "operator": operator, "role": role, "what": said(operation, arguments),
            "operation": operation, "arguments": arguments, "order_sha256": order_sha256, "nonce": nonce,
            "expires_at": expires_at,
        }),
        Event::Ended { begun, outcome } => json!({
            "event": "ended", "what": format!("record {begun}"), "begun": begun, "ended": match outcome {
                Outcome::Done | Outcome::Shown { .. } => "done",
                Outcome::Refused { .. } => "refused",
                Outcome::Unknown { .. } => "unknown",
                Outcome::Interrupted => "interrupted",
            },
            "outcome": match outcome {
                Outcome::Done => "done".to_owned(),
                Outcome::Refused { detail }
                | Outcome::Unknown { detail }
                | Outcome::Shown { detail } => detail.clone(),
                Outcome::Interrupted => "interrupted".to_owned(),
            },
        }),
        Event::Refused {
            uid,
            operator,
            operation,
            arguments,
            reason,
            detail,
        } => json!({
            "event": "refused", "operator": operator, "uid": uid, "operation": operation, "arguments": arguments,
            "what": operation.as_ref().map(|operation| said(operation, arguments)),
            "outcome": reason, "detail": detail,
        }),
        Event::MoreRefused { operator, count } => json!({
            "event": "refused", "operator": operator, "count": count, "outcome": format!("{count} more"),
        }),
    };
    if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
        row.extend(more);
    }
    row
}

fn said(operation: &str, arguments: &std::collections::BTreeMap<String, String>) -> String {
    let arguments = arguments
        .iter()
        .map(|(name, value)| format!(" {name}={value}"));
    format!("{operation}{}", arguments.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(count: u64) -> (Vec<Vec<u8>>, Head) {
        let (mut head, mut lines) = (Head::empty(), Vec::new());
        for index in 0..count {
            let record = Record {
                index,
                at_s: 1,
                previous: head.sha384.clone(),
                event: Event::MoreRefused {
                    operator: None,
                    count: index,
                },
            };
            let line = record.line().unwrap();
            head = head.after(&line);
            lines.push(line);
        }
        (lines, head)
    }

    fn page(lines: &[Vec<u8>], head: &Head) -> LogPage {
        LogPage {
            head: head.clone(),
            records: lines.iter().map(|line| line.clone().into()).collect(),
        }
    }

    #[test]
    fn pieces_are_followed_to_where_the_log_ended() {
        let (lines, end) = log(5);
        let mut all = Followed::default();
        assert!(all.take(&page(&lines[..2], &end), &end).unwrap());
        assert!(!all.take(&page(&lines[2..], &end), &end).unwrap());
        assert_eq!(all.records.len(), 5);
        let mut last = Followed::default();
        assert!(!last.take(&page(&lines[3..], &end), &end).unwrap());
        assert_eq!(last.records.len(), 2);
    }

    #[test]
    fn a_card_that_hides_or_changes_a_record_is_found_out() {
        let (lines, end) = log(5);
        let taken = |lines: &[Vec<u8>]| {
            let mut followed = Followed::default();
            let more = followed.take(&page(lines, &end), &end)?;
            if more {
                followed.take(&page(&[], &end), &end)?;
            }
            Ok::<_, LogRefused>(())
        };
        taken(&lines).unwrap();
        let without = |index: usize| [&lines[..index], &lines[index + 1..]].concat();
        for index in 1..5 {
            taken(&without(index)).unwrap_err();
        }
        for index in 0..5 {
            let mut changed = lines.clone();
            let text = String::from_utf8(changed[index].clone()).unwrap();
            changed[index] = text.replace("\"at_s\":1", "\"at_s\":2").into_bytes();
            let LogRefused(error) = taken(&changed).unwrap_err();
            assert_eq!(error, LogError::Changed(index as u64));
        }
    }
}
