//! The start of a fleet, from the machine that holds its root: makes the fleet CA if the vault has
//! none, and certifies the first operator. Nobody reaches this over the network. Further operators are
//! certified here too, once the vault's own configuration names them: whoever may open the vault's
//! socket, as the verifier may, cannot make operators by that alone.

use std::io;
use std::path::{Path, PathBuf};

use bartizan_attestation::certificates::{ChainError, FleetCa, FleetCaError, Usage, verify_chain};
use bartizan_attestation::keys::VaultRequest;

use crate::clock::now_s;
use crate::pem::{self, Label};
use crate::vault::{Vault, VaultError};

/// What to certify, and where to write it.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Name of the fleet, should its CA be made.
    pub fleet_name: String,
    /// The operator's PKCS#10 request, PEM or DER.
    pub operator_csr: PathBuf,
    /// The operator's name.
    pub operator_name: String,
    /// Where its chain goes, PEM, leaf first, without the fleet CA.
    pub operator_certificate: PathBuf,
    /// Where the fleet CA's certificate goes, PEM.
    pub fleet_ca: PathBuf,
}

/// The fleet was not begun.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The vault did not do it.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The vault's fleet CA is none.
    #[error(transparent)]
    FleetCa(#[from] FleetCaError),
    /// The vault answered with no certificate.
    #[error(
        "the vault answered with no certificate; see that vault and verifier are of one version"
    )]
    NoCertificate,
    /// What the vault issued is no operator's certificate.
    #[error("the vault issued a certificate that is no operator's: {0}")]
    Issued(#[from] ChainError),
    /// The request is neither PEM nor DER.
    #[error(
        "{0} holds no certification request (PKCS#10) in PEM or DER; make one with `bartizan operator request`"
    )]
    NoRequest(PathBuf),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Begins a fleet, or certifies a further operator of one that exists.
pub async fn begin(vault: &Vault, beginning: &Beginning) -> Result<(), InitError> {
    let csr = read_request(&beginning.operator_csr)?;
    let fleet_ca = match vault.describe().await?.fleet_ca {
        Some(fleet_ca) => fleet_ca,
        None => create(vault, &beginning.fleet_name).await?,
    };
    let anchor = FleetCa::from_der(&fleet_ca)?;
    let name = beginning.operator_name.clone();
    let chain = vault
        .certificates(VaultRequest::IssueOperator { csr, name })
        .await?;
    verify_chain(&chain, &anchor, now_s(), Usage::Operator)?;
    write(
        &beginning.fleet_ca,
        &pem::encode(Label::Certificate, &[fleet_ca]),
    )?;
    write(
        &beginning.operator_certificate,
        &pem::encode(Label::Certificate, &chain),
    )
}

async fn create(vault: &Vault, fleet_name: &str) -> Result<Vec<u8>, InitError> {
    let request = VaultRequest::CreateFleetCa {
        name: fleet_name.into(),
    };
    let made = vault.certificates(request).await?.into_iter().next();
    made.ok_or(InitError::NoCertificate)
}

fn read_request(path: &Path) -> Result<Vec<u8>, InitError> {
    let bytes = std::fs::read(path).map_err(|source| InitError::File {
        path: path.to_owned(),
        source,
    })?;
    pem::decode_request(&bytes).ok_or_else(|| InitError::NoRequest(path.to_owned()))
}

fn write(path: &Path, contents: &str) -> Result<(), InitError> {
    std::fs::write(path, contents).map_err(|source| InitError::File {
        path: path.to_owned(),
        source,
    })
}
