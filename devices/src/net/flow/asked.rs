//! The questions of one guest that are not answered yet.

use std::collections::HashMap;

use super::key::Key;

/// By number, with the flow that each is about.
#[derive(Debug, Default)]
pub(super) struct Asked {
    flows: HashMap<u64, Key>,
    /// Bytes of the packets that wait for them.
    pub(super) held: usize,
}

impl Asked {
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn add(&mut self, number: u64, key: Key) {
        self.flows.insert(number, key);
    }

    pub(super) fn take(&mut self, number: u64) -> Option<Key> {
        self.flows.remove(&number)
    }

    /// In the order in which they were asked.
    pub(super) fn all(&self) -> Vec<(u64, Key)> {
        let mut all: Vec<_> = self
            .flows
            .iter()
            .map(|(number, key)| (*number, *key))
            .collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }
}
