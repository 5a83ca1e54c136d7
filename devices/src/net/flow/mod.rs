//! The flows of one guest: each judged once, as the enclave decided, and tracked.
//!
//! ```text
//!                 ┌── a cached verdict is wide enough ─────────────┐
//!   first packet ─┤                                                ▼
//!                 └── asked: held ── Verdict ──────────────► allowed │ denied ── idle, closed ──► gone
//!                          ▲                                       │
//!                          └──── its epoch does not hold any more ─┘
//! ```
//!
//! All that a guest, or whoever speaks to it, can have held here is bounded by [`Limits`]. What exceeds a bound is refused,
//! never let by.

mod asked;
mod entry;
mod key;
mod record;
mod table;
mod tcp;
mod verdicts;

pub use key::Key;
pub use record::Record;
pub use table::{Flows, Judged, Limits, Numbers};
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
    /// The guest has too many flows.
    #[error("the guest has too many flows")]
    TooManyFlows,
    /// Too many flows of the guest wait for a verdict.
    #[error("too many of the guest's flows wait for a verdict")]
    TooManyQuestions,
    /// Too many packets of the flow, or of the guest, wait for a verdict.
    #[error("too many of the guest's packets wait for a verdict")]
    TooManyHeld,
}
