//! The files: `operations.log`, only ever appended to; `operations.head`, which names its last record; `operations.lock`, which one
//! process holds.
//!
//! A record is written first and named by the head then. A crash in between leaves one record more than the head names, or a piece
//! of one, which is taken back: nothing was done on its account.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use bartizan_attestation::operation::log::{Event, Head, LogError, MAX_PAGE, MAX_RECORD, Record};
use minicbor::bytes::ByteVec;

use crate::durable;

/// Largest piece of the log that is handed out, in bytes.
const MAX_PIECE: usize = 4 << 20;

/// The log cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum LogFileError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("another process has the log of operations ({path} is locked): a card, or one that puts it aside; it must end first", path = .0.display())]
    Held(PathBuf),
    /// It is not what was written.
    #[error("the log of operations is broken: {0}")]
    Broken(#[from] LogError),
    /// A record would be too long.
    #[error("a record of the log would be longer than {MAX_RECORD} bytes")]
    TooLong,
    /// It would be another user's than the card's then.
    #[error("{path} is user {owner}'s, and this is user {this}: run it as that one", path = .path.display())]
    OtherUser {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who this is.
        this: u32,
    },
    /// It was written while the clock was ahead, or the clock is behind now.
    #[error(
        "the log's newest record is of {newest_s}, and it is {now_s} (seconds since 1970): set the clock right; if it is, and was ahead when the log was written, add `--clock-is-right`"
    )]
    ClockBehind {
        /// The newest record's time.
        newest_s: u64,
        /// The clock's.
        now_s: u64,
    },
    /// There is nothing to put aside.
    #[error("there is no log of operations in {path}", path = .0.display())]
    None(PathBuf),
}

/// The open log, and where it ends. Whoever opens it has the lock.
#[derive(Debug)]
pub(super) struct LogFile {
    files: Files,
    head: Head,
    length: u64,
}

/// What was written of a log, to be read while it grows.
#[derive(Debug)]
pub(super) struct Written {
    log: PathBuf,
    head: Head,
    length: u64,
}

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) folder: PathBuf,
    pub(super) log: PathBuf,
    pub(super) head: PathBuf,
    /// The beginning of the log that comes next, while the former one is put aside.
    pub(super) next: PathBuf,
    /// There while the card that has the log is to put it aside.
    pub(super) wanted: PathBuf,
    /// The same, by a clock that an administrator says is right.
    pub(super) wanted_by_the_clock: PathBuf,
    lock: PathBuf,
}

impl Files {
    pub(super) fn of(state_dir: &Path) -> Self {
        let named = |extension| state_dir.join("operations").with_extension(extension);
        Self {
            folder: state_dir.into(),
            log: named("log"),
            head: named("head"),
            next: named("next"),
            wanted: named("set-aside"),
            wanted_by_the_clock: named("set-aside-by-the-clock"),
            lock: named("lock"),
        }
    }

    /// Held until it is dropped.
    pub(super) fn lock(&self) -> Result<File, LogFileError> {
        let at = at(&self.lock);
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(&self.lock);
        let file = file.map_err(&at)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(LogFileError::Held(self.lock.clone())),
            Err(TryLockError::Error(source)) => Err(at(source)),
        }
    }

    /// The head that was noted last; none where there is no file of it.
    pub(super) fn noted(&self) -> Result<Option<Head>, LogFileError> {
        match fs::read(&self.head) {
            Ok(bytes) => {
                let head = serde_json::from_slice(&bytes).map_err(|_| LogError::NoHead)?;
                Ok(Some(head))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(at(&self.head)(source)),
        }
    }

    pub(super) fn note(&self, head: &Head) -> Result<(), LogFileError> {
        let bytes = serde_json::to_vec(head).unwrap_or_default();
        durable::replace(&self.head, &bytes).map_err(at(&self.head))
    }

    /// Logs that were put aside: their names, the latest last.
    pub(super) fn aside(&self) -> Result<Vec<String>, LogFileError> {
        let folder = at(&self.folder);
        let mut numbered = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(&folder)? {
            let name = entry.map_err(&folder)?.file_name();
            let name = name.to_string_lossy();
            if let Some(number) = number_of(&name) {
                numbered.push((number, name.into_owned()));
            }
        }
        numbered.sort();
        Ok(numbered.into_iter().map(|(_, name)| name).collect())
    }

    fn append_to(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).append(true).open(&self.log)
    }
}

/// The name of a log that is put aside.
pub(super) fn aside_name(number: u64) -> String {
    format!("operations-{number}.log")
}

pub(super) fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("operations-")?.strip_suffix(".log")?;
    number.parse().ok()
}

impl LogFile {
    /// Opens the log, of which there may be none yet, and shows each record.
    pub(super) fn open(
        state_dir: &Path,
        mut learn: impl FnMut(&Record),
    ) -> Result<Self, LogFileError> {
        let files = Files::of(state_dir);
        let noted = files.noted()?;
        if noted.as_ref().is_none_or(|head| head.count == 0)
            && let Some(former) = files.aside()?.pop()
        {
            // A log that begins names the one before it.
            return Err(LogError::Unnamed(former).into());
        }
        let noted = match noted {
            Some(noted) => noted,
            None if files.log.exists() => return Err(LogError::NoHead.into()),
            None => {
                // Before the log: that is never there without a head.
                files.note(&Head::empty())?;
                Head::empty()
            }
        };
        let file = files.append_to().map_err(at(&files.log))?;
        let end = follow(&files.log, &noted, Upto::AfterACrash, |record, _| {
            learn(record);
        })?;
        let length = file.metadata().map_err(at(&files.log))?.len();
        if length != end.length {
            let bytes = length.saturating_sub(end.length);
            tracing::warn!(bytes, "a record that was not written whole is taken back");
            file.set_len(end.length).map_err(at(&files.log))?;
        }
        if end.head != noted {
            file.sync_all().map_err(at(&files.log))?;
            files.note(&end.head)?;
        }
        Ok(Self {
            files,
            head: end.head,
            length: end.length,
        })
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.head.count == 0
    }

