//! Everything that the database says about a report's guest and application, in one read.

use bartizan_attestation::identity::GuestIdentity;
use sqlx::Row as _;

use super::revocations::every_boot;
use super::{KeyId, Storage, StorageError, as_integer, as_unsigned};

/// How a guest and an application stand at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The guest's host is revoked.
    pub host_revoked: bool,
    /// The guest, or every boot of its VM, is revoked.
    pub guest_revoked: bool,
    /// The application is revoked.
    pub application_revoked: bool,
    /// A key of the card's, by which the guest's or the report's was certified, was superseded, and its overlap is over.
    pub card_key_ended: bool,
    /// The highest boot of this VM on this card that a verified report has shown.
    pub highest_boot: Option<u64>,
    /// The current revision of the application's profile.
    pub profile_revision: Option<u64>,
}

const READ: &str = "SELECT
    EXISTS (SELECT 1 FROM revocations WHERE kind = 'host' AND subject = ?1) AS host_revoked,
    EXISTS (SELECT 1 FROM revocations WHERE kind = 'guest' AND subject IN (?2, ?3)) AS guest_revoked,
    EXISTS (SELECT 1 FROM revocations WHERE kind = 'application' AND subject = ?4)
        AS application_revoked,
    EXISTS (SELECT 1 FROM superseded_card_keys WHERE card_key IN (?7, ?8) AND accepted_until_ms <= ?9)
        AS card_key_ended,
    (SELECT boot FROM boots WHERE card = ?5 AND vm = ?6) AS highest_boot,
    (SELECT iif(body IS NULL, NULL, revision) FROM profiles WHERE application = ?4
        ORDER BY revision DESC LIMIT 1) AS profile_revision";

impl Storage {
    /// Reads how a guest and, where one is named, an application stand: one statement, so one
    /// snapshot of the database. `card_keys`: those of the card's by which the keys that are shown were certified.
    pub async fn standing(
        &self,
        guest: &GuestIdentity,
        application: Option<&str>,
        card_keys: &[KeyId; 2],
        now_ms: u64,
    ) -> Result<Standing, StorageError> {
        let row = sqlx::query(READ)
            .bind(guest.card.to_string())
            .bind(guest.to_string())
            .bind(every_boot(guest))
            .bind(application)
            .bind(guest.card.0.as_slice())
            .bind(guest.vm.as_slice())
            .bind(card_keys[0].as_slice())
            .bind(card_keys[1].as_slice())
            .bind(as_integer(now_ms))
            .fetch_one(&self.readers)
            .await?;
        let highest_boot = row
            .try_get::<Option<&[u8]>, _>("highest_boot")?
            .map(|boot| boot.try_into().map(u64::from_be_bytes))
            .transpose()
            .map_err(|_| StorageError::Damaged { table: "boots" })?;
        Ok(Standing {
            host_revoked: row.try_get("host_revoked")?,
            guest_revoked: row.try_get("guest_revoked")?,
            application_revoked: row.try_get("application_revoked")?,
            card_key_ended: row.try_get("card_key_ended")?,
            highest_boot,
            profile_revision: row
                .try_get::<Option<i64>, _>("profile_revision")?
                .map(as_unsigned),
        })
    }
}
