//! Proof that the identity key is in this host's TPM: it opens what the verifier encrypts for it.

use bartizan_attestation::keys::{TpmObject, VaultReply, VaultRequest};
use bartizan_channel::Connector;
use bartizan_channel::https::{Request, request};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DEADLINE, EnrollError, MAX_ANSWER};
use crate::config::Config;
use crate::vault::{Vault, VaultError};
use crate::verifier::understand;

/// Two secrets, encrypted to the TPM.
#[derive(Deserialize)]
struct Challenge {
    card: Credential,
    attestation: Credential,
}

#[derive(Deserialize)]
struct Credential {
    credential: String,
    secret: String,
}

/// Both secrets, opened. `wish`: who asks, with its join code.
pub(super) async fn prove(
    config: &Config,
    vault: &Vault,
    connector: &Connector,
    wish: &Value,
) -> Result<Vec<u8>, EnrollError> {
    let VaultReply::Tpm(Some(shown)) = vault.ask(&VaultRequest::DescribeTpm)? else {
        return Err(VaultError::Unexpected.into());
    };
    let encode = |bytes: &[u8]| B64.encode(bytes);
    let mut body = json!({
        "endorsement": encode(&shown.endorsement),
        "certificate": shown.certificate.as_deref().map(|certificate| encode(certificate)),
        "card": encode(&shown.card),
        "attestation": encode(&shown.attestation),
    });
    for member in ["join_code", "name", "csr"] {
        if let (Some(body), Some(value)) = (body.as_object_mut(), wish.get(member)) {
            body.insert(member.into(), value.clone());
        }
    }
    let ask = Request {
        method: "POST",
        path: "/v1/hosts/tpm-challenge".into(),
        body: body.to_string().into_bytes(),
    };
    let to = config.verifier.endpoint();
    let response = request(connector, &to, ask, MAX_ANSWER, DEADLINE).await?;
    let challenge: Challenge = understand(&response)?;
    let card = open(vault, TpmObject::CardIdentity, &challenge.card)?;
    let attestation = open(vault, TpmObject::Attestation, &challenge.attestation)?;
    Ok([card, attestation].concat())
}

fn open(vault: &Vault, object: TpmObject, made: &Credential) -> Result<Vec<u8>, EnrollError> {
    let bytes = |text: &str| B64.decode(text).map_err(|_| EnrollError::Challenge);
    let activate = VaultRequest::ActivateCredential {
        object,
        credential: bytes(&made.credential)?,
        secret: bytes(&made.secret)?,
    };
    match vault.ask(&activate)? {
        VaultReply::Secret(secret) => Ok(secret),
        _ => Err(VaultError::Unexpected.into()),
    }
}
