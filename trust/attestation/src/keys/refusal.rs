//! Why a vault refuses.

use minicbor::{Decode, Encode};

use super::Purpose;
use crate::boot::{Phase, Refusal};
use crate::rotation::RotationRefusal;

/// Why a vault refused.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum VaultRefusal {
    /// The role of this vault does not have that purpose.
    #[n(0)]
    #[error("this vault's role does not hold {purpose:?} keys")]
    WrongRole {
        /// What was asked for.
        #[n(0)]
        purpose: Purpose,
    },
    /// There is no such key yet.
    #[n(1)]
    #[error("there is no {purpose:?} key yet")]
    NoKey {
        /// What was asked for.
        #[n(0)]
        purpose: Purpose,
    },
    /// The key exists already and is made once only.
    #[n(2)]
    #[error("the {purpose:?} key exists already")]
    Exists {
        /// What was asked for.
        #[n(0)]
        purpose: Purpose,
    },
    /// The CSR, chain, claims or message is not what this purpose signs.
    #[n(3)]
    #[error("refused to sign: {0}")]
    NotSignable(#[n(0)] String),
    /// The store could not be read or written.
    #[n(4)]
    #[error("the key store failed: {0}")]
    Store(#[n(0)] String),
    /// The device that holds the keys cannot be reached, or lost what it had: it is sought again at the next request.
    #[n(50)]
    #[error("the device that holds the keys does not answer: {0}")]
    DeviceAway(#[n(0)] String),
    /// The fleet has its first operator, and the vault's configuration does not name this one.
    #[n(5)]
    #[error(
        "the vault's configuration does not name operator `{name}`; if key {key_sha256} is theirs, add both to `operators` there and start the vault anew"
    )]
    UnnamedOperator {
        /// The name that was asked for.
        #[n(0)]
        name: String,
        /// SHA-256 over the key's DER SubjectPublicKeyInfo, 64 hexadecimal digits.
        #[n(1)]
        key_sha256: String,
    },
    /// As many keys of that purpose are valid as there may be.
    #[n(6)]
    #[error(
        "there are {keys} {purpose:?} keys whose certificates are still valid, the most there may be; wait until the oldest has expired"
    )]
    Overlap {
        /// What was asked for.
        #[n(0)]
        purpose: Purpose,
        /// How many there are.
        #[n(1)]
        keys: u32,
    },
    /// The keys are in no TPM.
    #[n(8)]
    #[error("this vault's keys are in no TPM")]
    NoTpm,
    /// The boot has not come that far, or was stopped.
    #[n(7)]
    #[error("that stays shut until phase {phase} of the measured boot has ended{}", why_stopped(.stopped.as_ref()))]
    Shut {
        /// Which phase opens it.
        #[n(0)]
        phase: Phase,
        /// Why the boot was stopped, if it was.
        #[n(1)]
        stopped: Option<Refusal>,
    },
    /// The fleet CA is not replaced.
    #[n(40)]
    #[error("the fleet CA is not replaced: {0}")]
    Rotation(#[n(0)] RotationRefusal),
    /// As many former fleet CAs as may be have certified what may still be valid.
    #[n(41)]
    #[error(
        "the {former} former fleet CAs that may be have certified what is still valid; replace the present one after {until} s since the Unix epoch"
    )]
    TooManyFormer {
        /// How many there are.
        #[n(0)]
        former: u32,
        /// Until when what the oldest certified may be valid, in seconds since the Unix epoch.
        #[n(1)]
        until: u64,
    },
    /// Those are not this fleet's CAs.
    #[n(42)]
    #[error("the fleet CA that is trusted stays: {0}")]
    Lineage(#[n(0)] String),
    /// That is not the state of the enclave that comes next.
    #[n(80)]
    #[error("state {asked} of the enclave does not come after {recorded}, the newest")]
    StateOrder {
        /// The number of the newest; 0 where there is none.
        #[n(0)]
        recorded: u64,
        /// The number that was to be it.
        #[n(1)]
        asked: u64,
    },
}

fn why_stopped(refusal: Option<&Refusal>) -> String {
    refusal.map_or_else(String::new, |refusal| {
        format!("; the boot was stopped: {refusal}")
    })
}
