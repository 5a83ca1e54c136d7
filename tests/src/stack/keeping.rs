//! Where the vaults of a stack keep their keys, if not in files, and whether its host has an enclave.

use anyhow::Result;
use serde_json::Value;

use crate::hsm::Hsm;
use crate::token::{Token, Tpm};

/// Of each vault the device that keeps its keys, and who decides.
#[derive(Clone, Debug, Default)]
pub struct Keeping {
    /// Of the verifier's vault.
    pub verifier: Option<Kept>,
    /// Of the host's.
    pub host: Option<Kept>,
    /// Whether the host has an enclave.
    pub enclave: bool,
    /// Whether its guests have an uplink, and there is a network outside.
    pub uplink: bool,
}

/// A device, as a vault is told of it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What it is, as join codes have it.
    pub(super) kind: &'static str,
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
            kind: "tpm2",
            sealing: tpm.sealing(),
            environment: None,
        }
    }

    /// In a PKCS #11 token.
    pub fn in_token(token: &Token) -> Result<Self> {
        Ok(Self {
            kind: "pkcs11",
            sealing: token.sealing()?,
            environment: Some(token.variable()?),
        })
    }

    /// In a PKCS #11 token that another process has.
    pub fn in_hsm(hsm: &Hsm) -> Result<Self> {
        Ok(Self {
            kind: "pkcs11",
            sealing: hsm.sealing()?,
            environment: Some(hsm.variable()?),
        })
    }
}
