//! What kinds of descriptors a process has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;

/// The kinds of the descriptors in a folder /proc/PID/fd, but for the standard three, for /dev/null, and
/// for what is the test's own too: that was inherited from whoever started the test.
pub(super) fn kinds(folder: &str) -> Result<BTreeSet<String>> {
    let own: BTreeSet<_> = targets("/proc/self/fd")?
        // These names are not one file's.
        .filter(|target| !target.starts_with("anon_inode:") && !target.starts_with("/memfd:"))
        .collect();
    targets(folder)?
        .filter(|target| target != "/dev/null" && !own.contains(target))
        .map(|target| kind(&target))
        .collect()
}

fn targets(folder: &str) -> Result<impl Iterator<Item = String>> {
    let standard = |name: &std::ffi::OsStr| ["0", "1", "2"].iter().any(|number| name == *number);
    Ok(fs::read_dir(folder)?
        .flatten()
        .filter(move |entry| !standard(&entry.file_name()))
        // One that was closed in between is none.
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|target| target.to_string_lossy().into_owned()))
}

fn kind(target: &str) -> Result<String> {
    if let Some(inode) = bracketed(target, "socket:[") {
        return socket(inode);
    }
    if let Some(name) = bracketed(target, "anon_inode:[") {
        return Ok(name.to_owned());
    }
    if target.starts_with("pipe:") {
        return Ok("pipe".into());
    }
    if target == "/dev/net/tun" {
        return Ok("tap".into());
    }
    if target == "/dev/userfaultfd" {
        return Ok("device userfaultfd".into());
    }
    if target.starts_with("/proc/") && target.ends_with("/pagemap") {
        return Ok("pagemap".into());
    }
    if target.starts_with("/memfd:measured/") {
        return Ok("memfd measured".into());
    }
    if let Some(name) = target.strip_prefix("/memfd:") {
        return Ok(format!("memfd {}", name.trim_end_matches(" (deleted)")));
    }
    let path = Path::new(target);
    let text =
        |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str().map(str::to_owned));
    let name = text(path.file_stem()).unwrap_or_default();
    Ok(match text(path.extension()).as_deref() {
        Some("img") => "disk".into(),
        Some("log") => "log".into(),
        // One file a number, by which the users of a guest's processes are taken.
        Some("lock") if name.parse::<u32>().is_ok() => "lock users".into(),
        Some("lock") => format!("lock {name}"),
        Some("db" | "db-wal" | "db-shm") => "database".into(),
        _ => target.to_owned(),
    })
}

fn bracketed<'t>(target: &'t str, start: &str) -> Option<&'t str> {
    target.strip_prefix(start)?.strip_suffix(']')
}

/// Of which family a socket is, by its inode number.
fn socket(inode: &str) -> Result<String> {
    // proc_net(5): the column with the inode number.
    for (table, column, family) in [
        ("unix", 6, "unix"),
        ("tcp", 9, "tcp"),
        ("tcp6", 9, "tcp"),
        ("udp", 9, "udp"),
        ("udp6", 9, "udp"),
        ("netlink", 9, "netlink"),
    ] {
        let Ok(table) = fs::read_to_string(format!("/proc/net/{table}")) else {
            continue;
        };
        let listed = |line: &str| line.split_whitespace().nth(column) == Some(inode);
        if table.lines().any(listed) {
            return Ok(family.into());
        }
    }
    Ok("socket of another kind".into())
}
