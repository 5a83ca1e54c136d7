//! The policies that are in force as a whole.
//!
//! A set replaces the one before it, all of it or nothing. Whoever distributes it may leave policies out; an issue of a policy that is
//! older than one seen before is refused, also when the policy was away meanwhile: so [`Seen`] outlives the sets, and is kept
//! where it cannot be rolled back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_cose::cbor::{self, CborError};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Decoder, Encode};

use crate::authors::Authors;
use crate::document::{MAX_VALUES, Policy};
use crate::signed::{PolicyRefusal, Sha384, sha384};

/// Most policies of a set.
pub const MAX_POLICIES: u64 = 256;
/// Most bytes of a set.
pub const MAX_SET_BYTES: usize = 16 << 20;
/// Most names of policies that are ever seen.
pub const MAX_SEEN: usize = 4096;

/// Signed policies, as they are handed about.
#[derive(Clone, PartialEq, Eq, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct PolicySet {
    /// Each as its author signed it, in any order.
    #[cbor(n(0), decode_with = "at_most_policies")]
    pub policies: Vec<ByteVec>,
}

fn at_most_policies<C>(
    from: &mut Decoder<'_>,
    context: &mut C,
) -> Result<Vec<ByteVec>, minicbor::decode::Error> {
    cbor::at_most::<MAX_POLICIES, C, ByteVec>(from, context)
}

/// The latest issue of each policy that was ever in force, by its name.
#[derive(Clone, PartialEq, Eq, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Seen {
    #[n(0)]
    issues: BTreeMap<String, Issue>,
}

/// An issue of a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Issue {
    /// Its serial number.
    #[n(0)]
    pub serial: u64,
    /// SHA-384 over its text.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub digest: Sha384,
}

/// A set, each policy of which its author signed. Made by [`PolicySet::authenticate`] only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthenticSet {
    policies: Arc<[Policy]>,
    origins: Vec<Origin>,
    digest: Sha384,
    seen: Seen,
}

/// Where a policy is from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The policy's name.
    pub policy: String,
    /// Who signed it.
    pub author: String,
    /// Which issue it is.
    pub issue: Issue,
}

/// Bytes are no set.
#[derive(Debug, thiserror::Error)]
pub enum NoSet {
    /// They are too many.
    #[error("a set of policies has {MAX_SET_BYTES} bytes at most, this one has {0}")]
    TooLong(usize),
    /// They are none.
    #[error("no set of policies: {0}")]
    Malformed(#[from] CborError),
}

/// A set is refused: nothing of it is in force.
#[derive(Debug, thiserror::Error)]
pub enum SetRefusal {
    /// It has too many policies or bytes.
    #[error(
        "a set has {MAX_POLICIES} policies and {MAX_SET_BYTES} bytes at most, this one has {policies} and {bytes}"
    )]
    TooLarge {
        /// Policies.
        policies: usize,
        /// Bytes of them.
        bytes: usize,
    },
    /// One of them is refused.
    #[error("policy {place} of the set: {source}")]
    Policy {
        /// Its place in the set, from 0.
        place: usize,
        /// Why.
        source: PolicyRefusal,
    },
    /// They say too much together.
    #[error(
        "the policies of a set have {MAX_VALUES} rules and values in lists at most altogether, these have more"
    )]
    TooManyValues,
    /// Two have one name.
    #[error("two policies are called `{0}`")]
    NameTwice(String),
    /// A later issue was seen.
    #[error(
        "policy `{policy}` has serial {serial}, and {seen} was in force before: older issues are refused"
    )]
    Older {
        /// Which.
        policy: String,
        /// Its serial number.
        serial: u64,
        /// The highest that was seen.
        seen: u64,
    },
    /// Another text was seen under the same serial number.
    #[error(
        "policy `{policy}` has serial {serial}, under which another text was in force: each issue has a serial of its own"
    )]
    SerialTwice {
        /// Which.
        policy: String,
        /// Its serial number.
        serial: u64,
    },
    /// Too many names were seen.
    #[error("policies of {MAX_SEEN} names at most are remembered: use the names that there are")]
    TooManyNames,
}

