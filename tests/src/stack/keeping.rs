//! Where the vaults of a stack keep their keys, if not in files.

use anyhow::Result;
use serde_json::Value;

use crate::token::{Token, Tpm};

/// Of each vault the device that keeps its keys.
#[derive(Clone, Debug, Default)]
pub struct Keeping {
    /// Of the verifier's vault.
    pub verifier: Option<Kept>,
    /// Of the host's.
    pub host: Option<Kept>,
}

/// A device, as a vault is told of it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// `sealing` of the vault's configuration.
    pub(super) sealing: Value,
    /// What the vault must find in its environment.
    pub(super) environment: Option<(String, String)>,
}

impl Kept {
    /// In a TPM.
    #[must_use]
    pub fn in_tpm(tpm: &Tpm) -> Self {
        Self {
            sealing: tpm.sealing(),
            environment: None,
        }
    }

    /// In a PKCS #11 token.
    pub fn in_token(token: &Token) -> Result<Self> {
        Ok(Self {
            sealing: token.sealing()?,
            environment: Some(token.variable()?),
        })
    }
}
