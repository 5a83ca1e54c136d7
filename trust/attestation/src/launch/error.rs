//! Why a launch record is refused.

use crate::certificates::{ChainError, Role};
use crate::cose::{CoseError, SignError};

/// A launch record from which no guest is started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchRecordError {
    /// It is too long.
    #[error("a launch record of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The YAML cannot be read, or a field is unknown, missing or out of its range.
    #[error("{problem}")]
    Yaml {
        /// Line, from 1; 0 where the problem has no place.
        line: u64,
        /// Column, from 1; 0 where the problem has no place.
        column: u64,
        /// The problem, with line and column.
        problem: String,
    },
    /// Firmware needs the PCI devices of `q35`.
    #[error("`boot: firmware` needs `machine: q35`")]
    FirmwareOnMicrovm,
    /// Firmware has nothing to boot.
    #[error("`boot: firmware` needs at least one disk to boot from")]
    FirmwareWithoutDisk,
    /// Its network device cannot be so.
    #[error("`network`: {0}")]
    Network(#[from] super::NetworkError),
    /// It could not be signed.
    #[error("the launch record could not be signed: {0}")]
    Sign(#[from] SignError),
    /// The signed message is malformed, or its signature wrong.
    #[error("the signed launch record: {0}")]
    Cose(#[from] CoseError),
    /// The signer's chain is refused.
    #[error("the launch record's signer: {0}")]
    Chain(#[from] ChainError),
    /// The signer is none of the fleet's operators.
    #[error("the launch record is not signed by an operator")]
    NotAnOperator,
    /// The signer's role allows no launch records.
    #[error(
        "operator `{name}` is {role}; have a runner or an administrator sign the launch record"
    )]
    Role {
        /// The operator.
        name: String,
        /// Its role.
        role: Role,
    },
    /// The payload is not UTF-8.
    #[error("the signed launch record is not UTF-8 text")]
    NotText,
    /// The record pins another fleet CA.
    #[error(
        "the record's fleet_ca_sha256 is {named}, this fleet's CA is {anchor}; correct it and sign anew"
    )]
    ForeignAnchor {
        /// What the record names.
        named: String,
        /// This fleet's.
        anchor: String,
    },
}

impl LaunchRecordError {
    /// Whether it is for a CA that is not known: another one of the fleet may be, once its CAs are learnt anew.
    #[must_use]
    pub const fn is_of_unknown_ca(&self) -> bool {
        matches!(
            self,
            Self::Chain(ChainError::ForeignCa) | Self::ForeignAnchor { .. }
        )
    }
}
