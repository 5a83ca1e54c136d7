//! The makers of TPMs whose word is taken.

use bartizan_attestation::tpm::{Makers, MakersError};
use serde::Deserialize;

/// CA certificates of TPM makers, as PEM in the configuration itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct TpmMakers(pub Makers);

impl TryFrom<String> for TpmMakers {
    type Error = MakersError;

    fn try_from(pem: String) -> Result<Self, MakersError> {
        Makers::from_pem(pem.as_bytes()).map(Self)
    }
}