    /// On disk, and named by the head, when this returns.
    pub(super) fn append(&mut self, at_s: u64, event: Event) -> Result<Record, LogFileError> {
        let record = Record {
            index: self.head.count,
            at_s,
            previous: self.head.sha384.clone(),
            event,
        };
        let mut line = record.line().ok_or(LogFileError::TooLong)?;
        if line.len() > MAX_RECORD {
            return Err(LogFileError::TooLong);
        }
        let head = self.head.after(&line);
        line.push(b'\n');
        let log = at(&self.files.log);
        let mut file = self.files.append_to().map_err(&log)?;
        if file.metadata().map_err(&log)?.len() != self.length {
            return Err(self.altered());
        }
        let written = file
            .write_all(&line)
            .and_then(|()| file.sync_all())
            .map_err(&log)
            .and_then(|()| self.files.note(&head));
        if let Err(error) = written {
            // What is not named by the head is not there; a card that starts anew would see to it too.
            file.set_len(self.length).map_err(&log)?;
            return Err(error);
        }
        self.head = head;
        self.length += line.len() as u64;
        Ok(record)
    }

    /// All that is written by now.
    pub(super) fn written(&self) -> Result<Written, LogFileError> {
        let log = at(&self.files.log);
        if fs::metadata(&self.files.log).map_err(log)?.len() != self.length {
            return Err(self.altered());
        }
        Ok(Written {
            log: self.files.log.clone(),
            head: self.head.clone(),
            length: self.length,
        })
    }

    /// What is wrong with a log that is not as long as what was written.
    fn altered(&self) -> LogFileError {
        match follow(&self.files.log, &self.head, Upto::ItsEnd, |_, _| ()) {
            // All that was written is there, and something else.
            Ok(_) => LogError::Added(self.head.count).into(),
            Err(error) => error,
        }
    }
}

impl Written {
    /// Reads all of it anew, and hands a piece out.
    pub(super) fn read(&self, from: u64, most: u32) -> Result<(Head, Vec<ByteVec>), LogFileError> {
        let mut piece = Vec::new();
        let mut size = 0;
        let wanted = |piece: &Vec<ByteVec>| piece.len() < most.min(MAX_PAGE) as usize;
        let upto = Upto::Length(self.length);
        follow(&self.log, &self.head, upto, |record, line| {
            size += line.len() * usize::from(record.index >= from);
            if record.index >= from && wanted(&piece) && size <= MAX_PIECE {
                piece.push(line.to_vec().into());
            }
        })?;
        Ok((self.head.clone(), piece))
    }
}

/// What the newest record of a log says, up to where it is broken, whatever head there is; 0 where none can be read.
pub(super) fn newest_s(log: &Path) -> u64 {
    let unknown = Head {
        count: u64::MAX,
        sha384: String::new(),
    };
    let mut newest_s = 0;
    let _broken = follow(log, &unknown, Upto::ItsEnd, |record, _| {
        newest_s = newest_s.max(record.at_s);
    });
    newest_s
}

/// Where a log ends, by itself.
struct End {
    head: Head,
    length: u64,
}

/// How far a log is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upto {
    /// To its end.
    ItsEnd,
    /// To its end, where there may be one record more than is noted, and a piece of one.
    AfterACrash,
    /// So many bytes: others write on.
    Length(u64),
}

/// Follows a log to the head that is noted.
fn follow(
    path: &Path,
    noted: &Head,
    upto: Upto,
    mut show: impl FnMut(&Record, &[u8]),
) -> Result<End, LogFileError> {
    let log = at(path);
    let after_crash = upto == Upto::AfterACrash;
    let length = match upto {
        Upto::Length(length) => length,
        Upto::ItsEnd | Upto::AfterACrash => u64::MAX,
    };
    let mut reader = BufReader::new(File::open(path).map_err(&log)?.take(length));
    let (mut head, mut length, mut line) = (Head::empty(), 0, Vec::new());
    check(&head, noted)?;
    loop {
        line.clear();
        let bounded = (&mut reader).take(MAX_RECORD as u64 + 1);
        let read = { bounded }.read_until(b'\n', &mut line).map_err(&log)?;
        let whole = line.pop_if(|last| *last == b'\n').is_some();
        if !whole && (read == 0 || (after_crash && head.count >= noted.count)) {
            break;
        }
        if !whole {
            return Err(LogError::Malformed(head.count).into());
        }
        if head.count > noted.count || (head.count == noted.count && !after_crash) {
            return Err(LogError::Added(head.count).into());
        }
        let record = head.follow(&line)?;
        length += read as u64;
        check(&head, noted)?;
        show(&record, &line);
    }
    if head.count < noted.count {
        let (expected, found) = (noted.count, head.count);
        return Err(LogError::Truncated { expected, found }.into());
    }
    Ok(End { head, length })
}

/// The record that the head names must be the one.
fn check(head: &Head, noted: &Head) -> Result<(), LogError> {
    if head.count == noted.count && head.sha384 != noted.sha384 {
        return Err(LogError::Changed(head.count.saturating_sub(1)));
    }
    Ok(())
}

pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> LogFileError {
    let path = path.to_owned();
    move |source| LogFileError::File {
        path: path.clone(),
        source,
    }
}
