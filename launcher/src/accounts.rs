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
    /// It has a number that means nobody.
    #[error(
        "user `{0}`, or its group, has the number {UNCHANGED}, by which the kernel means whoever one is already; give it another"
    )]
    Unchanged(String),
}

/// Not a user's number, nor a group's: who becomes that one stays who it is (setresuid(2), chown(2)), which is root.
const UNCHANGED: u32 = u32::MAX;

/// The user of a name.
pub fn account(name: &str) -> Result<Account, AccountError> {
    let table = std::fs::read_to_string(Path::new("/etc/passwd"))?;
    of(&table, name)
}

fn of(table: &str, name: &str) -> Result<Account, AccountError> {
    let found = find(table, name).ok_or_else(|| AccountError::Unknown(name.into()))?;
    match [found.uid, found.gid] {
        [0, _] | [_, 0] => Err(AccountError::Root(name.into())),
        [UNCHANGED, _] | [_, UNCHANGED] => Err(AccountError::Unchanged(name.into())),
        _ => Ok(found),
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
        let table = "toor:x:0:1::/:/bin/sh\nwheel:x:1:0::/:/bin/sh\n";
        for name in ["toor", "wheel"] {
            let refused = of(table, name);
            assert!(matches!(refused, Err(AccountError::Root(_))), "{name}");
        }
    }

    /// Whoever "becomes" 4294967295 stays root.
    #[test]
    fn a_number_that_changes_nothing_is_nobody_that_a_program_runs_as() {
        let table = "user:x:4294967295:1::/:/bin/sh\ngroup:x:1:4294967295::/:/bin/sh\n\
                     last:x:4294967294:4294967294::/:/bin/sh\nbeyond:x:4294967296:1::/:/bin/sh\n";
        for name in ["user", "group"] {
            let refused = of(table, name);
            assert!(matches!(refused, Err(AccountError::Unchanged(_))), "{name}");
        }
        of(table, "last").unwrap();
        assert!(matches!(of(table, "beyond"), Err(AccountError::Unknown(_))));
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
