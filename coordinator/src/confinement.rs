//! What the stages give up before they parse what others have written: all but their link to the launcher, and for the first one what
//! its source needs.
//!
//! | | files | sockets |
//! |---|---|---|
//! | first stage, with a file | reads the folder that it is in | |
//! | first stage, with the verifier | | Unix, to the card |
//! | second stage | | |
//!
//! It is the file's folder that is granted, and not the file: that may be absent, which is for the source to say, and it may be replaced
//! by another one of its name while the verifier is waited for. A link leads elsewhere: where it led at the start is granted too.

mod system_calls;

use std::io;
use std::path::{Path, PathBuf};

use bartizan_confinement::{
    AccessError, Filter, FilterError, Rights, Rules, SystemCall, forbid_dumps,
};

use crate::source::Source;
use system_calls::{ALWAYS, CARD, FILE};

/// The process could not be confined. The boot does not go on then.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// Dumps could not be forbidden.
    #[error("the coordinator could not be made undumpable: {0}")]
    Dumps(#[from] io::Error),
    /// Landlock failed.
    #[error("the coordinator could not be confined: {0}")]
    Access(#[from] AccessError),
    /// Seccomp failed.
    #[error("the coordinator could not be confined: {0}")]
    Filter(#[from] FilterError),
}

/// Leaves the first stage its link and its source. It has one thread, and gets no other.
pub fn confine_first(source: &Source) -> Result<(), ConfinementError> {
    let folders = source.file().into_iter().flat_map(folders);
    let file = source.file().map_or(&[][..], |_| FILE);
    let card = source.way().map_or(&[][..], |_| CARD);
    confine(
        &Rules::none().grant_any(folders, Rights::Read),
        &[ALWAYS, file, card].concat(),
    )
}

/// Leaves the second stage its link.
pub fn confine_second() -> Result<(), ConfinementError> {
    confine(&Rules::none(), ALWAYS)
}

fn confine(rules: &Rules, allowed: &[SystemCall]) -> Result<(), ConfinementError> {
    forbid_dumps()?;
    rules.enter()?;
    Filter::only(allowed, &[])?.install()?;
    Ok(())
}

/// Where a file is, and where it leads to if it is a link: as far as there are such folders.
fn folders(file: &Path) -> impl Iterator<Item = PathBuf> {
    let paths = [std::path::absolute(file), file.canonicalize()];
    paths
        .into_iter()
        .flatten()
        .filter_map(|path| Some(path.parent()?.to_owned()))
        // One that cannot be reached has no file that could be read.
        .filter(|folder| folder.is_dir())
}

#[cfg(test)]
mod tests;
