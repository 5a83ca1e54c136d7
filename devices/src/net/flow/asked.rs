//! The questions of one guest that are not answered yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::key::Key;

/// Numbers for questions: none twice in the life of this process.
#[derive(Clone, Debug, Default)]
pub struct Numbers(Arc<AtomicU64>);

impl Numbers {
    pub(in crate::net) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// By number, with the flow that each is about.
#[derive(Debug, Default)]
pub(super) struct Asked(HashMap<u64, Key>);

impl Asked {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add(&mut self, number: u64, key: Key) {
        self.0.insert(number, key);
    }

    pub(super) fn take(&mut self, number: u64) -> Option<Key> {
        self.0.remove(&number)
    }

    /// In the order in which they were asked.
    pub(super) fn all(&self) -> Vec<(u64, Key)> {
        let all = self.0.iter().map(|(number, key)| (*number, *key));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }
}
