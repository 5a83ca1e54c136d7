//! The flows of one guest: each judged once, as the enclave decided, and tracked.
//!
//! ```text
//!                 ┌── a cached verdict is wide enough ─────────────┐
//!   first packet ─┤                                                ▼
//!                 └── asked: held ── Verdict ──────────────► allowed │ denied ── idle, closed ──► gone
//!                      ▲     └─ no answer: lapsed ─┐               │
//!                      └──── the next packet ──────┴─ its epoch does not hold any more
//! ```
//!
//! All that a guest, or whoever speaks to it, can have held here is bounded by [`Limits`], of which nobody can take all. What
//! exceeds a bound is refused, never let by.

mod asked;
mod begin;
mod budget;
mod changes;
mod denials;
mod entry;
mod fallback;
mod key;
mod outside;
mod page;
mod pick_up;
mod record;
mod slots;
mod table;
mod tcp;
mod verdicts;

pub use asked::Numbers;
pub use budget::Limits;
pub use key::Key;
pub use page::{Cursor, PAGE};
pub use pick_up::PICK_UP;
pub use record::{Decided, Moment, Record};
pub use table::{Flows, Judged};
pub use tcp::TcpError;

/// Why a packet does not pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum FlowError {
    /// So it was decided.
    #[error("the flow is denied")]
    Denied,
    /// Nobody can decide, and it may not be meanwhile.
    #[error("nobody can decide on the flow now")]
    Unavailable,
    /// It belongs to no flow, and does not begin one.
    #[error("the packet belongs to no flow and begins none")]
    NoFlow,
    /// TCP's rules are broken.
    #[error(transparent)]
    Tcp(#[from] TcpError),
    /// An answer to an echo that was answered, or never asked.
    #[error("more echoes are answered than were asked")]
    Unasked,
    /// The sender's side takes the one end for who began the connection, and this side the other.
    #[error("the connection's handshake is on no record, and its two sides differ on who began it")]
    Beginner,
    /// Whoever begins the flow has as many as it may have.
    #[error("there are too many flows of whoever begins this one")]
    TooManyFlows,
    /// Likewise of connections whose handshake is not done.
    #[error("there are too many half-open connections of whoever begins this one")]
    TooManyHalfOpen,
    /// Likewise of flows that wait for a verdict.
    #[error("too many flows of whoever began this one wait for a verdict")]
    TooManyQuestions,
    /// Too many packets of the flow, or of their sender, wait for a verdict.
    #[error("too many of the sender's packets wait for a verdict")]
    TooManyHeld,
}
