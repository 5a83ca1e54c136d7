//! The vaults of a verifier and of a host, whose keys are always the same and in memory.

use std::sync::LazyLock;

use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::cose::{Curve, PublicKey, Sign as _};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{Purpose, VaultKind, VaultReply, VaultRequest};
use bartizan_vault::backend::{Backend, BackendError, Encoding, NewKey, StoredKey};
use bartizan_vault::{Keyring, Role, Vault};

use crate::fleet::{FLEET, NOW_S};

/// The vaults of one fleet.
pub static VAULTS: LazyLock<Vaults> = LazyLock::new(Vaults::new);

/// A verifier's and a host's vault: the host enrolled, each with all its keys.
pub struct Vaults {
    /// The verifier's.
    pub verifier: Vault,
    /// The host's.
    pub host: Vault,
    /// The fleet CA that the verifier's vault made.
    pub ca: FleetCa,
    /// The host's card.
    pub card: CardId,
    /// The leaf of the verifier's TLS key.
    pub tls_server: Vec<u8>,
    /// The leaf of the host's TLS key.
    pub tls_client: Vec<u8>,
}

impl Vaults {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("fuzz-{}.keys", std::process::id()));
        std::fs::create_dir(&folder).expect("a place for key stores");
        let open = |name, role| {
            let keyring = Keyring::open(&folder.join(name)).expect("an empty key store");
            Vault::new(role, Box::new(Fixed), keyring)
        };
        let (verifier, host) = (open("verifier", Role::Verifier), open("host", Role::Host));
        let (name, lifetime_s) = ("fleet".to_owned(), 24 * 3600);
        let names = vec!["verifier.example".to_owned()];

        let ca = leaf(verifier.answer(VaultRequest::CreateFleetCa { name }, NOW_S));
        let VaultReply::Csr(csr) = host.answer(VaultRequest::CreateCardIdentity, NOW_S) else {
            panic!("the card has no key");
        };
        let name = "host-1".to_owned();
        let card = leaf(verifier.answer(VaultRequest::IssueHost { csr, name }, NOW_S));
        let install = VaultRequest::InstallCardIdentity {
            chain: vec![card.into()],
            fleet_ca: ca.clone(),
        };
        leaf(host.answer(install, NOW_S));
        let rotate = VaultRequest::RotateTlsServer { names, lifetime_s };
        let tls_server = leaf(verifier.answer(rotate, NOW_S));
        leaf(verifier.answer(VaultRequest::RotateToken { lifetime_s }, NOW_S));
        let tls_client = leaf(host.answer(VaultRequest::RotateTlsClient { lifetime_s }, NOW_S));
        // From here on nothing is asked of them that changes what is stored.
        std::fs::remove_dir_all(&folder).expect("it was just made");
        Self {
            verifier,
            host,
            ca: FleetCa::from_der(&ca).expect("a fleet's CA"),
            card: CardId(key(Purpose::CardIdentity).public_key().sha256()),
            tls_server,
            tls_client,
        }
    }
}

fn leaf(reply: VaultReply) -> Vec<u8> {
    match reply {
        VaultReply::Certificates(chain) => chain[0].to_vec(),
        other => panic!("no certificate, but {other:?}"),
    }
}

/// A back end with one key a purpose.
struct Fixed;

/// The P-384 key of a purpose.
fn key(purpose: Purpose) -> &'static EphemeralKey {
    match purpose {
        Purpose::FleetCa => &FLEET.ca_key,
        Purpose::CardIdentity => &FLEET.card_key,
        Purpose::TlsServer => &FLEET.report_key,
        Purpose::TlsClient | Purpose::Token => &FLEET.guest_key,
    }
}

impl Backend for Fixed {
    fn kind(&self) -> VaultKind {
        VaultKind::Software
    }

    fn generate(&self, purpose: Purpose) -> Result<NewKey, BackendError> {
        let public = match purpose {
            Purpose::Token => PublicKey::from_point(Curve::P256, FLEET.token_key.point())
                .map_err(|_| BackendError::Generate)?,
            _ => key(purpose).public_key(),
        };
        let blob = Vec::new();
        Ok(NewKey { public, blob })
    }

    fn sign(
        &self,
        purpose: Purpose,
        _: &StoredKey<'_>,
        message: &[u8],
        encoding: Encoding,
    ) -> Result<Vec<u8>, BackendError> {
        let signature = match (purpose, encoding) {
            (Purpose::Token, _) => Ok(FLEET.token_key.signature(message)),
            (_, Encoding::Fixed) => key(purpose).sign(message),
            (_, Encoding::Der) => key(purpose).sign_der(message),
        };
        signature.map_err(|_| BackendError::Sign)
    }
}
