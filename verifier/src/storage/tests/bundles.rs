use bartizan_attestation::boot::Sha384;

use super::{Database, database};
use crate::storage::{NewBundle, Published};

impl Database {
    async fn pieces(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM bundle_pieces")
            .fetch_one(&self.storage.readers)
            .await
            .unwrap()
    }
}

/// A crash in the midst of it: what is left is dropped with the next one, and is never served.
#[tokio::test]
async fn what_was_not_published_to_the_end_is_dropped() {
    let database = database().await;
    let storage = &database.storage;
    storage
        .write_pieces(&Sha384::of(b"cut off"), &[7; 20 << 20])
        .await
        .unwrap();
    assert_eq!(database.pieces().await, 20);
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
