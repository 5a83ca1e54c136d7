//! The system users that `cargo xtask setup` made.

use anyhow::{Context, Result};

/// A system user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
}

/// The user of this name.
pub fn account(name: &str) -> Result<Account> {
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))
        .with_context(|| format!("there is no user {name}; run `cargo xtask setup`"))?;
    let mut fields = line.split(':').skip(2).map(str::parse);
    let (Some(Ok(uid)), Some(Ok(gid))) = (fields.next(), fields.next()) else {
        anyhow::bail!("/etc/passwd has a malformed line for {name}");
    };
    Ok(Account { uid, gid })
}
