//! What the engine holds: void and expired entries go without anybody having asked for them.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
};

use super::{Engine, reading::lives};
use crate::{catalog::Cache, clock::Tick, store::Shelf};

/// How many entries are looked at between two looks at the clock.
const STRIDE: u32 = 64;

impl<S: Shelf> Engine<S> {
    /// Drops what only a walk over all entries can find: the void, the expired, those of ended definitions.
    /// Without `thorough` it walks only if something became void since the last time.
    ///
    /// `now` is asked every few entries, and may take its time about it. A walk ends early where another catalog comes
    /// into force meanwhile: the next one is over that one's entries.
    pub fn sweep(&self, thorough: bool, mut now: impl FnMut() -> Tick) {
        let shelves = self.store.load_full();
        if !self.dirty.swap(false, Ordering::AcqRel) && !thorough {
            return shelves.tidy();
        }
        let Some(catalog) = self.catalog() else { return };
        let running: HashMap<u32, &Arc<Cache>> =
            catalog.caches.values().map(|cache| (cache.id, cache)).collect();
        let upstreams: HashSet<u32> = catalog.upstreams.values().map(|upstream| upstream.id).collect();
        let (mut at, mut walked) = (now(), 0);
        shelves.walk(|cache, key, entry| {
            walked += 1;
            if walked % STRIDE == 0 {
                at = now();
                if self.catalog().is_none_or(|current| !Arc::ptr_eq(&current, &catalog)) {
                    return ControlFlow::Break(());
                }
            }
            let is_kept = match running.get(&cache) {
                Some(cache) => lives(cache, entry, at),
                None => upstreams.contains(&cache) && entry.expires > at,
            };
            if !is_kept {
                // Values are stored under this lock: what has taken its place since it was shown isn't dropped with it. (An
                // upstream's answer may be, in a moment of these three lines; it is asked for once more.)
                let _core = self.core();
                if shelves.get(cache, key).is_some_and(|stored| Arc::ptr_eq(&stored, entry)) {
                    shelves.remove(cache, key);
                }
            }
            ControlFlow::Continue(())
        });
        shelves.tidy();
    }

    /// How much is held in each memory.
    #[cfg(test)]
    pub(crate) fn held(&self) -> Vec<(crate::bounds::Memory, usize)> {
        let core = self.core();
        core.history.held().into_iter().chain(core.loaders.held()).collect()
    }

    /// Bytes held over all caches.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.store.load().weight()
    }
}
