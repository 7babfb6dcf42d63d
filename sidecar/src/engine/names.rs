//! What rows are found by beside their key: values that depend on their row.

use std::sync::Arc;

use super::{Core, Engine};
use crate::{
    catalog::Cache,
    coherence::{Admission, Fenced, History, Refusal, RowHash},
    dependencies::On,
    entry::{Entry, Value},
    key::Key,
    lease::Lease,
    planted::{Bug, planted},
    store::Shelf,
};

impl<S: Shelf> Engine<S> {
    /// What a value depends on that is a row of this cache, and is stored under something else.
    #[must_use]
    pub fn on_own_row(&self, cache: &Cache, key: &Key) -> On {
        On::Named(self.row(cache, key))
    }

    /// Those of a row's names that a fill of it is one of as well: nothing has voided them since its lease (they may be
    /// another row's by now), no other fill of them came in between, and none was read at a later position.
    pub(super) fn admit_names(
        &self,
        core: &mut Core,
        cache: &Cache,
        lease: &Lease,
        value: &Value,
        names: Vec<Key>,
        mut read: impl FnMut(&mut History, RowHash) -> Result<Admission, Fenced>,
    ) -> Vec<Key> {
        let admitted = |name: &Key| {
            let hash = self.row(cache, name);
            let stored = || self.store.load().get(cache.id, name.as_str());
            let overtaken = core.history.is_overtaken(hash, lease.number)
                && !stored().is_some_and(|entry| entry.holds(value));
            let good = !overtaken && read(&mut core.history, hash).is_ok();
            if good {
                core.history.note_fill(hash, lease.number);
            }
            good || planted(Bug::NameUnfenced)
        };
        names.into_iter().filter(admitted).collect()
    }

    /// Those of a row's names that its image is newest of as well: whoever was given something by a name may have been given
    /// what is newer.
    pub(super) fn newest_names(
        &self,
        core: &mut Core,
        cache: &Cache,
        names: Vec<Key>,
        mut decide: impl FnMut(&mut History, RowHash) -> Result<(), Refusal>,
    ) -> Vec<Key> {
        let newest = |name: &Key| decide(&mut core.history, self.row(cache, name)).is_ok();
        names.into_iter().filter(newest).collect()
    }

    /// Stores a row's value under what else it is found by, until the row changes.
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
            let on = if planted(Bug::NameAlone) { Vec::new() } else { vec![On::Named(row)] };
            let on = core.marks.depend(on);
            self.store.load().insert(cache.id, name.as_str(), entry.under(name.as_str().len(), on));
            core.loaders.end(hash);
            self.bells.ring(hash);
        }
    }
}
