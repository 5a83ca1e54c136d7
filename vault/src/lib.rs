//! The vault: private keys by typed purpose, and nothing that signs bytes of somebody else's choice.
//!
//! ```text
//! request ─► Vault (purpose rules) ─► issue / token / handshake: builds or checks what is signed
//!                 │                          │
//!              Keyring (records on disk)  Backend (makes, holds, uses keys): software │ tpm2 │ pkcs11
//! ```
//!
//! | attack | answer |
//! |---|---|
//! | one purpose's key signs for another | each operation names its purpose; what is signed is built here, or checked to the byte |
//! | the store is copied | keys are sealed under a root key that is elsewhere (`software`: another file, so "development") |
//! | the store is copied, or an older one put back | the verifier notices two that go on from one state ([`bartizan_attestation::vault_counter`]) |
//! | the store is altered, keys swapped | each sealed key is bound to its purpose and its public key; the whole store is sealed |
//! | requests without end fill the store | few keys of a purpose overlap; the oldest gives way, but no token key that is valid; of each kind of key the last events are remembered |
//! | a key that was to be gone is not | the store names it until the back end has destroyed it; its history tells both |
//! | keys certified in advance, for longer than whoever asks has the card | each usage has its longest lifetime |
//! | a core dump, a debugger, swap | not dumpable, no core file, memory locked where the limits allow it |
//! | a bug in the vault itself | no path but the store's folder, no network, few system calls ([`confinement`]) |

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

pub mod backend;
pub mod boot;
pub mod config;
pub mod confinement;
mod handshake;
mod issue;
mod keyring;
mod lifetime;
pub mod pkcs11;
pub mod registers;
pub mod secret;
pub mod server;
mod signature;
pub mod software;
pub mod tpm2;
mod vault;

pub use config::{Config, Role};
pub use keyring::{Keyring, KeyringError, StoredKeyring};
pub use vault::Vault;
