//! The processes that descend from this one, as /proc shows them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::iter;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file, whatever its name: device and inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileId(u64, u64);

impl FileId {
    /// Of the file at a path.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        Ok(Self(file.dev(), file.ino()))
    }

    /// Of the executable of a living process.
    fn executable(pid: u32) -> io::Result<Self> {
        Self::of(Path::new(&format!("/proc/{pid}/exe")))
    }
}

/// All descendants of this process, those that wait to be reaped among them.
pub(super) fn descendants() -> io::Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that has ended meanwhile is nobody's.
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut ahead = vec![std::process::id()];
    while let Some(pid) = ahead.pop() {
        // Each is the child of one, so that this ends.
        let of_it = children.remove(&pid).unwrap_or_default();
        ahead.extend(&of_it);
        found.extend(of_it);
    }
    Ok(found)
}

/// The living descendants that execute a file.
pub(super) fn instances(program: FileId) -> io::Result<Vec<u32>> {
    let mut found = descendants()?;
    found.retain(|pid| executes(*pid, program));
    Ok(found)
}

/// The process to measure: any living descendant that executes the program. Where none does, `first` itself, unless it
/// is still this tool's own program; a script is executed by its interpreter.
pub(super) fn instance(program: FileId, first: u32) -> Option<u32> {
    let found = descendants().ok()?;
    let instance = found.iter().copied().find(|pid| executes(*pid, program));
    instance.or_else(|| {
        let own = FileId::executable(std::process::id()).ok()?;
        let executable = FileId::executable(first).ok()?;
        (executable != own && found.contains(&first)).then_some(first)
    })
}

fn executes(pid: u32, program: FileId) -> bool {
    FileId::executable(pid).is_ok_and(|file| file == program)
}

/// Whether a process descends from this one.
pub(super) fn descends(pid: u32) -> bool {
    let mut ancestors = iter::successors(parent(pid), |ancestor| parent(*ancestor));
    ancestors.any(|ancestor| ancestor == std::process::id())
}

/// Whether a process is a child of this one.
pub(super) fn is_child(pid: u32) -> bool {
    parent(pid) == Some(std::process::id())
}

/// The parent of a process (`/proc/PID/stat`, proc(5)): the second word after the name, which is in parentheses and may
/// hold anything.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_ends + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}
