//! The vaults of a verifier and of a host, as the daemons have them. Their keys differ from run to run.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use bartizan_attestation::certificates::{FleetCa, Usage, verify_chain};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{VaultKind, VaultReply, VaultRequest};
use bartizan_vault::backend::Backend;
use bartizan_vault::software::{RootKey, Software};
use bartizan_vault::{Role, StoredKeyring, Vault};

use crate::fleet::NOW_S;

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
    /// The leaf of the verifier's token key.
    pub token: Vec<u8>,
    /// The leaf of the verifier's TLS key.
    pub tls_server: Vec<u8>,
    /// The leaf of the host's TLS key.
    pub tls_client: Vec<u8>,
}

impl Vaults {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("fuzz-{}.keys", std::process::id()));
        std::fs::create_dir(&folder).expect("a place for key stores");
        let verifier = open(&folder.join("verifier"), Role::Verifier);
        let host = open(&folder.join("host"), Role::Host);
        let (name, lifetime_s) = ("fleet".to_owned(), 3600);
        let names = vec!["verifier.example".to_owned()];

        let ca = leaf(verifier.answer(VaultRequest::CreateFleetCa { name }, NOW_S));
        let VaultReply::Csr(csr) = host.answer(VaultRequest::CreateCardIdentity, NOW_S) else {
            panic!("the card has no key");
        };
        let name = "host-1".to_owned();
        let card = leaf(verifier.answer(
            VaultRequest::IssueHost {
                csr,
                name,
                vault: VaultKind::Software,
            },
            NOW_S,
        ));
        let install = VaultRequest::InstallCardIdentity {
            chain: vec![card.clone().into()],
            fleet_ca: ca.clone(),
        };
        leaf(host.answer(install, NOW_S));
        let rotate = VaultRequest::RotateTlsServer { names, lifetime_s };
        let tls_server = leaf(verifier.answer(rotate, NOW_S));
        let token = leaf(verifier.answer(VaultRequest::RotateToken { lifetime_s }, NOW_S));
        let tls_client = leaf(host.answer(VaultRequest::RotateTlsClient { lifetime_s }, NOW_S));
        // From here on nothing is asked of them that changes what is stored.
        std::fs::remove_dir_all(&folder).expect("it was just made");

        let ca = FleetCa::from_der(&ca).expect("a fleet's CA");
        let card = verify_chain(&[card], &ca, NOW_S, Usage::Card).expect("a card of the fleet");
        Self {
            verifier,
            host,
            ca,
            card: card.card.expect("a card is its own"),
            token,
            tls_server,
            tls_client,
        }
    }
}

fn open(store: &Path, role: Role) -> Vault {
    let root = RootKey::make_file(&store.with_extension("root")).expect("a root key");
    let backend: Arc<dyn Backend> = Arc::new(Software::new(root));
    let keyring = StoredKeyring::read(store).and_then(|stored| stored.open(Arc::clone(&backend)));
    Vault::new(role, backend, keyring.expect("an empty key store"))
}

fn leaf(reply: VaultReply) -> Vec<u8> {
    match reply {
        VaultReply::Certificates(chain) => chain[0].to_vec(),
        other => panic!("no certificate, but {other:?}"),
    }
}
