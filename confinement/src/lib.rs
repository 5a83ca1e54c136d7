//! What a process gives up before it serves.
//!
//! Each process keeps what it needs as data, with a reason a line; this crate makes the kernel hold it to that.
//! It is the only one that speaks to seccomp(2) and landlock(7), and it sets `no_new_privs` with either.
//!
//! | module | what is given up |
//! |---|---|
//! | [`system_call`], [`filter`] | system calls: a table as data, and the filters made from it |
//! | [`access`] | files, TCP, signals: Landlock rules as data, and the domain made from them |
//! | [`dumps`] | core dumps and debuggers of the same user |
//!
//! Filters and Landlock domains are inherited by children, across exec, and can only be narrowed. A process that
//! starts others must leave them what they need: a table of [`filter::Filter::all_but`] is for those.

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

pub mod access;
pub mod dumps;
pub mod filter;
pub mod system_call;

pub use access::{AccessError, Domain, Rights, Rules};
pub use dumps::forbid_dumps;
pub use filter::{Filter, FilterError};
pub use system_call::{SystemCall, When};
