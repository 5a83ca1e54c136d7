//! Putting a log aside, and beginning another that names it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA384};
use bartizan_attestation::operation::log::{AsideFile, Event, Head, Record, SetAside};

use super::file::{Files, LogFileError, at};
use super::hex;
use crate::durable;

/// Puts the log aside, broken or not; answers where it is now, unless its file was gone. No card may have it.
pub(crate) fn set_aside(state_dir: &Path, now_s: u64) -> Result<Option<PathBuf>, LogFileError> {
    check_user(state_dir)?;
    let files = Files::of(state_dir);
    let _lock = files.lock()?;
    // One that cannot be read says nothing.
    let noted = files.noted().unwrap_or_default();
    if noted.is_none() && !files.log.exists() && !files.head.exists() {
        return Err(LogFileError::None(state_dir.into()));
    }
    let kept = if files.log.exists() {
        let (path, name) = unused(state_dir, now_s);
        let file_sha384 = sha384(&files.log).map_err(at(&files.log))?;
        fs::rename(&files.log, &path).map_err(at(&path))?;
        let sha384 = file_sha384;
        Some((path, AsideFile { name, sha384 }))
    } else {
        None
    };
    let (path, file) = kept.unzip();
    files.note(&Head::empty())?;
    let opened = Record {
        index: 0,
        at_s: now_s,
        previous: (noted.as_ref()).map_or(Head::empty().sha384, |head| head.sha384.clone()),
        event: Event::Opened {
            after: Some(SetAside { file, head: noted }),
        },
    };
    let mut line = opened.line().ok_or(LogFileError::TooLong)?;
    let head = Head::empty().after(&line);
    line.push(b'\n');
    durable::replace(&files.log, &line).map_err(at(&files.log))?;
    files.note(&head)?;
    Ok(path)
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

fn unused(state_dir: &Path, now_s: u64) -> (PathBuf, String) {
    let mut number = now_s;
    loop {
        let name = format!("operations-{number}.log");
        let path = state_dir.join(&name);
        if !path.exists() {
            return (path, name);
        }
        number += 1;
    }
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
