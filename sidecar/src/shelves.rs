//! Which shelf keeps which cache's values: one for each cache that has a share of memory, and one for all others.
//!
//! A shelf drops what is least useful among its own values only: so no cache pushes out what is in another's part.

use std::{ops::ControlFlow, sync::Arc};

use crate::{catalog::Catalog, entry::Entry, store::Shelf};

/// All shelves of a binding.
#[derive(Debug)]
pub struct Shelves<S> {
    /// Those of caches with a share, in the order of the caches' ids.
    own: Box<[(u32, Part<S>)]>,
    /// That of all other caches.
    common: Part<S>,
}

#[derive(Debug)]
struct Part<S> {
    shelf: Arc<S>,
    /// How many bytes it was made for: no shelf can be resized.
    memory: u64,
}

impl<S: Shelf> Part<S> {
    fn new(memory: u64) -> Self {
        Self { shelf: Arc::new(S::new(memory)), memory }
    }

    /// This one, if it is of so many bytes; otherwise a new and empty one.
    fn resized(&self, memory: u64) -> Self {
        if self.memory == memory {
            Self { shelf: Arc::clone(&self.shelf), memory }
        } else {
            Self::new(memory)
        }
    }
}

impl<S: Shelf> Default for Shelves<S> {
    /// Room for nothing.
    fn default() -> Self {
        Self { own: Box::default(), common: Part::new(0) }
    }
}

impl<S: Shelf> Shelves<S> {
    /// The shelves for a catalog: these, where one keeps as many bytes of the same caches; new ones otherwise.
    #[must_use]
    pub fn next(&self, catalog: &Catalog) -> Self {
        let tables = catalog.caches.values().map(|cache| (cache.id, cache.spec.own_memory(catalog.memory)));
        let upstreams = catalog.upstreams.values();
        let upstreams = upstreams.map(|upstream| (upstream.id, upstream.spec.own_memory(catalog.memory)));
        let mut own: Vec<_> = tables
            .chain(upstreams)
            .filter_map(|(cache, memory)| {
                let memory = memory?;
                let old = self.own.iter().find(|(id, _)| *id == cache);
                Some((cache, old.map_or_else(|| Part::new(memory), |(_, part)| part.resized(memory))))
            })
            .collect();
        own.sort_unstable_by_key(|(id, _)| *id);
        Self { own: own.into(), common: self.common.resized(catalog.common_memory) }
    }

    fn of(&self, cache: u32) -> &S {
        let own = self.own.binary_search_by_key(&cache, |(id, _)| *id).ok();
        &own.map_or(&self.common, |at| &self.own[at].1).shelf
    }

    fn all(&self) -> impl Iterator<Item = &S> {
        self.own.iter().map(|(_, part)| part).chain([&self.common]).map(|part| &*part.shelf)
    }

    /// The entry of a key, whatever it says.
    #[must_use]
    pub fn get(&self, cache: u32, key: &str) -> Option<Arc<Entry>> {
        self.of(cache).get(cache, key)
    }

    /// Stores an entry.
    pub fn insert(&self, cache: u32, key: &str, entry: impl Into<Arc<Entry>>) {
        self.of(cache).insert(cache, key, entry);
    }

    /// Drops an entry.
    pub fn remove(&self, cache: u32, key: &str) {
        self.of(cache).remove(cache, key);
    }

    /// Shows each entry, until that is to stop.
    pub fn walk(&self, mut show: impl FnMut(u32, &str, &Arc<Entry>) -> ControlFlow<()>) {
        let mut goes_on = ControlFlow::Continue(());
        for shelf in self.all() {
            if goes_on.is_continue() {
                shelf.walk(|cache, key, entry| {
                    goes_on = show(cache, key, entry);
                    goes_on
                });
            }
        }
    }

    /// Does the housekeeping that writes left over: what was dropped is freed.
    pub fn tidy(&self) {
        self.all().for_each(Shelf::tidy);
    }

    /// Bytes held, by the shelves' own account.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.all().map(Shelf::weight).sum()
    }
}
