//! Parsed profiles: parsing megabytes of reference digests for every report would cost more than
//! judging it.
//!
//! One is read at a time, however many reports wait for it or for others: what reading takes in memory,
//! which is charged to nobody, is bounded by one profile.

use std::sync::{Arc, Mutex, PoisonError};

use bartizan_attestation::profile::ApplicationProfile;

use crate::storage::{Storage, StorageError};

/// Most profiles that are kept parsed.
const KEPT: usize = 32;

/// The profiles used last.
#[derive(Debug, Default)]
pub struct ProfileCache {
    /// Used last at the end.
    entries: Mutex<Vec<Arc<CurrentProfile>>>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

/// A parsed profile and which revision it is.
#[derive(Debug)]
pub struct CurrentProfile {
    /// Its revision.
    pub revision: u64,
    /// The profile.
    pub profile: ApplicationProfile,
}

impl ProfileCache {
    /// The profile of an application whose current revision is known to be `revision`.
    ///
    /// A revision never changes, so that what is kept can be old but never wrong. Where it was
    /// replaced or withdrawn since, the answer is what is current now.
    pub async fn current(
        &self,
        storage: &Storage,
        application: &str,
        revision: u64,
    ) -> Result<Option<Arc<CurrentProfile>>, StorageError> {
        if let Some(kept) = self.kept(application, revision) {
            return Ok(Some(kept));
        }
        let _turn = self.one_at_a_time.lock().await;
        // Who came before may have read it.
        if let Some(kept) = self.kept(application, revision) {
            return Ok(Some(kept));
        }
        let Some(stored) = storage.profile(application).await? else {
            return Ok(None);
        };
        let revision = stored.revision;
        let parse = move || ApplicationProfile::from_json(stored.body.as_bytes());
        let profile = tokio::task::spawn_blocking(parse)
            .await
            .map_err(|_| StorageError::Closed)?
            .map_err(|_| StorageError::Damaged { table: "profiles" })?;
        let current = Arc::new(CurrentProfile { revision, profile });
        self.keep(Arc::clone(&current));
        Ok(Some(current))
    }

    fn kept(&self, application: &str, revision: u64) -> Option<Arc<CurrentProfile>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let at = entries.iter().position(|entry| {
            entry.revision == revision && entry.profile.document().application == application
        })?;
        let entry = entries.remove(at);
        entries.push(Arc::clone(&entry));
        Some(entry)
    }

    fn keep(&self, current: Arc<CurrentProfile>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let application = &current.profile.document().application;
        entries.retain(|entry| entry.profile.document().application != *application);
        if entries.len() >= KEPT {
            entries.remove(0);
        }
        entries.push(current);
    }
}
