//! Who is revoked, and who is superseded.

use super::*;

#[tokio::test]
async fn a_revoked_vm_is_revoked_in_every_boot() {
    let database = database().await;
    let storage = database.storage.clone();
    let (one, two) = (guest(1), guest(2));
    let mut revocation = Revocation {
        kind: RevocationKind::Guest,
        subject: one.to_string(),
        reason: HOSTILE.into(),
        operator: "ann".into(),
        created_at_ms: 1,
    };
    storage.revoke(&revocation).await.unwrap();
    assert!(
        storage
            .standing(&one, None, &[[1; 32]; 2], 0)
            .await
            .unwrap()
            .guest_revoked
    );
    assert!(
        !storage
            .standing(&two, None, &[[1; 32]; 2], 0)
            .await
            .unwrap()
            .guest_revoked
    );
    revocation.subject = super::super::revocations::every_boot(&one);
    RevocationKind::Guest.check(&revocation.subject).unwrap();
    storage.revoke(&revocation).await.unwrap();
    assert!(
        storage
            .standing(&two, None, &[[1; 32]; 2], 0)
            .await
            .unwrap()
            .guest_revoked
    );
    let listed = storage.revocations(None, WHOLE).await.unwrap();
    assert_eq!(listed.rows.len(), 2);
    assert!(
        storage
            .reinstate(RevocationKind::Guest, &revocation.subject, "bob", 2)
            .await
            .unwrap()
    );
    assert!(
        !storage
            .standing(&two, None, &[[1; 32]; 2], 0)
            .await
            .unwrap()
            .guest_revoked
    );
}

#[test]
fn a_revocation_must_name_something_that_can_match() {
    let card = CardId([0xab; 32]);
    RevocationKind::Host.check(&card.to_string()).unwrap();
    assert!(
        RevocationKind::Host
            .check(&card.to_string().to_uppercase())
            .is_err()
    );
    RevocationKind::Guest.check(&guest(4).to_string()).unwrap();
    for wrong in [
        "",
        "urn:bartizan:guest:",
        &format!("{}:", guest(4)),
        HOSTILE,
    ] {
        assert!(RevocationKind::Guest.check(wrong).is_err(), "{wrong}");
    }
    assert!(RevocationKind::Application.check("").is_err());
    RevocationKind::Operator.check("alice").unwrap();
    for wrong in [
        "",
        "Alice",
        "alice ",
        "urn:bartizan:operator:alice",
        HOSTILE,
    ] {
        assert!(RevocationKind::Operator.check(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn an_older_boot_is_superseded_and_writes_nothing() {
    let database = database().await;
    let storage = database.storage.clone();
    let (log, task) = VerdictLog::start(storage.clone(), for_ever());
    let high = guest(u64::MAX - 1);
    assert_eq!(
        log.record(high, verdict("1", &high, "a")).await.unwrap(),
        Recorded::Durable
    );
    assert_eq!(
        log.record(high, verdict("2", &high, "a")).await.unwrap(),
        Recorded::Durable
    );
    let low = guest(3);
    assert_eq!(
        log.record(low, verdict("3", &low, "a")).await.unwrap(),
        Recorded::Superseded
    );
    assert_eq!(storage.verdict("3").await.unwrap(), None);
    let standing = storage
        .standing(&low, None, &[[1; 32]; 2], 0)
        .await
        .unwrap();
    assert_eq!(standing.highest_boot, Some(u64::MAX - 1));
    drop(log);
    task.await.unwrap();
}
