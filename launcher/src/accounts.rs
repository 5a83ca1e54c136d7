//! Users by name, from the host's own table (passwd(5)).

use std::path::Path;

/// A user and its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Its group's id.
    pub gid: u32,
}

/// There is no such user.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The table cannot be read.
    #[error("/etc/passwd cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// Nobody has that name.
    #[error("there is no user `{0}`; make it, as a system user")]
    Unknown(String),
    /// It is root by another name.
    #[error("user `{0}` is root, or of root's group; no program of a release runs as that")]
    Root(String),
}

/// The user of a name.
pub fn account(name: &str) -> Result<Account, AccountError> {
    let table = std::fs::read_to_string(Path::new("/etc/passwd"))?;
    match find(&table, name) {
        Some(Account { uid: 0, .. } | Account { gid: 0, .. }) => {
            Err(AccountError::Root(name.into()))
        }
        found => found.ok_or_else(|| AccountError::Unknown(name.into())),
    }
}

fn find(table: &str, name: &str) -> Option<Account> {
    let mut lines = table.lines();
    lines.find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let mut numbers = fields.skip(1).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(uid)), Some(Ok(gid))) => Some(Account { uid, gid }),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_nobody_that_a_program_runs_as() {
        assert!(matches!(account("root"), Err(AccountError::Root(_))));
        assert!(matches!(
            account("no such user"),
            Err(AccountError::Unknown(_))
        ));
    }

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let table = "root:x:0:0:root:/root:/bin/sh\nbroken:x:a:b\nvault:x:990:989::/:/bin/false\n";
        let found = find(table, "vault");
        assert_eq!(found, Some(Account { uid: 990, gid: 989 }));
        for name in ["vaul", "vault:x", "broken", "", "nobody"] {
            assert_eq!(find(table, name), None, "{name}");
        }
    }
}
