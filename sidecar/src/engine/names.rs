//! What rows are found by beside their key: values that depend on their row.

use std::sync::Arc;

use super::{Core, Engine};
use crate::{catalog::Cache, coherence::RowHash, dependencies::On, entry::Entry, key::Key, store::Shelf};

impl<S: Shelf> Engine<S> {
    /// What a value depends on that is a row of this cache, and is stored under something else.
    #[must_use]
    pub fn on_own_row(&self, cache: &Cache, key: &Key) -> On {
        On::Named(self.row(cache, key))
    }

    /// Stores a row's value under what else it is found by, until the row changes; not where that was void since the
    /// value's lease: it may be another row's by now.
    pub(super) fn store_names(
        &self,
        core: &mut Core,
        cache: &Arc<Cache>,
        row: RowHash,
        entry: &Entry,
        names: &[Key],
    ) {
        for name in names {
            let hash = self.row(cache, name);
            if core.history.last(hash).seq > entry.seq {
                continue;
            }
            let on = core.marks.depend(vec![On::Named(row)]);
            self.store.load().insert(cache.id, name.as_str(), entry.under(name.as_str().len(), on));
            core.loaders.end(hash);
            self.bells.ring(hash);
        }
    }
}
