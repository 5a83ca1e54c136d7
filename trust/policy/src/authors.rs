//! Who may write policies, and which: pinned in a measured configuration.
//!
//! ```yaml
//! - name: network-team
//!   key: |
//!     -----BEGIN PUBLIC KEY-----
//!     …
//!     -----END PUBLIC KEY-----
//!   scope:
//!     policies: ['net/*']
//!     kinds: [network]
//!     guests: {roles: [web, db], labels: {env: production}}
//!     highest_priority: 100
//! ```
//!
//! Whoever distributes policies holds no author's key: it can hold one back, and neither invent, nor change, nor widen one. Two authors whose
//! scopes share a name can replace one another's policy of that name.

mod key;
mod scope;

pub use key::{AuthorKey, NoAuthorKey};
pub use scope::{OutsideScope, PolicyNames, Scope, ScopedGuests};

use serde::{Deserialize, Serialize};

/// Most authors.
pub const MAX_AUTHORS: usize = 64;

/// All authors: no two of one name or key.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(try_from = "Vec<Author>", into = "Vec<Author>")]
pub struct Authors(Vec<Author>);

/// One who signs policies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// For people.
    pub name: String,
    /// The key.
    pub key: AuthorKey,
    /// Which policies.
    pub scope: Scope,
}

/// They cannot be told apart, or are too many.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoAuthors {
    /// Two have one name.
    #[error("two authors are called `{0}`")]
    NameTwice(String),
    /// Two have one key.
    #[error("`{0}` and `{1}` have the same key: one author has one scope")]
    KeyTwice(String, String),
    /// They are too many.
    #[error("there are {MAX_AUTHORS} authors at most, these are {0}")]
    TooMany(usize),
}

impl Authors {
    /// Of a list.
    pub fn new(authors: Vec<Author>) -> Result<Self, NoAuthors> {
        if authors.len() > MAX_AUTHORS {
            return Err(NoAuthors::TooMany(authors.len()));
        }
        for (place, author) in authors.iter().enumerate() {
            for before in authors.iter().take(place) {
                if before.name == author.name {
                    return Err(NoAuthors::NameTwice(author.name.clone()));
                }
                if before.key == author.key {
                    let (before, author) = (before.name.clone(), author.name.clone());
                    return Err(NoAuthors::KeyTwice(before, author));
                }
            }
        }
        Ok(Self(authors))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Author> {
        self.0.iter()
    }

    /// The one with a key, by the SHA-256 over its SubjectPublicKeyInfo.
    #[must_use]
    pub fn with_key(&self, sha256: &[u8; 32]) -> Option<&Author> {
        self.iter().find(|author| author.key.sha256() == *sha256)
    }
}

impl TryFrom<Vec<Author>> for Authors {
    type Error = NoAuthors;

    fn try_from(authors: Vec<Author>) -> Result<Self, NoAuthors> {
        Self::new(authors)
    }
}

impl From<Authors> for Vec<Author> {
    fn from(authors: Authors) -> Self {
        authors.0
    }
}
