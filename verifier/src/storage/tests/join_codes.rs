//! Join codes: good once, in time, of an operator in good standing.

use bartizan_attestation::keys::VaultKind;

use crate::storage::JoinCode;

use super::*;

fn by(operator: &str) -> JoinCode {
    JoinCode {
        operator: operator.into(),
        vault: VaultKind::Tpm2,
        another_tpm: false,
    }
}

#[tokio::test]
async fn a_join_code_is_good_once_for_its_host_name_until_it_expires() {
    let database = database().await;
    let storage = database.storage.clone();
    storage
        .add_join_code(&[1; 32], "h1", &by("ann"), 100, 200)
        .await
        .unwrap();
    let refused = |result| matches!(result, Err(JoinCodeError::NotAccepted));
    assert!(
        refused(storage.use_join_code(&[2; 32], "h1", 150).await),
        "unknown"
    );
    assert!(
        refused(storage.use_join_code(&[1; 32], "h2", 150).await),
        "other name"
    );
    assert!(
        refused(storage.use_join_code(&[1; 32], "h1", 200).await),
        "expired"
    );
    assert_eq!(
        storage.use_join_code(&[1; 32], "h1", 150).await.unwrap(),
        by("ann")
    );
    assert!(
        refused(storage.use_join_code(&[1; 32], "h1", 150).await),
        "used"
    );
    storage.release_join_code(&[1; 32]).await.unwrap();
    assert_eq!(
        storage.use_join_code(&[1; 32], "h1", 150).await.unwrap(),
        by("ann")
    );
}

#[tokio::test]
async fn a_join_code_is_good_for_nothing_while_its_operator_is_revoked() {
    let database = database().await;
    let storage = database.storage.clone();
    for (code, operator) in [([1; 32], "ann"), ([2; 32], "bob")] {
        storage
            .add_join_code(&code, "h1", &by(operator), 100, 200)
            .await
            .unwrap();
    }
    let revocation = |kind, subject: &str| Revocation {
        kind,
        subject: subject.into(),
        reason: "left".into(),
        operator: "bob".into(),
        created_at_ms: 1,
    };
    // An application of that name is somebody else.
    for (kind, subject) in [
        (RevocationKind::Operator, "ann"),
        (RevocationKind::Application, "bob"),
    ] {
        storage.revoke(&revocation(kind, subject)).await.unwrap();
    }
    let anns = storage.use_join_code(&[1; 32], "h1", 150).await;
    assert!(matches!(anns, Err(JoinCodeError::NotAccepted)), "{anns:?}");
    let bobs = storage.use_join_code(&[2; 32], "h1", 150).await;
    assert_eq!(bobs.unwrap(), by("bob"));
    let reinstated = storage
        .reinstate(RevocationKind::Operator, "ann", "bob", 2)
        .await;
    assert!(reinstated.unwrap());
    let anns = storage.use_join_code(&[1; 32], "h1", 150).await;
    assert_eq!(anns.unwrap(), by("ann"));
}

#[tokio::test]
async fn of_many_who_race_with_one_code_one_gets_it() {
    let database = database().await;
    let storage = database.storage.clone();
    storage
        .add_join_code(&[1; 32], "h1", &by("ann"), 100, 200)
        .await
        .unwrap();
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let storage = storage.clone();
        racers.spawn(async move { storage.use_join_code(&[1; 32], "h1", 150).await.is_ok() });
    }
    assert_eq!(
        racers
            .join_all()
            .await
            .into_iter()
            .filter(|won| *won)
            .count(),
        1
    );
}
