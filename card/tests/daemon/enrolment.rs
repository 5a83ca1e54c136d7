//! A host is enrolled, whatever becomes of the fleet's CA meanwhile: its join code is good once.

use std::sync::Arc;

use bartizan_attestation::certificates::{Lineage, Usage, verify_chain};
use bartizan_attestation::identity::CardId;
use bartizan_card::Config;
use bartizan_card::enroll::{EnrollError, enroll};

use crate::fleet::{Authority, fresh, now};
use crate::stand_in_vault::StandInVault;
use crate::stand_in_verifier::{StandInVerifier, Told};
use crate::{DEADLINE, configure};

/// A host that is to be enrolled by a fleet whose CA was brought to it, and replaced since.
struct Scene {
    former: Authority,
    present: Arc<Authority>,
    lineage: Lineage,
    card: CardId,
    vault: StandInVault,
    verifier: StandInVerifier,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let former = Authority::fleet();
        let (present, lineage) = former.next();
        let present = Arc::new(present);
        let card = former.card(fresh());
        Self {
            card: card.id(),
            vault: StandInVault::start(directory.path(), card, former.der.clone()),
            verifier: StandInVerifier::start_with(Arc::clone(&present), lineage.clone()),
            former,
            present,
            lineage,
            directory,
        }
    }

    async fn enroll(&self) -> Result<CardId, EnrollError> {
        let config = configure(
            self.directory.path(),
            &self.vault.socket,
            &self.verifier,
            "",
        );
        let config = Config::load(&config).unwrap();
        let brought = self.former.ca();
        let enrolled = enroll(&config, "rack1-07", "a-code", &brought);
        tokio::time::timeout(DEADLINE, enrolled).await.unwrap()
    }

    /// That the certificate of the present CA is installed.
    fn is_installed(&self) {
        let chain = self.vault.installed.recv_timeout(DEADLINE).unwrap();
        let chain: Vec<_> = chain.into_iter().map(Vec::from).collect();
        let verified = verify_chain(&chain, &self.present.ca(), now(), Usage::Card).unwrap();
        assert_eq!(verified.card, Some(self.card));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ca_is_replaced_while_a_host_is_enrolled() {
    let scene = Scene::new();
    let before = Told {
        lineage: Lineage::of(scene.former.der.clone()),
        tokens: Vec::new(),
    };
    scene.verifier.tell(before);
    assert_eq!(scene.enroll().await.unwrap(), scene.card);
    scene.is_installed();
    let rolled = scene.vault.rolled.recv_timeout(DEADLINE).unwrap();
    assert_eq!(rolled, scene.lineage);
    assert_eq!(scene.verifier.asked_for_cas(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_keeps_no_former_ca_is_enrolled_all_the_same() {
    let scene = Scene::new();
    scene.vault.roll(false);
    assert_eq!(scene.enroll().await.unwrap(), scene.card);
    scene.is_installed();
}
