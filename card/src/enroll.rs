//! Enrolment: the vault makes the card identity key, the verifier certifies it against a one-time join code.
//!
//! The fleet CA comes by a way that the operator trusts, not over this connection: nothing is trusted on first use.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bartizan_attestation::certificates::{
    ChainError, FleetCa, Lineage, LineageError, LinkedCa, Usage, verify_chain,
};
use bartizan_attestation::host::{CardRefusal, OPERATION_FRAME, OperationRequest};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{Chain, VaultKind, VaultReply, VaultRequest};
use bartizan_channel::https::{Request, request};
use bartizan_channel::{ChannelError, Connector};
use bartizan_local::{FrameError, write_frame};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::json;

use crate::config::Config;
use crate::unix_now;
use crate::vault::{Vault, VaultError};
use crate::verifier::{Enrolled, understand};

mod tpm;

/// How long the verifier may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a card that runs may take to find its identity.
const TAKE_UP: Duration = Duration::from_secs(30);
/// Largest answer in bytes.
const MAX_ANSWER: usize = 64 << 10;
const NOT_KEPT: &str =
    "the vault does not know the former fleet CAs yet; the card has it follow within minutes";

/// The host was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The vault did not do it.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The verifier could not be reached, or is not of this fleet.
    #[error(
        "the verifier was not asked: {0}; is `verifier` right in the configuration, and is the fleet CA its own?"
    )]
    Channel(#[source] ChannelError),
    /// The verifier may have been asked, and its answer is not there.
    #[error(
        "the verifier did not answer: {0}; whether it certified this host is not known: enrol again, with a new join code where this one was used, and revoke what `bartizan host list` shows of this try"
    )]
    Unanswered(#[source] ChannelError),
    /// The verifier refused.
    #[error(transparent)]
    Refused(#[from] CardRefusal),
    /// The verifier's challenge is none.
    #[error(
        "the verifier's challenge for the TPM is malformed; see that card and verifier are of one version"
    )]
    Challenge,
    /// The verifier's fleet CAs are not those of the one that was brought here.
    #[error("the verifier's fleet CAs are refused: {0}")]
    Lineage(#[from] LineageError),
    /// The verifier's certificate for this host is not what it should be.
    #[error("the certificate for this host is refused: {0}")]
    Chain(#[from] ChainError),
}

impl From<ChannelError> for EnrollError {
    fn from(error: ChannelError) -> Self {
        if error.may_have_been_asked() {
            Self::Unanswered(error)
        } else {
            Self::Channel(error)
        }
    }
}

/// Enrols this host under a name, with a join code; answers its card id.
pub async fn enroll(
    config: &Config,
    name: &str,
    join_code: &str,
    fleet_ca: &FleetCa,
) -> Result<CardId, EnrollError> {
    let vault = Vault::new(config.vault_socket.clone());
    let VaultReply::Csr(csr) = vault.ask(&VaultRequest::CreateCardIdentity)? else {
        return Err(VaultError::Unexpected.into());
    };
    let VaultReply::Description { kind, .. } = vault.ask(&VaultRequest::Describe)? else {
        return Err(VaultError::Unexpected.into());
    };
    // The one that was brought here may have been replaced since.
    let mut cas = followed(config, LinkedCa::alone(fleet_ca)).await?;
    let connector = Connector::anonymous(cas.ca().der())?;
    let wish = json!({
        "join_code": join_code, "name": name, "csr": B64.encode(csr), "vault": kind.name(),
    });
    let secrets = match kind {
        VaultKind::Tpm2 => Some(tpm::prove(config, &vault, &connector, &wish).await?),
        VaultKind::Software | VaultKind::Pkcs11 => None,
    };
    let mut body = wish;
    if let (Some(secrets), Some(members)) = (secrets, body.as_object_mut()) {
        members.insert("secrets".into(), B64.encode(secrets).into());
    }
    let ask = Request {
        method: "POST",
        path: "/v1/hosts".into(),
        body: body.to_string().into_bytes(),
    };
    let response = request(
        &connector,
        &config.verifier.endpoint(),
        ask,
        MAX_ANSWER,
        DEADLINE,
    )
    .await?;
    let enrolled: Enrolled = understand(&response)?;
    let chain = enrolled.chain()?;
    let verify = |ca: &FleetCa| verify_chain(&chain, &ca.alone(), unix_now(), Usage::Card);
    let mut verified = verify(cas.ca());
    if matches!(verified, Err(ChainError::ForeignCa)) {
        // The CA was replaced while the verifier was asked, and the join code is spent.
        cas = followed(config, cas).await?;
        verified = verify(cas.ca());
    }
    let verified = verified?;
    let card = verified.card.ok_or(ChainError::AlternativeName)?;
    let chain: Chain = chain.into_iter().map(Into::into).collect();
    // The vault checks again that the chain is for the key that it made.
    vault.chain(&VaultRequest::InstallCardIdentity {
        chain,
        fleet_ca: cas.ca().der().to_vec(),
    })?;
    // Enrolled by now, whatever comes: what is not kept here the card learns when it asks for the fleet's CAs.
    let lineage = (**cas.lineage()).clone();
    match vault.ask(&VaultRequest::RollFleetCa { lineage }) {
        Ok(VaultReply::Done) => {}
        Ok(_) => tracing::warn!(error = %VaultError::Unexpected, "{NOT_KEPT}"),
        Err(error) => tracing::warn!(%error, "{NOT_KEPT}"),
    }
    if !tokio::task::block_in_place(|| taken_up(config)) {
        tracing::warn!(
            "the card that runs on this host has not taken its identity up yet; see its log"
        );
    }
    Ok(card)
}

/// The CA that is trusted, or the one that took its place by the word of the verifier that it vouches for.
async fn followed(config: &Config, trusted: LinkedCa) -> Result<LinkedCa, EnrollError> {
    let connector = Connector::anonymous(trusted.ca().der())?;
    let ask = Request {
        method: "GET",
        path: "/v1/fleet-ca".into(),
        body: Vec::new(),
    };
    let to = config.verifier.endpoint();
    let response = request(&connector, &to, ask, MAX_ANSWER, DEADLINE).await;
    // Nothing is certified by that, whatever came of it.
    let response = response.map_err(EnrollError::Channel)?;
    let told: Lineage = understand(&response)?;
    let rolled = trusted.rolled(&told, unix_now())?;
    Ok(rolled.unwrap_or(trusted))
}

/// Waits until a card that runs already, and has waited for its identity, serves with it. Nobody answers at its socket for
/// operators before; what it answers then, to whom it may not even know, is not asked.
fn taken_up(config: &Config) -> bool {
    let Ok(mut link) = UnixStream::connect(&config.operations_socket) else {
        // None runs.
        return true;
    };
    let asked = link
        .set_read_timeout(Some(TAKE_UP))
        .map_err(FrameError::from)
        .and_then(|()| write_frame(&mut link, &OperationRequest::Describe, OPERATION_FRAME));
    match asked {
        Ok(()) => match link.read(&mut [0]) {
            Ok(_) => true,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        },
        // It has closed the link, as a card that serves does with a stranger.
        Err(_) => true,
    }
}
