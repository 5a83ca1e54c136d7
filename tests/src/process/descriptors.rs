//! What kinds of descriptors a process has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;

/// The kinds of the descriptors in a folder /proc/PID/fd, but for the standard three.
pub(super) fn kinds(folder: &str) -> Result<BTreeSet<String>> {
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(folder)?.flatten() {
        if ["0", "1", "2"].iter().any(|number| entry.file_name() == *number) {
            continue;
        }
        // One that was closed in between is none.
        if let Ok(target) = fs::read_link(entry.path()) {
            kinds.insert(kind(&target.to_string_lossy())?);
        }
    }
    Ok(kinds)
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
    if let Some(name) = target.strip_prefix("/memfd:") {
        return Ok(format!("memfd {}", name.trim_end_matches(" (deleted)")));
    }
    if target.starts_with("/dev/") || target.starts_with("/proc/") {
        return Ok(target.to_owned());
    }
    let file = Path::new(target);
    let name = file.file_name().map(|name| name.to_string_lossy());
    Ok(format!("file {}", name.unwrap_or_default()))
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
