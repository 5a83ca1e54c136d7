use bartizan_attestation::boot::Sha384;

use super::{Database, database};
use crate::storage::{NewBundle, Published, Storage};

impl Database {
    async fn pieces(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM bundle_pieces")
            .fetch_one(&self.storage.readers)
            .await
            .unwrap()
    }
}

/// A crash in the midst of it: what is left is dropped with the next one or the next start, and is never served.
#[tokio::test]
async fn what_was_not_published_to_the_end_is_dropped() {
    let mut database = database().await;
    let cut_off = Sha384::of(b"cut off");
    let written = (database.storage).write_pieces(&cut_off, &[7; 20 << 20]);
    written.await.unwrap();
    assert_eq!(database.pieces().await, 20);
    database.storage.close().await;
    let again = Storage::open(&database.directory.path().join("v.db")).await;
    database.storage = again.unwrap();
    assert_eq!(database.pieces().await, 0);

    let storage = &database.storage;
    let written = storage.write_pieces(&cut_off, &[7; 20 << 20]);
    written.await.unwrap();
    let manifest = Sha384::of(b"of no release");
    let bundle = NewBundle {
        manifest: &manifest,
        signer: &[1; 32],
        bytes: &[8; 3 << 20],
        sha384: Sha384::of(&[8; 3 << 20]),
        operator: "ann",
    };
    let published = storage.publish_bundle(bundle, 1).await.unwrap();
    assert_eq!(published, Published::Retired);
    assert_eq!(database.pieces().await, 0);
    assert_eq!(storage.newest_bundle(&[1; 32]).await.unwrap(), None);
}

/// Its release is registered, and a second process has dropped what the first one had written.
#[tokio::test]
async fn what_was_torn_is_not_kept() {
    let database = database().await;
    let storage = &database.storage;
    let manifest = Sha384::of(b"a manifest");
    sqlx::query(
        "INSERT INTO releases VALUES (?, 'bundle', 1, 'tests', ?, x'00', x'00', 'ann', 1, NULL, NULL)",
    )
    .bind(manifest.0.as_slice())
    .bind([1; 32].as_slice())
    .execute(&storage.writer)
    .await
    .unwrap();
    let bytes = vec![8; 3 << 20];
    let bundle = NewBundle {
        manifest: &manifest,
        signer: &[1; 32],
        sha384: Sha384::of(&bytes),
        bytes: &bytes,
        operator: "ann",
    };
    storage.write_pieces(&bundle.sha384, &bytes).await.unwrap();
    sqlx::query("DELETE FROM bundle_pieces WHERE number = 1")
        .execute(&storage.writer)
        .await
        .unwrap();
    let entered = storage.enter_bundle(&bundle, 1).await.unwrap();
    assert_eq!(entered, Published::Torn);
    assert_eq!(storage.newest_bundle(&[1; 32]).await.unwrap(), None);
    let published = storage.publish_bundle(bundle, 1).await.unwrap();
    assert_eq!(published, Published::Kept);
}
