//! A plain map where moka is in the product, with a point before each use. Like moka it is swept entry by entry.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{entry::Entry, store::Shelf, sync::schedule::point};

type Map = BTreeMap<(u32, String), Arc<Entry>>;

#[derive(Debug, Default)]
pub(super) struct PlainShelf(Mutex<Map>);

impl PlainShelf {
    fn with<T>(&self, f: impl FnOnce(&mut Map) -> T) -> T {
        point();
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shelf for PlainShelf {
    fn new(_: u64) -> Self {
        Self::default()
    }

    fn get(&self, cache: u32, key: &str) -> Option<Arc<Entry>> {
        self.with(|map| map.get(&(cache, key.to_owned())).cloned())
    }

    fn insert(&self, cache: u32, key: &str, entry: impl Into<Arc<Entry>>) {
        self.with(|map| map.insert((cache, key.to_owned()), entry.into()));
    }

    fn remove(&self, cache: u32, key: &str) {
        self.with(|map| map.remove(&(cache, key.to_owned())));
    }

    fn walk(&self, mut show: impl FnMut(u32, &str, &Arc<Entry>) -> ControlFlow<()>) {
        let all: Vec<_> = self.with(|map| map.iter().map(|(k, e)| (k.clone(), Arc::clone(e))).collect());
        for ((cache, key), entry) in all {
            if show(cache, &key, &entry).is_break() {
                break;
            }
        }
    }

    fn tidy(&self) {}

    fn weight(&self) -> u64 {
        self.with(|map| map.values().map(|entry| entry.weight()).sum())
    }
}
