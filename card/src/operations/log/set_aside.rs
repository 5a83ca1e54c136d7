//! Putting a log aside, and beginning another that names it. Whoever puts it aside may be killed at any moment: the beginning of the next
//! log is written first, so that who tries again knows which file to name.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA384};
use bartizan_attestation::operation::log::{AsideFile, Event, Head, Record, SetAside};

use super::file::{Files, LogFileError, aside_name, at, newest_s, number_of};
use super::hex;
use crate::durable;

/// How far a log may have ended ahead of the clock, in seconds, without anybody's word on which of the two is right.
const MOST_AHEAD_S: u64 = 600;

/// What is known of the clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// Nothing: the next log begins no earlier than the former ended.
    Compared,
    /// It is right, and was ahead when the former log was written: the next one begins by it.
    Right,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Aside {
    /// The former log is there now.
    Put(PathBuf),
    /// The former log's file was gone.
    Gone,
    /// A card has the log, and puts it aside when it starts next.
    AtNextStart,
}

/// Puts the log aside, broken or not.
pub(crate) fn set_aside(state_dir: &Path, now_s: u64, clock: Clock) -> Result<Aside, LogFileError> {
    check_user(state_dir)?;
    let files = Files::of(state_dir);
    match files.lock() {
        Ok(_lock) => put(&files, now_s, clock),
        Err(LogFileError::Held(_)) => {
            let wanted = match clock {
                Clock::Compared => &files.wanted,
                Clock::Right => &files.wanted_by_the_clock,
            };
            durable::make(wanted).map_err(at(wanted))?;
            Ok(Aside::AtNextStart)
        }
        Err(error) => Err(error),
    }
}

/// The same for whoever has the lock, if it was wanted of the card before. What fails is tried at the next start again.
pub(super) fn if_wanted(files: &Files, now_s: u64) {
    let clock = if files.wanted_by_the_clock.exists() {
        Clock::Right
    } else if files.wanted.exists() {
        Clock::Compared
    } else {
        return;
    };
    match put(files, now_s, clock) {
        Ok(_) => {
            tracing::warn!("the log of operations was put aside, as an administrator wanted");
        }
        // There is none: the one that begins now is not what was meant.
        Err(LogFileError::None(_)) => {
            let _tried_again = forget(files);
        }
        Err(error) => {
            tracing::error!(%error, "the log of operations could not be put aside");
        }
    }
}

fn put(files: &Files, now_s: u64, clock: Clock) -> Result<Aside, LogFileError> {
    let (opened, moved) = match begun(files) {
        Some(begun) => begun,
        None => begin(files, now_s, clock)?,
    };
    let mut line = opened.line().ok_or(LogFileError::TooLong)?;
    let head = Head::empty().after(&line);
    line.push(b'\n');
    files.note(&head)?;
    durable::replace(&files.log, &line).map_err(at(&files.log))?;
    forget(files)?;
    Ok(moved.map_or(Aside::Gone, |name| Aside::Put(files.folder.join(name))))
}

/// Nothing is begun nor wanted any more.
fn forget(files: &Files) -> Result<(), LogFileError> {
    let mut all = [&files.next, &files.wanted, &files.wanted_by_the_clock].into_iter();
    all.try_for_each(|file| durable::remove(file).map_err(at(file)))
}

/// What a try that was interrupted has begun: the former log is where that says, and nothing was written since.
fn begun(files: &Files) -> Option<(Record, Option<String>)> {
    if fs::metadata(&files.log).is_ok_and(|log| log.len() > 0) {
        return None;
    }
    let next = fs::read(&files.next).ok()?;
    let opened = Record::parse(&next)?;
    let Event::Opened { after: Some(after) } = &opened.event else {
        return None;
    };
    let noted = files.noted().unwrap_or_default();
    if noted != after.head && noted != Some(Head::empty().after(&next)) {
        return None;
    }
    let name = after.file.as_ref().map(|file| file.name.clone());
    let aside = files.aside().ok()?;
    let is_there = name.as_ref().is_none_or(|name| aside.contains(name));
    is_there.then_some((opened, name))
}

/// Writes down how the next log begins, and moves the former one, if it is there.
fn begin(
    files: &Files,
    now_s: u64,
    clock: Clock,
) -> Result<(Record, Option<String>), LogFileError> {
    // One that cannot be read says nothing.
    let noted = files.noted().unwrap_or_default();
    let aside = files.aside()?;
    // The file to be named, and where it is now: the log's, or else the latest, which nothing names.
    let former = if files.log.exists() {
        Some((unused(&aside, now_s), files.log.clone()))
    } else {
        let latest = aside.last();
        latest.map(|name| (name.clone(), files.folder.join(name)))
    };
    if noted.is_none() && former.is_none() && !files.head.exists() {
        return Err(LogFileError::None(files.folder.clone()));
    }
    // Where the clock was set back, orders that were done are not to be new.
    let newest_s = match (clock, &former) {
        (Clock::Compared, Some((_, path))) => newest_s(path),
        (Clock::Compared, None) | (Clock::Right, _) => 0,
    };
    if newest_s > now_s.saturating_add(MOST_AHEAD_S) {
        return Err(LogFileError::ClockBehind { newest_s, now_s });
    }
    let described = |(name, path): &(String, PathBuf)| {
        let sha384 = sha384(path).map_err(at(path))?;
        let name = name.clone();
        Ok::<_, LogFileError>(AsideFile { name, sha384 })
    };
    let file = former.as_ref().map(described).transpose()?;
    let opened = Record {
        index: 0,
        at_s: now_s.max(newest_s),
        previous: (noted.as_ref()).map_or(Head::empty().sha384, |head| head.sha384.clone()),
        event: Event::Opened {
            after: Some(SetAside { file, head: noted }),
        },
    };
    let line = opened.line().ok_or(LogFileError::TooLong)?;
    durable::replace(&files.next, &line).map_err(at(&files.next))?;
    match former {
        Some((name, path)) if path == files.log => {
            fs::rename(&path, files.folder.join(&name)).map_err(at(&path))?;
            Ok((opened, Some(name)))
        }
        _ => Ok((opened, None)),
    }
}

/// Files of root's are none that the card can write to.
fn check_user(state_dir: &Path) -> Result<(), LogFileError> {
    let owner_of = |path: &Path| fs::metadata(path).map(|of| of.uid()).map_err(at(path));
    let (owner, this) = (owner_of(state_dir)?, owner_of(Path::new("/proc/self"))?);
    if owner == this {
        return Ok(());
    }
    let path = state_dir.into();
    Err(LogFileError::OtherUser { path, owner, this })
}

/// The names count up, whatever the clock does.
fn unused(aside: &[String], now_s: u64) -> String {
    let latest = aside.last().and_then(|name| number_of(name));
    aside_name(latest.map_or(now_s, |latest| now_s.max(latest.saturating_add(1))))
}

fn sha384(path: &Path) -> io::Result<String> {
    let (mut file, mut context) = (File::open(path)?, Context::new(&SHA384));
    let mut piece = [0; 64 << 10];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hex(context.finish().as_ref()));
        }
        context.update(piece.get(..read).unwrap_or_default());
    }
}
