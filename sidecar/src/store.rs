//! The values: the only place that knows moka.
//!
//! The store keeps what it is told and drops the least useful when it is full; whether a value may be served
//! is decided by what the entry carries, never by the store.

use std::{
    fmt,
    hash::Hash,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use equivalent::Equivalent;

use crate::{catalog::CacheStats, clock::Tick, coherence::Seq, position::Position};

/// What an entry costs beyond its key and value, in bytes: the entry itself and moka's bookkeeping.
pub const OVERHEAD: u64 = 256;

/// How many bytes are inserted until housekeeping is done at once. moka does it by the number of writes, and what
/// 64 large values have pushed out would be held until then.
const UNTIDIED: u64 = 4 << 20;

/// A cached value, or the knowledge that there is none.
#[derive(Debug)]
pub struct Entry {
    /// The bytes as they were stored; empty for an absence.
    pub body: Bytes,
    /// Their media type.
    pub content_type: Bytes,
    /// A strong entity tag, quoted, the same in every pod.
    pub etag: Bytes,
    /// Whether this says that there is no such row.
    pub absent: bool,
    /// What had been applied when the value was read.
    pub seq: Seq,
    /// The place of PostgreSQL's log that the value reflects at least, where its reader said so.
    lsn: Option<NonZeroU64>,
    /// When it was stored.
    pub stored: Tick,
    /// When it ends.
    pub expires: Tick,
    /// Whether the read may have missed a change, so that it ends no later than the hold-off.
    pub hold_off: bool,
    /// Whether the value came from a change's image.
    pub hydrated: bool,
    held: Held,
}

/// Counts an entry in its cache's statistics for as long as the entry lives.
#[derive(Debug)]
struct Held {
    stats: Arc<CacheStats>,
    bytes: u64,
}

/// What keeps values. It may drop any of them at any time; it may not return what was removed.
pub trait Shelf: fmt::Debug + Send + Sync + 'static {
    /// A shelf for at most `memory` bytes.
    fn new(memory: u64) -> Self;
    /// The entry of a key, whatever it says.
    fn get(&self, cache: u32, key: &str) -> Option<Arc<Entry>>;
    /// Stores an entry.
    fn insert(&self, cache: u32, key: &str, entry: Entry);
    /// Drops an entry.
    fn remove(&self, cache: u32, key: &str);
    /// Drops every entry that isn't worth keeping, and does the housekeeping that writes left over.
    fn sweep(&self, keep: impl Fn(u32, &Entry) -> bool);
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

// === impl Entry ===

/// What an [`Entry`] is made of.
#[derive(Debug)]
pub struct Value {
    /// The bytes.
    pub body: Bytes,
    /// Their media type.
    pub content_type: Bytes,
    /// Whether this says that there is no such row.
    pub absent: bool,
}

/// How an [`Entry`]'s value was read.
#[derive(Debug)]
pub struct Read {
    /// What had been applied then.
    pub seq: Seq,
    /// The position it was read at, where the reader said so.
    pub position: Option<Position>,
    /// Whether it may have missed a change.
    pub hold_off: bool,
    /// Whether it is a change's image, which nobody has read.
    pub hydrated: bool,
}

impl Entry {
    /// Whether it is an entry of this very value.
    #[must_use]
    pub fn holds(&self, value: &Value) -> bool {
        (&self.body, &self.content_type, self.absent) == (&value.body, &value.content_type, value.absent)
    }

    /// Makes an entry that is counted in `stats` while it lives. `key` is the length of its key in bytes.
    #[must_use]
    pub fn new(
        value: Value,
        key: usize,
        read: Read,
        stored: Tick,
        expires: Tick,
        stats: Arc<CacheStats>,
    ) -> Self {
        let Value { body, content_type, absent } = value;
        let etag = etag(&content_type, &body);
        let bytes = OVERHEAD + (key + body.len() + content_type.len()) as u64;
        stats.entries.fetch_add(1, Ordering::Relaxed);
        stats.bytes.fetch_add(bytes, Ordering::Relaxed);
        let Read { seq, position, hold_off, hydrated } = read;
        let lsn = match position {
            Some(Position::Lsn(lsn)) => NonZeroU64::new(lsn),
            _ => None,
        };
        let held = Held { stats, bytes };
        Self { body, content_type, etag, absent, seq, lsn, stored, expires, hold_off, hydrated, held }
    }

    /// Whether the value reflects everything up to a position, by what its reader said.
    #[must_use]
    pub fn reflects(&self, min: &Position) -> bool {
        matches!((min, self.lsn), (Position::Lsn(min), Some(lsn)) if *min <= lsn.get())
    }

    /// Bytes it costs, key and overhead included.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.held.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.stats.entries.fetch_sub(1, Ordering::Relaxed);
        self.stats.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What tells bytes apart: 128 bits of XXH3, piece by piece.
#[derive(Default)]
pub struct Digest(xxhash_rust::xxh3::Xxh3);

impl Digest {
    /// Adds a piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Of all pieces.
    #[must_use]
    pub fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

/// What tells these bytes apart.
#[must_use]
pub fn digest(bytes: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(bytes)
}

/// 128 bits of XXH3 over type and bytes, in hexadecimal.
fn etag(content_type: &[u8], body: &[u8]) -> Bytes {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(content_type);
    hash.update(&[0]);
    hash.update(body);
    format!("\"{:032x}\"", hash.digest128()).into()
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

    fn insert(&self, cache: u32, key: &str, entry: Entry) {
        let weight = entry.weight();
        self.map.insert(StoreKey { cache, key: key.into() }, Arc::new(entry));
        if self.untidied.fetch_add(weight, Ordering::Relaxed) + weight > UNTIDIED {
            self.tidy();
        }
    }

    fn remove(&self, cache: u32, key: &str) {
        self.map.invalidate(&Lookup { cache, key });
    }

    fn sweep(&self, keep: impl Fn(u32, &Entry) -> bool) {
        for (key, entry) in &self.map {
            if !keep(key.cache, &entry) {
                self.map.invalidate(&*key);
            }
        }
        self.tidy();
    }

    fn tidy(&self) {
        self.untidied.store(0, Ordering::Relaxed);
        self.map.run_pending_tasks();
    }

    fn weight(&self) -> u64 {
        self.map.weighted_size()
    }
}

/// The end of a value's life: its cache's, shortened by the fill's own and by a hold-off.
#[must_use]
pub fn expiry(now: Tick, ttl: Duration, max_age: Option<Duration>, hold_off: Option<Tick>) -> Tick {
    let end = now + max_age.map_or(ttl, |age| age.min(ttl));
    hold_off.map_or(end, |hold_off| hold_off.min(end))
}

/// A counter's value.
#[must_use]
pub fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{Entry, Read, Shelf as _, Store, Value, count, expiry};
    use crate::{catalog::CacheStats, clock::Tick, coherence::Seq};

    fn entry(stats: &Arc<CacheStats>, body: &'static [u8]) -> Entry {
        let value = Value { body: body.into(), content_type: "text/plain".into(), absent: false };
        let read = Read { seq: Seq(1), position: None, hold_off: false, hydrated: false };
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
        store.sweep(|cache, _| cache != 2);
        assert!(store.get(2, "a").is_none());
    }

    #[test]
    fn the_store_is_bounded_in_bytes() {
        let (store, stats) = (Store::new(100_000), Arc::default());
        let body: &'static [u8] = Box::leak(vec![0; 1000].into_boxed_slice());
        for i in 0..1000 {
            store.insert(1, &i.to_string(), entry(&stats, body));
        }
        store.sweep(|_, _| true);
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

    #[test]
    fn etags_tell_type_and_bytes_apart_and_nothing_else() {
        let stats = Arc::default();
        assert_eq!(entry(&stats, b"x").etag, entry(&stats, b"x").etag);
        assert_ne!(entry(&stats, b"x").etag, entry(&stats, b"y").etag);
        assert_eq!(entry(&stats, b"x").etag.len(), 34);
    }

    #[test]
    fn the_shortest_life_counts() {
        let (hour, minute) = (Duration::from_hours(1), Duration::from_mins(1));
        assert_eq!(expiry(Tick(0), hour, None, None), Tick(3_600_000));
        assert_eq!(expiry(Tick(0), minute, Some(hour), None), Tick(60_000));
        assert_eq!(expiry(Tick(0), hour, Some(minute), Some(Tick(500))), Tick(500));
    }
}
