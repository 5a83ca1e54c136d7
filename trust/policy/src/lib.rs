//! What guests may do: the language in which that is written, its compiled form, and decisions.
//!
//! ```text
//!  text ──► Policy ──┬─► Compiled::of(policies, guest) ──► decide(request) ──► Decision
//!  YAML, JSON        └─► plain::decide(policies, guest, request), the same without an index: the oracle of tests
//!
//!  PolicySet ── authors' signatures, scopes, serials ──► AuthenticSet, whose policies may be in force
//! ```
//!
//! A [`Policy`] selects guests, and has rules for four kinds of operation: `exec`, `file`, `network`, `syscall`. Of the rules of all
//! policies that select a guest, those that match a request are put in order, and the first one decides:
//!
//! 1. the higher `priority`;
//! 2. `deny` before `allow`;
//! 3. the policy whose name comes first;
//! 4. the rule that is written first.
//!
//! A rule in mode `audit` takes no part in that; where it would have decided, the decision names it. Where no rule matches, the kind's
//! default does: `allow` only where every policy that selects the guest and states one says so, else `deny`. Where no policy selects the
//! guest, everything is denied.
//!
//! A field of a rule that is left out matches everything; of a field that lists values one must match; all fields must. What is not
//! known of a request (the process behind a packet, say) matches no rule that allows, and every rule that denies.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod authors;
mod compiled;
mod decision;
mod document;
mod guest;
mod index;
mod order;
pub mod plain;
mod policy_set;
mod read;
mod request;
mod schema;
mod signed;
mod width;

pub use authors::{
    Author, AuthorKey, Authors, MAX_AUTHORS, NoAuthorKey, NoAuthors, OutsideScope, PolicyNames,
    Scope, ScopedGuests,
};
pub use compiled::{Compiled, NameClass, Room, TooLarge};
pub use decision::{Decided, Decision, RuleName};
pub use document::{
    Access, Action, Argument, Call, Cidr, Count, Defaults, Digest, Direction, Effect, Exec, File,
    Hosts, Index, IntegrityFile, IntegritySet, Kind, MAX_NAME, MAX_VALUES, Mode, Network, NoName,
    Number, PathPattern, Peer, Policy, Protocol, Range, Rule, Selection, Subject, Syscall,
    Threshold, What,
};
pub use guest::{Guest, Trust};
pub use index::{Depended, Extent, Field};
pub use policy_set::{
    AuthenticSet, Issue, MAX_POLICIES, MAX_SEEN, MAX_SET_BYTES, NoSet, Origin, PolicySet, Seen,
    SetRefusal,
};
pub use read::{Format, MAX_BYTES, ReadError, read};
pub use request::{Flow, Known, MAX_NAMES, Operation, PeerGuest, Process, Request};
pub use schema::SCHEMA;
pub use signed::{AuthenticPolicy, PolicyRefusal, Sha384, SignPolicyError, sign_policy};
pub use width::FlowWidth;
