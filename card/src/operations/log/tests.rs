use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::*;

mod aside;

const NOW: u64 = 1_000_000;
/// Within which whatever else holds a lock has let go.
const DEADLINE: Duration = Duration::from_secs(10);

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A test beside this one may be between fork and exec, with a copy of the lock that was held before.
    fn open(&self) -> Log {
        let begun = Instant::now();
        loop {
            match Log::open(self.0.path(), NOW) {
                Err(LogFileError::Held(_)) if begun.elapsed() < DEADLINE => thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("operations.log")).unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    }

    fn write(&self, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.path("operations.log"), text).unwrap();
    }

    /// A log of six records, closed.
    fn filled(&self) {
        let log = self.open();
        for uid in 1..=5 {
            log.refuse(None, &OperationRefusal::Replayed, uid, NOW);
        }
    }
}

fn broken(log: &Log) -> LogError {
    match &*log.state() {
        State::Broken(error) => error.clone(),
        State::Kept(_) => panic!("the log is believed"),
    }
}

fn events(log: &Log) -> Vec<Event> {
    let (head, lines) = log.read(0, 1000).unwrap();
    assert_eq!(head.count, lines.len() as u64);
    let records = lines.iter().map(|line| Record::parse(line).unwrap());
    records.map(|record| record.event).collect()
}

#[test]
fn a_log_goes_on_where_it_ended() {
    let folder = Folder::new();
    folder.filled();
    let log = folder.open();
    log.refuse(None, &OperationRefusal::Replayed, 9, NOW);
    let events = events(&log);
    assert_eq!(events.len(), 7);
    assert!(matches!(events[0], Event::Opened { after: None }));
    assert!(matches!(events[6], Event::Refused { uid: 9, .. }));
    let (_, piece) = log.read(2, 3).unwrap();
    let first = Record::parse(&piece[0]).unwrap();
    assert_eq!((piece.len(), first.index), (3, 2));
    assert!(log.read(7, 3).unwrap().1.is_empty());
}

#[test]
fn one_card_has_it() {
    let folder = Folder::new();
    let _log = folder.open();
    let second = Log::open(folder.0.path(), NOW);
    assert!(matches!(second, Err(LogFileError::Held(_))));
}

#[test]
fn every_change_is_noticed_at_the_next_start() {
    type Change = fn(&mut Vec<String>);
    let edit: Change = |lines| lines[2] = lines[2].replace("\"uid\":2", "\"uid\":7");
    let edit_last: Change = |lines| lines[5] = lines[5].replace("\"uid\":5", "\"uid\":7");
    let spoil: Change = |lines| lines[2] = lines[2].replace('{', "[");
    let cut: Change = |lines| drop(lines.remove(2));
    let swap: Change = |lines| lines.swap(2, 3);
    let truncate: Change = |lines| lines.truncate(4);
    let empty: Change = Vec::clear;
    let again: Change = |lines| lines.push(lines[5].clone());
    let misplaced = LogError::Misplaced {
        expected: 2,
        found: 3,
    };
    let truncated = |found| LogError::Truncated { expected: 6, found };
    for (change, error) in [
        (edit, LogError::Changed(2)),
        (edit_last, LogError::Changed(5)),
        (spoil, LogError::Malformed(2)),
        (cut, misplaced.clone()),
        (swap, misplaced),
        (truncate, truncated(4)),
        (empty, truncated(0)),
        (
            again,
            LogError::Misplaced {
                expected: 6,
                found: 5,
            },
        ),
    ] {
        let folder = Folder::new();
        folder.filled();
        let mut lines = folder.lines();
        change(&mut lines);
        folder.write(&lines);
        let log = folder.open();
        assert_eq!(broken(&log), error);
        // Nothing is written to it, and nothing read.
        log.refuse(None, &OperationRefusal::Replayed, 9, NOW);
        assert_eq!(folder.lines(), lines);
        let refused = log.read(0, 9).unwrap_err();
        assert_eq!(refused.word(), "log-broken");
    }
}

#[test]
fn a_log_without_its_head_and_a_head_without_its_log_are_noticed() {
    let folder = Folder::new();
    folder.filled();
    fs::remove_file(folder.path("operations.head")).unwrap();
    assert_eq!(broken(&folder.open()), LogError::NoHead);
    let folder = Folder::new();
    folder.filled();
    fs::write(folder.path("operations.head"), "{").unwrap();
    assert_eq!(broken(&folder.open()), LogError::NoHead);
    let folder = Folder::new();
    folder.filled();
    fs::remove_file(folder.path("operations.log")).unwrap();
    let (expected, found) = (6, 0);
    let error = LogError::Truncated { expected, found };
    assert_eq!(broken(&folder.open()), error);
}

