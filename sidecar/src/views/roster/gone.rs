//! The rows that the log has told to be deleted, while a snapshot may still have them.

use std::{collections::HashMap, sync::Arc};

/// Bytes that the memory of a deleted row takes beside its key.
const OVERHEAD: u64 = 96;

/// Keys of deleted rows, each with when the log told so.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) told: HashMap<Arc<str>, u64, ahash::RandomState>,
    /// Bytes of keys.
    bytes: u64,
}

impl Gone {
    pub(super) fn weight(&self) -> u64 {
        self.bytes + self.told.len() as u64 * OVERHEAD
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.told.contains_key(key)
    }

    pub(super) fn insert(&mut self, key: Arc<str>, told: u64) {
        let bytes = key.len() as u64;
        if self.told.insert(key, told).is_none() {
            self.bytes += bytes;
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        if self.told.remove(key).is_some() {
            self.bytes -= key.len() as u64;
        }
    }

    /// Notes that what the log has told of a row was told before this time.
    pub(super) fn date(&mut self, key: &str, at: u64) {
        if let Some(told) = self.told.get_mut(key) {
            *told = at.min(*told);
        }
    }

    /// Forgets what was told before this time.
    pub(super) fn forget_before(&mut self, at: u64) {
        let bytes = &mut self.bytes;
        self.told.retain(|key, told| {
            let keep = *told >= at;
            if !keep {
                *bytes -= key.len() as u64;
            }
            keep
        });
    }
}
