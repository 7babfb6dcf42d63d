//! A plain map where moka is in the product, and a way to take values off it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::{entry::Entry, store::Shelf};

type Contents = Mutex<BTreeMap<(u32, String), Arc<Entry>>>;

thread_local! {
    /// The shelves that were made on this thread: the engine doesn't show its own.
    static MADE: RefCell<Vec<Weak<Contents>>> = RefCell::default();
}

/// Keeps what it is told, until memory pressure is simulated.
#[derive(Debug)]
pub(crate) struct MapShelf(Arc<Contents>);

impl Shelf for MapShelf {
    fn new(_: u64) -> Self {
        let map = Arc::default();
        MADE.with_borrow_mut(|made| {
            made.retain(|map| map.strong_count() > 0);
            made.push(Arc::downgrade(&map));
        });
        Self(map)
    }

    fn get(&self, cache: u32, key: &str) -> Option<Arc<Entry>> {
        lock(&self.0, |map| map.get(&(cache, key.to_owned())).cloned())
    }

    fn insert(&self, cache: u32, key: &str, entry: impl Into<Arc<Entry>>) {
        lock(&self.0, |map| map.insert((cache, key.to_owned()), entry.into()));
    }

    fn remove(&self, cache: u32, key: &str) {
        lock(&self.0, |map| map.remove(&(cache, key.to_owned())));
    }

    fn walk(&self, mut show: impl FnMut(u32, &str, &Arc<Entry>) -> ControlFlow<()>) {
        let all = lock(&self.0, |map| map.clone());
        for ((cache, key), entry) in &all {
            if show(*cache, key, entry).is_break() {
                break;
            }
        }
    }

    fn tidy(&self) {}

    fn weight(&self) -> u64 {
        lock(&self.0, |map| map.values().map(|entry| entry.weight()).sum())
    }
}

/// Drops every value, or one in two of them: what memory pressure may do at any time.
pub(crate) fn press(all: bool) {
    MADE.with_borrow(|made| {
        for map in made.iter().filter_map(Weak::upgrade) {
            lock(&map, |map| {
                let mut keep = false;
                map.retain(|_, _| {
                    keep = !keep;
                    !all && keep
                });
            });
        }
    });
}

fn lock<T>(map: &Contents, f: impl FnOnce(&mut BTreeMap<(u32, String), Arc<Entry>>) -> T) -> T {
    f(&mut map.lock().unwrap_or_else(PoisonError::into_inner))
}
