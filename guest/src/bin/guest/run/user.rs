//! The user that a program runs as.

use std::fs;
use std::io;
use std::iter;

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

/// Where users and groups are listed (passwd(5), group(5)).
const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// A user of this guest, with the groups that it is in. Those that only a name service knows (nsswitch.conf(5)) are none: the
/// tool is linked statically and loads no such service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct User {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// There is no such user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    /// A list cannot be read.
    #[error("{file} cannot be read: {source}")]
    Unreadable {
        /// Which.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It is not listed, or its line is malformed.
    #[error("{USERS} has no user `{0}`; make one, or name another")]
    Unknown(String),
}

impl User {
    /// The user of this name.
    pub(crate) fn named(name: &str) -> Result<Self, UserError> {
        let read = |file| match fs::read(file) {
            Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Err(source) => Err(UserError::Unreadable { file, source }),
        };
        Self::listed(name, &read(USERS)?, &read(GROUPS)?)
            .ok_or_else(|| UserError::Unknown(name.into()))
    }

    /// `name:password:uid:gid:…` and `name:password:gid:user,user`.
    fn listed(name: &str, users: &str, groups: &str) -> Option<Self> {
        let fields = |line| str::split(line, ':').collect::<Vec<_>>();
        let mut users = users.lines().map(fields);
        let user = users.find(|user| user.first() == Some(&name))?;
        let uid = Uid::from_raw(user.get(2)?.parse().ok()?);
        let gid = Gid::from_raw(user.get(3)?.parse().ok()?);
        let is_member = |group: &Vec<&str>| {
            let members = group.get(3).map_or("", |members| *members);
            members.split(',').any(|member| member == name)
        };
        let others = (groups.lines().map(fields))
            .filter(is_member)
            .filter_map(|group| Some(Gid::from_raw(group.get(2)?.parse().ok()?)));
        let groups = iter::once(gid).chain(others).collect();
        Some(Self {
            name: name.into(),
            uid,
            gid,
            groups,
        })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Has this process become it, for good.
    pub(super) fn become_it(&self) -> nix::Result<()> {
        setgroups(&self.groups)?;
        setgid(self.gid)?;
        setuid(self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0::/root:/bin/sh\nledger:x:990:991::/:/bin/false\n\
                         broken:x:many:991::/:/bin/false\nledgers:x:992:992::/:/bin/false";
    const GROUPS: &str = "root:x:0:\nledger:x:991:\nmail:x:8:root,ledger\nlog:x:4:ledgers\n\
                          broken:x:many:ledger\nshort:x";

    #[test]
    fn a_user_has_its_own_groups_and_no_others() {
        let user = User::listed("ledger", USERS, GROUPS).unwrap();
        assert_eq!(
            (user.uid, user.gid),
            (Uid::from_raw(990), Gid::from_raw(991))
        );
        assert_eq!(user.groups, [991, 8].map(Gid::from_raw));
    }

    #[test]
    fn who_is_not_listed_is_nobody() {
        for name in ["", "ledge", "broken", "990", "x"] {
            assert_eq!(User::listed(name, USERS, GROUPS), None, "{name}");
        }
        let refused = User::named("nobody of this name").unwrap_err();
        assert!(matches!(refused, UserError::Unknown(_)), "{refused}");
    }
}