impl PolicySet {
    /// Of signed policies.
    #[must_use]
    pub fn new(policies: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            policies: policies.into_iter().map(ByteVec::from).collect(),
        }
    }

    /// Reads one, in its one encoding.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoSet> {
        if bytes.len() > MAX_SET_BYTES {
            return Err(NoSet::TooLong(bytes.len()));
        }
        Ok(cbor::decode_strict(bytes)?)
    }

    /// Its one encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// SHA-384 over its encoding.
    #[must_use]
    pub fn digest(&self) -> Sha384 {
        sha384(&self.to_bytes())
    }

    /// Verifies all of it: each policy by its author and within that one's scope, none older than what was seen.
    pub fn authenticate(&self, authors: &Authors, seen: &Seen) -> Result<AuthenticSet, SetRefusal> {
        let bytes = self.to_bytes();
        let (policies, length) = (self.policies.len(), bytes.len());
        if policies as u64 > MAX_POLICIES || length > MAX_SET_BYTES {
            let bytes = length;
            return Err(SetRefusal::TooLarge { policies, bytes });
        }
        let digest = sha384(&bytes);
        drop(bytes);
        let mut seen = seen.clone();
        let (mut read, mut origins) = (Vec::new(), Vec::new());
        let (mut names, mut left) = (BTreeSet::new(), MAX_VALUES);
        for (place, signed) in self.policies.iter().enumerate() {
            let authentic = authors
                .verify(signed)
                .map_err(|source| SetRefusal::Policy { place, source })?;
            let policy = authentic.policy();
            left = left
                .checked_sub(policy.values())
                .ok_or(SetRefusal::TooManyValues)?;
            if !names.insert(policy.name.clone()) {
                return Err(SetRefusal::NameTwice(policy.name.clone()));
            }
            let issue = Issue {
                serial: policy.serial,
                digest: *authentic.digest(),
            };
            seen.see(&policy.name, issue)?;
            origins.push(Origin {
                policy: policy.name.clone(),
                author: authentic.author().to_owned(),
                issue,
            });
            read.push(authentic.into_policy());
        }
        Ok(AuthenticSet {
            policies: read.into(),
            origins,
            digest,
            seen,
        })
    }
}

impl Seen {
    /// The latest issues, by the names of their policies.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Issue)> {
        self.issues
            .iter()
            .map(|(name, issue)| (name.as_str(), *issue))
    }

    fn see(&mut self, policy: &str, issue: Issue) -> Result<(), SetRefusal> {
        let Issue { serial, digest } = issue;
        match self.issues.get(policy) {
            Some(seen) if serial < seen.serial => {
                let seen = seen.serial;
                let policy = policy.to_owned();
                return Err(SetRefusal::Older {
                    policy,
                    serial,
                    seen,
                });
            }
            Some(seen) if serial == seen.serial && digest != seen.digest => {
                let policy = policy.to_owned();
                return Err(SetRefusal::SerialTwice { policy, serial });
            }
            None if self.issues.len() >= MAX_SEEN => return Err(SetRefusal::TooManyNames),
            _ => {}
        }
        self.issues.insert(policy.to_owned(), issue);
        Ok(())
    }
}

impl AuthenticSet {
    /// The policies.
    #[must_use]
    pub const fn policies(&self) -> &Arc<[Policy]> {
        &self.policies
    }

    /// Where each is from, in the same order.
    #[must_use]
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// SHA-384 over the set's encoding: what whoever puts it in force acknowledges.
    #[must_use]
    pub const fn digest(&self) -> &Sha384 {
        &self.digest
    }

    /// What was seen with it: to be kept before the set is in force.
    #[must_use]
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }
}
