//! A card's identity goes from key to key while the host certifies.

use std::sync::{Arc, Barrier};
use std::thread;

use bartizan_attestation::certificates::{FleetCa, Usage, verify_chain};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::digest::sha256;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_attestation::keys::{
    KeyEventKind, KeyKind, NextKey, VaultKind, VaultReply, VaultRequest,
};
use bartizan_attestation::measurement::Digest;
use bartizan_attestation::succession;
use bartizan_attestation::tpm::{AsymmetricKey, PublicArea, verify_certified};
use bartizan_vault::backend::Backend;
use bartizan_vault::software::{RootKey, Software};
use bartizan_vault::{Role, StoredKeyring, Vault};
use minicbor::bytes::ByteVec;
use tempfile::TempDir;

use crate::rig::{Rig, Store};

const NOW: u64 = 1_795_000_000;

fn vault(role: Role, backend: Arc<dyn Backend>, folder: &TempDir) -> Vault {
    let stored = StoredKeyring::read(&folder.path().join(format!("{role:?}"))).unwrap();
    Vault::new(role, Arc::clone(&backend), stored.open(backend).unwrap())
}

fn certificates(reply: VaultReply) -> Vec<ByteVec> {
    match reply {
        VaultReply::Certificates(chain) => chain,
        other => panic!("{other:?}"),
    }
}

/// A fleet with one host, whose keys are in the rig's back end.
struct Fleet {
    verifier: Vault,
    host: Vault,
    ca: FleetCa,
    card: CardId,
    kind: VaultKind,
    _folder: TempDir,
}

impl Fleet {
    fn new(backend: Arc<dyn Backend>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = RootKey::make_file(&folder.path().join("root")).unwrap();
        let verifier = vault(Role::Verifier, Arc::new(Software::new(root)), &folder);
        let kind = backend.kind();
        let host = vault(Role::Host, backend, &folder);
        let name = "fleet".into();
        let ca = certificates(verifier.answer(VaultRequest::CreateFleetCa { name }, NOW)).remove(0);
        let VaultReply::Csr(csr) = host.answer(VaultRequest::CreateCardIdentity, NOW) else {
            panic!("no CSR");
        };
        let issue = VaultRequest::IssueHost {
            csr,
            name: "host-1".into(),
            vault: kind,
        };
        let chain = certificates(verifier.answer(issue, NOW));
        let ca = FleetCa::from_der(&ca).unwrap();
        let first = verify_chain(&[chain[0].to_vec()], &ca, NOW, Usage::Card).unwrap();
        let fleet = Self {
            verifier,
            host,
            ca,
            card: first.card.unwrap(),
            kind,
            _folder: folder,
        };
        fleet.install(chain);
        fleet
    }

    fn install(&self, chain: Vec<ByteVec>) {
        let fleet_ca = self.ca.der().to_vec();
        let install = VaultRequest::InstallCardIdentity { chain, fleet_ca };
        certificates(self.host.answer(install, NOW));
    }

    fn succeed(&self) {
        let next = NextKey::New;
        let VaultReply::Succession(begun) =
            (self.host).answer(VaultRequest::BeginSuccession { next }, NOW)
        else {
            panic!("nothing was begun");
        };
        let verified = succession::verify(&begun.signed, &self.ca, NOW).unwrap();
        assert_eq!(verified.card, self.card);
        assert_eq!(begun.certified.is_some(), self.kind == VaultKind::Tpm2);
        if let Some(said) = &begun.certified {
            let VaultReply::Tpm(Some(shown)) = self.host.answer(VaultRequest::DescribeTpm, NOW)
            else {
                panic!("no TPM");
            };
            let attestation = PublicArea::parse(&shown.attestation).unwrap();
            let AsymmetricKey::Ec(attestation) = attestation.key() else {
                panic!("an elliptic curve's");
            };
            let area = PublicArea::parse(&said.public).unwrap();
            let nonce = sha256(&begun.signed);
            let certified =
                verify_certified(&said.attested, &said.signature, attestation, &nonce, &area);
            assert_eq!(certified, Ok(&verified.next));
        }
        let succession = begun.signed.to_vec();
        let issue = VaultRequest::IssueSuccessor { succession };
        self.install(certificates(self.verifier.answer(issue, NOW)));
    }

    /// Has a key certified; answers the card's key that did it.
    fn certify(&self) -> [u8; 32] {
        let certify = VaultRequest::CertifyReportKey {
            csr: EphemeralKey::generate().unwrap().csr().unwrap(),
            guest: GuestIdentity {
                card: self.card,
                vm: [3; 16],
                boot: 1,
            },
            launch_measurement: Digest(vec![1; 48]),
            lifetime_s: 60,
        };
        let chain = certificates(self.host.answer(certify, NOW)).into_iter();
        let chain: Vec<_> = chain.map(Vec::from).collect();
        let verified = verify_chain(&chain, &self.ca, NOW, Usage::ReportKey).unwrap();
        assert_eq!(verified.card, Some(self.card));
        verified.card_key.unwrap()
    }
}

pub(super) fn an_identity_is_succeeded_while_it_certifies(rig: &dyn Rig) {
    let fleet = Fleet::new(rig.open(Store::First));
    let first = fleet.certify();
    assert_eq!(CardId(first), fleet.card);
    let beginning = Barrier::new(3);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                beginning.wait();
                for _ in 0..10 {
                    fleet.certify();
                }
            });
        }
        beginning.wait();
        for _ in 0..3 {
            fleet.succeed();
        }
    });
    let VaultReply::History(events) = fleet.host.answer(VaultRequest::History, NOW) else {
        panic!("no history");
    };
    let cards = || (events.iter()).filter(|event| event.kind == KeyKind::Card);
    let made = cards().filter(|event| event.what == KeyEventKind::Made);
    let destroyed = cards().filter(|event| event.what == KeyEventKind::Destroyed);
    assert_eq!((made.count(), destroyed.count()), (4, 3), "{events:?}");
    assert_ne!(fleet.certify(), first);
}
