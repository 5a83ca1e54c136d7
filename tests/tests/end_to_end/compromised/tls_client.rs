//! A host's TLS client key in an attacker's hands: whoever takes the card over has the vault sign handshakes with it, as a copy of
//! the key would.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::keys::{KeyDescription, Purpose, VaultReply, VaultRequest};
use bartizan_channel::https::{self, Endpoint, Request};
use bartizan_channel::{Connector, HandshakeSignError, HandshakeSigner, Identity};
use bartizan_tests::accounts::Account;
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::Host;
use serde_json::{Value, json};

use super::{Card, ask_vault};
use crate::requests::Answer;

/// How long the verifier may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// One TLS client key, and the way to the verifier.
pub(crate) struct TlsClient {
    connector: Connector,
    verifier: Endpoint,
}

/// Who signs with it.
#[derive(Debug)]
struct Signer {
    card: Account,
    vault: PathBuf,
    certificate: Vec<u8>,
}

impl TlsClient {
    /// The key with this id, 64 hexadecimal digits.
    pub(crate) fn stolen(host: &Host, id: &str, operator: &Operator) -> Result<Self> {
        let VaultReply::Description { keys, .. } = Card(host).ask(&VaultRequest::Describe)? else {
            bail!("the vault does not describe itself");
        };
        let is_it =
            |key: &&KeyDescription| key.purpose == Purpose::TlsClient && hex::encode(*key.id) == id;
        let key = keys.iter().find(is_it).context("the vault has it not")?;
        let chain: Vec<_> = key.chain.iter().map(|der| der.to_vec()).collect();
        let signer = Arc::new(Signer {
            card: host.users.card,
            vault: host.layout.path("run/vault/vault.sock"),
            certificate: chain.first().context("its certificate")?.clone(),
        });
        let identity = Arc::new(Identity::new(chain, signer));
        let fleet_ca = FleetCa::from_pem_or_der(&fs::read(operator.fleet_ca())?)?;
        let (name, port) = operator.verifier().rsplit_once(':').context("host:port")?;
        Ok(Self {
            connector: Connector::authenticated(move || Arc::clone(&identity), fleet_ca.der())?,
            verifier: Endpoint {
                host: name.into(),
                port: port.parse()?,
                server_name: name.into(),
            },
        })
    }

    /// Asks the verifier, as the host, for a nonce for one of its guests.
    pub(crate) fn ask_nonce(&self, guest: GuestIdentity) -> Result<Answer> {
        let ask = Request {
            method: "POST",
            path: "/v1/nonces".into(),
            body: json!({ "guest": guest.to_string() })
                .to_string()
                .into_bytes(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let asked = https::request(&self.connector, &self.verifier, ask, MAX_ANSWER, PATIENCE);
        let response = runtime.block_on(asked)?;
        let body: Value = serde_json::from_slice(&response.body)?;
        Ok(Answer {
            status: response.status,
            body,
        })
    }
}

impl HandshakeSigner for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, HandshakeSignError> {
        let request = VaultRequest::SignTls {
            purpose: Purpose::TlsClient,
            certificate: self.certificate.clone(),
            message: message.to_vec(),
        };
        match ask_vault(self.card, &self.vault, &request) {
            Ok(VaultReply::Signature(signature)) => Ok(signature),
            _ => Err(HandshakeSignError),
        }
    }
}
