//! What values depend on beside their row and their cache.

use std::sync::{Arc, atomic::Ordering};

use super::{Core, Engine};
use crate::{
    clock::Tick,
    coherence::{RowHash, Seq},
    dependencies::{On, Scope},
    events::Cause,
    key::Key,
    planted::{Bug, planted},
    store::Shelf,
};

impl<S: Shelf> Engine<S> {
    /// What a value depends on that depends on a row of a table.
    #[must_use]
    pub fn on_row(&self, scope: &Arc<Scope>, key: &Key) -> On {
        On::Row(Arc::clone(scope), self.row(&scope.rows, key))
    }

    /// What a value depends on that depends on a tag.
    #[must_use]
    pub fn on_tag(&self, tag: &str) -> On {
        On::Named(self.tag(tag))
    }

    /// Voids what depends on a tag, and fences the leases of what will.
    pub fn void_tag(&self, text: &str, now: Tick) {
        let tag = self.tag(text);
        let mut core = self.core();
        let Core { history, marks, .. } = &mut *core;
        let keeps = planted(Bug::TagKeepsLeases);
        let seq = if keeps { Seq(history.seq().0 + 1) } else { history.void_row(tag, now) };
        if marks.void(tag, seq) {
            self.dirty.store(true, Ordering::Release);
        }
        self.note_tag(&mut core, text);
        self.tell(&mut core, Cause::Tag);
    }

    /// A tag's hash. No cache and no table's rows have this name.
    fn tag(&self, tag: &str) -> RowHash {
        RowHash(self.hasher.hash_one(("tag:", tag)))
    }
}