#[test]
fn a_change_under_a_card_that_runs_is_noticed() {
    for (change, error) in [
        (("\"uid\":2", "\"uid\":7"), LogError::Changed(2)),
        (("\"uid\":2", "\"uid\":77"), LogError::Changed(2)),
    ] {
        let folder = Folder::new();
        folder.filled();
        let log = folder.open();
        let lines = folder.lines();
        let lines: Vec<_> = (lines.iter())
            .map(|line| line.replace(change.0, change.1))
            .collect();
        folder.write(&lines);
        let refused = log.read(0, 9).unwrap_err();
        assert_eq!(refused, OperationRefusal::LogBroken(error.to_string()));
        assert_eq!(broken(&log), error);
    }
    // What is shorter or longer than it was is noticed by whoever writes.
    let folder = Folder::new();
    folder.filled();
    let log = folder.open();
    folder.write(&folder.lines()[..5]);
    log.refuse(None, &OperationRefusal::Replayed, 9, NOW);
    let (expected, found) = (6, 5);
    assert_eq!(broken(&log), LogError::Truncated { expected, found });
}

/// The card was killed while it wrote.
#[test]
fn what_a_crash_leaves_is_no_change() {
    let folder = Folder::new();
    folder.filled();
    let before = fs::read(folder.path("operations.head")).unwrap();
    let log = folder.open();
    log.refuse(None, &OperationRefusal::Replayed, 9, NOW);
    drop(log);
    // Written, and not named by the head yet.
    fs::write(folder.path("operations.head"), &before).unwrap();
    assert_eq!(events(&folder.open()).len(), 7);
    // Half written.
    let mut options = OpenOptions::new();
    let mut file = options.append(true).open(folder.path("operations.log"));
    file.as_mut().unwrap().write_all(b"{\"index\":7,").unwrap();
    let log = folder.open();
    assert_eq!(events(&log).len(), 7);
    log.refuse(None, &OperationRefusal::Replayed, 9, NOW);
    assert_eq!(events(&log).len(), 8);
    drop(log);
    // Two more than the head names are not a crash's.
    fs::write(folder.path("operations.head"), &before).unwrap();
    assert_eq!(broken(&folder.open()), LogError::Added(7));
}

#[test]
fn refusals_do_not_fill_the_disk() {
    let folder = Folder::new();
    let log = folder.open();
    for _ in 0..1000 {
        log.refuse(None, &OperationRefusal::Replayed, 9, NOW);
    }
    assert!(events(&log).len() < 100);
    log.summarise(NOW + 600);
    let last = events(&log).pop();
    assert!(
        matches!(last, Some(Event::MoreRefused { operator: None, count }) if count > 900),
        "{last:?}"
    );
}

#[test]
fn time_never_goes_back_behind_the_log() {
    let folder = Folder::new();
    folder.filled();
    let log = Log::open(folder.0.path(), NOW - 500).unwrap();
    assert_eq!(log.not_before(NOW - 500), NOW);
    assert_eq!(log.not_before(NOW + 1), NOW + 1);
    log.refuse(None, &OperationRefusal::Replayed, 9, NOW - 500);
    let (_, lines) = log.read(6, 1).unwrap();
    assert_eq!(Record::parse(&lines[0]).unwrap().at_s, NOW);
}

/// Whoever reads does not keep the log from being written.
#[test]
fn what_is_written_while_the_log_is_read_is_no_change_of_it() {
    let folder = Folder::new();
    folder.filled();
    let log = folder.open();
    let State::Kept(kept) = &*log.state() else {
        panic!("the log is broken")
    };
    let written = kept.file.written().unwrap();
    let mut file = OpenOptions::new();
    let mut file = file.append(true).open(folder.path("operations.log"));
    file.as_mut().unwrap().write_all(b"more").unwrap();
    let (head, lines) = written.read(0, 1000).unwrap();
    assert_eq!((head.count, lines.len()), (6, 6));
    // It was not the card who wrote it.
    let added = kept.file.written().unwrap_err();
    assert!(matches!(added, LogFileError::Broken(_)), "{added}");
}
