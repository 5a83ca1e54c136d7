//! The system users that the processes run as: one each, so that none can touch another. The processes of guests run as
//! one user a guest, of a range that is put down in /etc/subuid: numbers that nobody else is given.

use std::fs::{self, OpenOptions};

use anyhow::{Context, Result, bail};

use crate::{components, sh};

/// One a process; the table in ARCHITECTURE.md says which is which.
const USERS: &[&str] = &[
    "bartizan-vault",
    "bartizan-verifier-vault",
    "bartizan-card",
    "bartizan-coordinator",
    "bartizan-devices",
    HYPERVISOR,
    "bartizan-keeper",
    "bartizan-enclave",
    "bartizan-supervisor",
    "bartizan-verifier",
];

/// Whose the guests' users are.
const HYPERVISOR: &str = "bartizan-hypervisor";

/// The groups of guests' processes.
const GROUPS: &[&str] = &["bartizan-qemu", "bartizan-measurer"];

/// Ranges of users for other users' purposes (subuid(5)).
const SUBORDINATE: &str = "/etc/subuid";
/// The first number that such a range may have (SUB_UID_MIN of login.defs(5)).
const FIRST: u32 = 100_000;
/// Users for guests: for QEMU one half, for measurers the other.
const COUNT: u32 = 2048;

/// Makes users, groups and the range that are not there yet.
pub(crate) fn ensure() -> Result<()> {
    ensure_accounts("/etc/passwd", USERS, &USERADD)?;
    ensure_accounts("/etc/group", GROUPS, &GROUPADD)?;
    ensure_range()
}

const USERADD: [&str; 6] = [
    "useradd",
    "--system",
    "--user-group",
    "--no-create-home",
    "--shell",
    "/usr/sbin/nologin",
];
const GROUPADD: [&str; 2] = ["groupadd", "--system"];

/// Makes those accounts of a file (passwd(5), group(5)) that are not there yet.
fn ensure_accounts(file: &str, names: &[&str], make: &[&str]) -> Result<()> {
    let known = fs::read_to_string(file)?;
    let missing: Vec<_> = names
        .iter()
        .filter(|name| {
            !known
                .lines()
                .any(|line| line.split(':').next() == Some(name))
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !components::is_root()? {
        let lines: Vec<_> = missing
            .iter()
            .map(|name| format!("sudo {} {name}", make.join(" ")))
            .collect();
        bail!(
            "missing system accounts; run this line once:\n  {}",
            lines.join(" && ")
        );
    }
    for name in missing {
        let (program, arguments) = make.split_first().context("a command has a program")?;
        sh::quiet(sh::command(program).args(arguments).arg(name))?;
    }
    Ok(())
}

/// Puts down the range of guests' users, after every other.
fn ensure_range() -> Result<()> {
    let known = fs::read_to_string(SUBORDINATE).unwrap_or_default();
    if known
        .lines()
        .any(|line| line.split(':').next() == Some(HYPERVISOR))
    {
        return Ok(());
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let first = first_free(&known, &passwd);
    let add = [
        "usermod".to_owned(),
        "--add-subuids".to_owned(),
        format!("{first}-{}", first + COUNT - 1),
        HYPERVISOR.to_owned(),
    ];
    if !components::is_root()? {
        bail!(
            "no users for guests yet; run this line once:\n  sudo touch {SUBORDINATE} && sudo {}",
            add.join(" ")
        );
    }
    // usermod takes a missing file for a system without ranges.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(SUBORDINATE)?;
    sh::quiet(sh::command(&add[0]).args(&add[1..])).map(drop)
}

/// The first number above all ranges and users.
fn first_free(ranges: &str, passwd: &str) -> u32 {
    let number = |field: Option<&str>| field.and_then(|field| field.parse::<u32>().ok());
    let ends = ranges.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(1);
        number(fields.next())?.checked_add(number(fields.next())?)
    });
    let users = passwd
        .lines()
        .filter_map(|line| number(line.split(':').nth(2))?.checked_add(1))
        // nobody, and what else stands apart at the end.
        .filter(|after| *after < 1 << 30);
    ends.chain(users).fold(FIRST, u32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_comes_after_every_other() {
        let passwd = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
        assert_eq!(first_free("", passwd), FIRST);
        assert_eq!(first_free("ann:100000:65536\n", passwd), 165_536);
        let other = "ann:300000:10\nben:100000:65536\nmalformed\n";
        assert_eq!(first_free(other, passwd), 300_010);
        let network = "carl:x:400000:1::/:/bin/sh\n";
        assert_eq!(first_free(other, network), 400_001);
    }
}
