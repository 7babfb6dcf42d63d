//! What becomes void, in the history and in the store, under the lock.

use std::sync::atomic::Ordering;

use freshet_crds::OnChange;

use super::{Core, Engine};
use crate::{
    catalog::{Cache, Lookup, Shape},
    clock::Tick,
    key::Key,
    planted::{Bug, planted},
    position::RowVersion,
    store::Shelf,
};

impl<S: Shelf> Engine<S> {
    /// Takes another shape of keys for a cache's, or a lookup's.
    pub(super) fn reshape(
        &self,
        core: &mut Core,
        cache: &Cache,
        lookup: Option<&Lookup>,
        shape: Shape,
        now: Tick,
    ) {
        let before = lookup.map_or_else(|| cache.shape(), Lookup::shape);
        // What was read under the same forms is what it was.
        let is_other = before.forms != shape.forms;
        match lookup {
            Some(lookup) => lookup.set_shape(shape),
            None => cache.set_shape(shape),
        }
        if !is_other {
            return;
        }
        // Nothing was there before the first lease, and so there is nothing to void.
        if cache.attached.load(Ordering::Acquire) {
            // Rows are as they were: no image is any older for that.
            self.void_values(core, cache, None, now);
        }
    }

    /// Voids a row: its value, its leases, and what depends on it.
    pub(super) fn void_row(&self, core: &mut Core, cache: &Cache, key: &Key, now: Tick) {
        let row = self.row(cache, key);
        if cache.is_scope {
            let seq = core.history.void_row(row, now);
            if core.marks.void(row, seq) {
                self.dirty.store(true, Ordering::Release);
            }
            self.note(core, cache, Some(key));
            return;
        }
        if !planted(Bug::FenceOnlyCached) || self.store.load().get(cache.id, key.as_str()).is_some() {
            let seq = core.history.void_row(row, now);
            if !cache.lookups.is_empty() && !planted(Bug::OldNameKept) {
                core.marks.void(row, seq);
            }
        }
        core.loaders.end(row);
        if !planted(Bug::VoidInTwoHolds) {
            self.store.load().remove(cache.id, key.as_str());
        }
        if !key.is_lookup() {
            core.audit_change(cache, row, key, now);
            self.note(core, cache, Some(key));
        }
        self.bells.ring(row);
    }

    /// Voids all values and leases of a cache, and all images from before `version`.
    pub(super) fn void_cache(&self, core: &mut Core, cache: &Cache, version: Option<RowVersion>, now: Tick) {
        if cache.spec.ranks_values() {
            core.history.raise_floor(&cache.fence, version);
        }
        self.void_values(core, cache, version, now);
    }

    /// The same, of what is there: images from before may still come.
    fn void_values(&self, core: &mut Core, cache: &Cache, version: Option<RowVersion>, now: Tick) {
        core.history.void_cache(&cache.fence, now);
        if let Some(audit) = core.audit.as_mut().filter(|_| cache.spec.on_change == OnChange::Hydrate) {
            audit.voided(cache.id, version);
        }
        self.note(core, cache, None);
        self.dirty.store(true, Ordering::Release);
        self.bells.ring_all();
    }
}
