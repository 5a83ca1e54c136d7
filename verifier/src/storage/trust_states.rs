//! What was last found of the guests of a host.

use bartizan_attestation::identity::{CardId, GuestIdentity};
use sqlx::Row as _;
use uuid::Uuid;

use super::{Storage, StorageError, from_blob};

/// The last verdict on a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastStatus {
    /// The guest.
    pub guest: GuestIdentity,
    /// The verdict's id: a later one has a higher one.
    pub verdict: Uuid,
    /// What it came to.
    pub status: String,
}

/// Most guests of a host that its enclave is told of.
const MOST: i64 = 4096;

const DAMAGED: StorageError = StorageError::Damaged { table: "boots" };

impl Storage {
    /// The status of the last verdict on each guest of a host in the latest boot that was seen of it, of at most 4096 guests.
    pub async fn last_statuses(&self, card: CardId) -> Result<Vec<LastStatus>, StorageError> {
        let rows = sqlx::query("SELECT vm, boot FROM boots WHERE card = ? ORDER BY vm LIMIT ?")
            .bind(card.0.as_slice())
            .bind(MOST)
            .fetch_all(&self.readers)
            .await?;
        let mut found = Vec::new();
        for row in rows {
            let (vm, boot): (&[u8], &[u8]) = (row.try_get("vm")?, row.try_get("boot")?);
            let guest = GuestIdentity {
                card,
                vm: vm.try_into().map_err(|_| DAMAGED)?,
                boot: from_blob(boot).ok_or(DAMAGED)?,
            };
            let last: Option<(String, String)> = sqlx::query_as(
                "SELECT id, status FROM verdicts WHERE guest = ? ORDER BY id DESC LIMIT 1",
            )
            .bind(guest.to_string())
            .fetch_optional(&self.readers)
            .await?;
            if let Some((id, status)) = last {
                found.push(LastStatus {
                    guest,
                    verdict: id
                        .parse()
                        .map_err(|_| StorageError::Damaged { table: "verdicts" })?,
                    status,
                });
            }
        }
        Ok(found)
    }
}
