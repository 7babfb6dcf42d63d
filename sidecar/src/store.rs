//! The values: the only place that knows moka.
//!
//! The store keeps what it is told and drops the least useful when it is full; whether a value may be served
//! is decided by what the entry carries, never by the store.

use std::{
    fmt,
    hash::Hash,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use equivalent::Equivalent;

use crate::entry::Entry;

/// How many bytes are inserted until housekeeping is done at once. moka does it by the number of writes, and what
/// 64 large values have pushed out would be held until then.
const UNTIDIED: u64 = 4 << 20;

/// What keeps values. It may drop any of them at any time; it may not return what was removed.
pub trait Shelf: fmt::Debug + Send + Sync + 'static {
    /// A shelf for at most `memory` bytes.
    fn new(memory: u64) -> Self;
    /// The entry of a key, whatever it says.
    fn get(&self, cache: u32, key: &str) -> Option<Arc<Entry>>;
    /// Stores an entry.
    fn insert(&self, cache: u32, key: &str, entry: impl Into<Arc<Entry>>);
    /// Drops an entry.
    fn remove(&self, cache: u32, key: &str);
    /// Shows each entry, until that is to stop. What is stored meanwhile may or may not be shown, and what is shown may have
    /// been replaced.
    fn walk(&self, show: impl FnMut(u32, &str, &Arc<Entry>) -> ControlFlow<()>);
    /// Does the housekeeping that writes left over: what was dropped is freed.
    fn tidy(&self);
    /// Bytes held, by the shelf's own account.
    fn weight(&self) -> u64;
}

/// The values of all caches, bounded in bytes: moka.
#[derive(Debug)]
pub struct Store {
    map: moka::sync::Cache<StoreKey, Arc<Entry>, ahash::RandomState>,
    /// Bytes inserted since the last housekeeping, about.
    untidied: AtomicU64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct StoreKey {
    cache: u32,
    key: Box<str>,
}

/// A [`StoreKey`] that borrows, so that a look-up allocates nothing.
#[derive(Hash)]
struct Lookup<'a> {
    cache: u32,
    key: &'a str,
}

// === impl Store ===

impl Equivalent<StoreKey> for Lookup<'_> {
    fn equivalent(&self, key: &StoreKey) -> bool {
        self.cache == key.cache && *self.key == *key.key
    }
}

impl Shelf for Store {
    fn new(memory: u64) -> Self {
        let map = moka::sync::Cache::builder()
            .max_capacity(memory)
            .weigher(|_: &StoreKey, entry: &Arc<Entry>| u32::try_from(entry.weight()).unwrap_or(u32::MAX))
            .build_with_hasher(ahash::RandomState::new());
        Self { map, untidied: AtomicU64::new(0) }
    }

    fn get(&self, cache: u32, key: &str) -> Option<Arc<Entry>> {
        self.map.get(&Lookup { cache, key })
    }

    fn insert(&self, cache: u32, key: &str, entry: impl Into<Arc<Entry>>) {
        let entry = entry.into();
        let weight = entry.weight();
        self.map.insert(StoreKey { cache, key: key.into() }, entry);
        if self.untidied.fetch_add(weight, Ordering::Relaxed) + weight > UNTIDIED {
            self.tidy();
        }
    }

    fn remove(&self, cache: u32, key: &str) {
        self.map.invalidate(&Lookup { cache, key });
    }

    fn walk(&self, mut show: impl FnMut(u32, &str, &Arc<Entry>) -> ControlFlow<()>) {
        for (key, entry) in &self.map {
            if show(key.cache, &key.key, &entry).is_break() {
                break;
            }
        }
    }

    fn tidy(&self) {
        self.untidied.store(0, Ordering::Relaxed);
        self.map.run_pending_tasks();
    }

    fn weight(&self) -> u64 {
        self.map.weighted_size()
    }
}

/// A counter's value.
#[must_use]
pub fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::{ops::ControlFlow, sync::Arc};

    use super::{Shelf as _, Store, count};
    use crate::{
        catalog::CacheStats,
        clock::Tick,
        coherence::Seq,
        entry::{Entry, Read, Value},
    };

    fn entry(stats: &Arc<CacheStats>, body: &'static [u8]) -> Entry {
        let value = Value::new(body.into(), "text/plain".into());
        let read = Read { seq: Seq(1), position: None, hold_off: false, hydrated: false, on: None };
        Entry::new(value, 1, read, Tick(0), Tick(10), Arc::clone(stats))
    }

    #[test]
    fn entries_are_counted_while_they_live() {
        let (store, stats) = (Store::new(1 << 20), Arc::default());
        store.insert(1, "a", entry(&stats, b"one"));
        store.insert(2, "a", entry(&stats, b"two"));
        assert_eq!(count(&stats.entries), 2);
        assert_eq!(store.get(1, "a").unwrap().body, "one");
        assert_eq!(store.get(2, "a").unwrap().body, "two");
        assert!(store.get(3, "a").is_none());
        store.remove(1, "a");
        assert!(store.get(1, "a").is_none());
        store.walk(|cache, key, _| {
            store.remove(cache, key);
            ControlFlow::Continue(())
        });
        assert!(store.get(2, "a").is_none());
    }

    #[test]
    fn the_store_is_bounded_in_bytes() {
        let (store, stats) = (Store::new(100_000), Arc::default());
        let body: &'static [u8] = Box::leak(vec![0; 1000].into_boxed_slice());
        for i in 0..1000 {
            store.insert(1, &i.to_string(), entry(&stats, body));
        }
        store.tidy();
        assert!(store.weight() <= 100_000, "{}", store.weight());
        assert!(store.weight() > 50_000, "{}", store.weight());
    }

    #[test]
    fn large_values_do_not_pile_up_beyond_the_bound() {
        let (store, stats) = (Store::new(8 << 20), Arc::default());
        let body: &'static [u8] = Box::leak(vec![0; 1 << 20].into_boxed_slice());
        let mut most = 0;
        for i in 0..200 {
            store.insert(1, &i.to_string(), entry(&stats, body));
            most = most.max(count(&stats.bytes));
        }
        // What is pushed out is freed by moka's epochs, a little later.
        assert!(most <= 24 << 20, "{most} bytes were held");
        assert!(store.weight() >= 6 << 20, "{}", store.weight());
    }
}
