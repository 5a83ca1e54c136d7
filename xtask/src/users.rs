//! The system users that the processes run as: one each, so that none can touch another.

use std::fs;

use anyhow::{Result, bail};

use crate::{components, sh};

/// One a process; the table in ARCHITECTURE.md says which is which.
const USERS: &[&str] = &[
    "bartizan-vault",
    "bartizan-verifier-vault",
    "bartizan-card",
    "bartizan-devices",
    "bartizan-hypervisor",
    "bartizan-measurer",
    "bartizan-qemu",
    "bartizan-verifier",
];

/// Makes the users that are not there yet.
pub(crate) fn ensure() -> Result<()> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    let missing: Vec<_> = USERS
        .iter()
        .filter(|user| {
            !passwd
                .lines()
                .any(|line| line.split(':').next() == Some(user))
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let useradd = [
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--shell",
        "/usr/sbin/nologin",
    ];
    if !components::is_root()? {
        let lines: Vec<_> = missing
            .iter()
            .map(|user| format!("sudo {} {user}", useradd.join(" ")))
            .collect();
        bail!(
            "missing system users; run this line once:\n  {}",
            lines.join(" && ")
        );
    }
    for user in missing {
        sh::quiet(sh::command(useradd[0]).args(&useradd[1..]).arg(user))?;
    }
    Ok(())
}
