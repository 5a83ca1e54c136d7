//! A name and the TPM that it is known with.

use bartizan_attestation::keys::VaultKind;

use super::*;
use crate::storage::EnrolledTpm;

fn host(card: u8, at: u64, endorsement: Option<u8>) -> EnrolledHost {
    EnrolledHost {
        card: CardId([card; 32]),
        name: "h1".into(),
        operator: "ann".into(),
        enrolled_at_ms: at,
        certificate: vec![card],
        card_key: [card; 32],
        vault: endorsement.map_or(VaultKind::Software, |_| VaultKind::Tpm2),
        tpm: endorsement.map(|endorsement| EnrolledTpm {
            endorsement: [endorsement; 32],
            attestation_key: vec![endorsement],
        }),
    }
}

#[tokio::test]
async fn a_name_is_of_the_tpm_that_it_enrolled_last_with() {
    let database = database().await;
    let storage = &database.storage;
    let is_of_another = async |endorsement: Option<u8>| {
        let endorsement = endorsement.map(|endorsement| [endorsement; 32]);
        let is = storage.is_of_another_tpm("h1", endorsement.as_ref());
        is.await.unwrap()
    };
    assert!(!is_of_another(Some(1)).await);
    storage.add_host(&host(1, 100, Some(1))).await.unwrap();
    assert!(!is_of_another(Some(1)).await);
    assert!(is_of_another(Some(2)).await && is_of_another(None).await);
    assert!(!storage.is_of_another_tpm("h2", None).await.unwrap());
    // Its board was replaced, as an operator said: the former TPM is the other one now.
    storage.add_host(&host(2, 200, Some(2))).await.unwrap();
    assert!(!is_of_another(Some(2)).await);
    assert!(is_of_another(Some(1)).await && is_of_another(None).await);
    // One that is revoked says nothing.
    let revocation = Revocation {
        kind: RevocationKind::Host,
        subject: CardId([2; 32]).to_string(),
        reason: "stolen".into(),
        operator: "ann".into(),
        created_at_ms: 300,
    };
    storage.revoke(&revocation).await.unwrap();
    assert!(!is_of_another(Some(1)).await);
    assert!(is_of_another(Some(2)).await);
}
