//! What is seen of guests' flows by whoever may: lists of them, each as it ends, their packets.
//!
//! ```text
//!   guest's thread ── page ──► answer of one ──┐
//!                  ── flow that ended ──► Feed ├── a reader's thread ──► the daemon (see bartizan_local::observation)
//!                  ── copy of a packet ─► Feed ┘
//! ```
//!
//! A guest's thread never waits for a reader: a page is asked for one by one, and what a feed has no room for is left out and counted.
//! Without a reader nothing of this is done but for a look at an empty list.

mod feed;
mod observer;

pub use feed::{Feed, Found, Weighs};
pub use observer::{Ask, Capture, Look, Observer, Watch};
