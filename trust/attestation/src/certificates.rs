//! Certificates (RFC 5280): what each kind must look like, and the way from one to the fleet CA.
//!
//! ```text
//! fleet CA ─┬─ card identity (CA, pathlen 0) ─┬─ report key   (measurer, for one guest and boot)
//!           │                                 ├─ guest key    (made in that guest)
//!           │                                 └─ TLS client   (host → verifier)
//!           ├─ operator
//!           ├─ TLS server (verifier)
//!           └─ token key  (P-256; every other key is P-384)
//! ```
//!
//! | attack | answer |
//! |---|---|
//! | a key of one usage presented for another | the extended key usages must be exactly those of the usage, not merely contain one |
//! | a card that certifies guests of another card | a leaf's card id must be the one in its issuer's certificate, which the fleet CA signed |
//! | a card that takes another's id | the fleet CA's vault gives a key no id but its own hash, or that of the card whose key signed for it ([`crate::succession`]) |
//! | a development vault passed off as a better one | leaf and card must name the same vault |
//! | long, deep or cyclic chains | the length is fixed by the usage; certificates are bounded in size |
//! | extra certificates to confuse path building | there is room for none; what links the CAs of a fleet ([`Lineage`]) is handed over beside chains |
//! | a leaf that the fleet CA issued itself, under a card that it has nothing to do with | the path must lead through the card in the chain |

mod chain;
mod contents;
mod error;
mod fleet_ca;
mod lineage;
mod linked_ca;
mod role;
mod subject;
pub mod tcb_info;
mod usage;

pub use chain::{VerifiedCertificate, verify_chain};
pub use contents::key_in;
pub use error::ChainError;
pub use fleet_ca::{FleetCa, FleetCaError};
pub use lineage::{FormerFleetCa, Lineage, LineageError};
pub use linked_ca::LinkedCa;
pub use role::Role;
pub use subject::Subject;
pub use usage::Usage;

pub(crate) use contents::{is_ecdsa_with_sha384, read_public_key};

#[cfg(test)]
pub(crate) mod tests;
