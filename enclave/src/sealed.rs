//! The state that outlasts this machine: sealed here, kept by the card, its newest number by the vault.
//!
//! ```text
//!   a set is taken, a command done ─► State ─► sealed n + 1 ─► card: on disk ─► vault: n + 1 is the newest
//!                                                                                    │
//!   put in force, acknowledged  ◄────────────────────────────────────────────────────┘
//! ```
//!
//! Evidence is signed, kept, and only then sent: a machine that is started again sends the same pieces under the same numbers.
//!
//! | attack | answer |
//! |---|---|
//! | an older state, which was good once, is put back | it is not the one that the vault has recorded: the state is lost, and nothing rules |
//! | the state is taken away, so that this enclave begins as the first time | the vault has a record: the state is lost, and nothing rules |
//! | the state is altered, or another host's | its digest is recorded, and it is sealed for this card and this number |
//! | what is in it is believed for the seal alone | policies are authenticated anew, by the authors that are configured now |
//!
//! Whoever has the card has the key as well, and says what the vault has recorded; it could have another enclave certified in place of this one.

mod kept;
mod seal;
mod state;

pub use kept::{Due, Kept, Loss};
pub use seal::{OpenError, SealError, open, seal};
pub use state::{Command, EVIDENCE_LIMITS, MAX_ISOLATED, NoState, State};
