//! What upstreams have answered, in the store: no change concerns it, and no history is kept of it. Which answer may be
//! stored is decided by [`crate::upstream::flights`], under the upstream's own lock.

use std::sync::Arc;

use super::Engine;
use crate::{entry::Entry, store::Shelf};

impl<S: Shelf> Engine<S> {
    /// What is stored of a key of an upstream cache, whether it may still be served or not.
    #[must_use]
    pub fn answer(&self, upstream: u32, key: &str) -> Option<Arc<Entry>> {
        self.store.load().get(upstream, key)
    }

    /// Stores what an upstream has answered.
    pub fn keep_answer(&self, upstream: u32, key: &str, entry: impl Into<Arc<Entry>>) {
        self.store.load().insert(upstream, key, entry);
    }

    /// Drops it.
    pub fn drop_answer(&self, upstream: u32, key: &str) {
        self.store.load().remove(upstream, key);
    }
}
