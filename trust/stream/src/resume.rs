//! How evidence goes on after a connection has broken: each piece is taken once, in order, whatever was lost on the way.
//!
//! ```text
//!  enclave: Outbox                                   verifier: Inbox
//!    push ─► 5 6 7 8 ─next(cursor)─► 5, 6, ✂         took 5, durable up to 4
//!            │  hello: oldest 5, next 9 ───────────► resume: within what I need?
//!            ◄──────────────── kept up to 5 ────────┘
//!    resume(5): 5 is dropped; a new cursor begins at 6
//! ```
//!
//! The sender keeps what it was not told to be durable, the receiver knows one number: up to where it is. Neither trusts the other
//! with it: a receiver that claims what was never sent, and a sender whose numbers begin above what the receiver has, or end below
//! it, are told apart, since the one has lost evidence and the other its own past.

mod inbox;
mod outbox;
#[cfg(test)]
mod tests;

pub use inbox::{Inbox, InboxError, Taken};
pub use outbox::{Cursor, Outbox, OutboxError, OutboxLimits, ReceiptError};
