//! Parsed profiles: parsing megabytes of reference digests for every report would cost more than
//! judging it.
//!
//! One is read at a time, however many reports wait for it or for others: what reading takes in memory,
//! which is charged to nobody, is bounded by one profile. Each host waits for one at most, its other reports wait
//! behind that: hosts take turns, however much one of them asks for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bartizan_attestation::identity::CardId;
use bartizan_attestation::profile::ApplicationProfile;

use crate::storage::{Storage, StorageError};
use crate::task::blocking;

/// Most profiles that are kept parsed.
const KEPT: usize = 32;

/// The profiles used last.
#[derive(Debug, Default)]
pub struct ProfileCache {
    /// Used last at the end.
    entries: Mutex<Vec<Arc<CurrentProfile>>>,
    one_at_a_time: tokio::sync::Mutex<()>,
    /// Hosts that read or wait to, each with the turn of its own reports.
    turns: Mutex<HashMap<CardId, Weak<tokio::sync::Mutex<()>>>>,
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
    /// The profile of an application whose current revision is known to be `revision`, for a report of `host`.
    ///
    /// A revision never changes, so that what is kept can be old but never wrong. Where it was
    /// replaced or withdrawn since, the answer is what is current now.
    pub async fn current(
        &self,
        storage: &Storage,
        host: CardId,
        application: &str,
        revision: u64,
    ) -> Result<Option<Arc<CurrentProfile>>, StorageError> {
        if let Some(kept) = self.kept(application, revision) {
            return Ok(Some(kept));
        }
        let turn_of_host = self.turn_of(host);
        let _among_its_own = turn_of_host.lock().await;
        let _among_hosts = self.one_at_a_time.lock().await;
        // Who came before may have read it.
        if let Some(kept) = self.kept(application, revision) {
            return Ok(Some(kept));
        }
        let Some(stored) = storage.profile(application).await? else {
            return Ok(None);
        };
        let revision = stored.revision;
        let parse = move || ApplicationProfile::from_json(stored.body.as_bytes());
        let profile =
            (blocking(parse).await?).map_err(|_| StorageError::Damaged { table: "profiles" })?;
        let current = Arc::new(CurrentProfile { revision, profile });
        self.keep(Arc::clone(&current));
        Ok(Some(current))
    }

    fn turn_of(&self, host: CardId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&host).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(host, Arc::downgrade(&turn));
        turn
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Queues reports of hosts that each need another profile; answers in which order they are served.
    async fn served(asked: &[(u8, &'static str)]) -> Vec<&'static str> {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(&folder.path().join("db")).await.unwrap();
        let cache = Arc::new(ProfileCache::default());
        let order = Arc::new(Mutex::new(Vec::new()));
        let held = cache.one_at_a_time.lock().await;
        let mut waiting = tokio::task::JoinSet::new();
        for &(host, application) in asked {
            let (storage, order) = (storage.clone(), Arc::clone(&order));
            let cache = Arc::clone(&cache);
            waiting.spawn(async move {
                let host = CardId([host; 32]);
                let found = cache.current(&storage, host, application, 1).await;
                assert!(found.unwrap().is_none());
                order.lock().unwrap().push(application);
            });
            // Lets it come to where it waits.
            tokio::task::yield_now().await;
        }
        drop(held);
        waiting.join_all().await;
        assert_eq!(
            cache
                .turns
                .lock()
                .unwrap()
                .values()
                .filter(|turn| turn.strong_count() > 0)
                .count(),
            0
        );
        let order = order.lock().unwrap();
        order.clone()
    }

    #[tokio::test]
    async fn a_host_that_asks_for_many_profiles_stands_in_line_once() {
        let asked = [(1, "a"), (1, "b"), (1, "c"), (2, "x"), (3, "y"), (2, "z")];
        let order = served(&asked).await;
        assert_eq!(order, ["a", "x", "y", "b", "z", "c"]);
    }
}
