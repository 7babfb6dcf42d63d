//! Entries: values, and what the rules have to know of each.

use std::{
    num::NonZeroU64,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    catalog::CacheStats,
    clock::Tick,
    coding::Coding,
    coherence::Seq,
    dependencies::Dependencies,
    planted::{Bug, planted},
    position::Position,
    publication::Stamp,
    upstream::Origin,
};

/// What an entry costs beyond its key and value, in bytes: the entry itself, with its allocations, and moka's bookkeeping,
/// which is more than half of it. Measured: `cargo xtask bench entries`.
pub const OVERHEAD: u64 = 640;

/// What it costs further where the value is compressed, in bytes.
const CODED: usize = 192;

/// A cached value, or the knowledge that there is none.
#[derive(Debug)]
pub struct Entry {
    /// The bytes as they were stored; empty for an absence.
    pub body: Bytes,
    /// Their media type.
    pub content_type: Bytes,
    /// A strong entity tag of the value without a coding, quoted, the same in every pod.
    pub etag: Bytes,
    /// How the bytes are compressed.
    pub coded: Option<Box<Coded>>,
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
    /// What it depends on beside its row and its cache.
    on: Option<Arc<Dependencies>>,
    /// How old it was when it was stored, in whole seconds.
    age: u32,
    /// What is known of an upstream's answer; nothing of all other values.
    pub origin: Option<Box<Origin>>,
    /// What orders it among all that was published about its key; nothing of other values.
    stamp: Option<Box<Stamp>>,
    held: Held,
}

/// A compressed value.
#[derive(Debug)]
pub struct Coded {
    /// How.
    pub coding: Coding,
    /// A strong entity tag of the compressed bytes, quoted.
    pub etag: Bytes,
    /// What tells the value without the coding from others.
    pub digest: u128,
    /// Its length in bytes.
    pub length: usize,
    plain_etag: Bytes,
}

/// Counts an entry in its cache's statistics for as long as the entry lives.
#[derive(Debug)]
struct Held {
    stats: Arc<CacheStats>,
    bytes: u64,
}

/// What an [`Entry`] is made of.
#[derive(Debug)]
pub struct Value {
    /// The bytes.
    pub body: Bytes,
    /// Their media type.
    pub content_type: Bytes,
    /// Whether this says that there is no such row.
    pub absent: bool,
    /// How the bytes are compressed.
    pub coded: Option<Box<Coded>>,
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
    /// What it depends on beside its row and its cache.
    pub on: Option<Arc<Dependencies>>,
}

// === impl Value ===

impl Value {
    /// Bytes of a media type, as they are.
    #[must_use]
    pub fn new(body: Bytes, content_type: Bytes) -> Self {
        Self { body, content_type, absent: false, coded: None }
    }
}

// === impl Entry ===

impl Entry {
    /// Whether it is an entry of this very value.
    #[must_use]
    pub fn holds(&self, value: &Value) -> bool {
        let coding = |coded: &Option<Box<Coded>>| coded.as_ref().map(|coded| coded.coding);
        (&self.body, &self.content_type, self.absent, coding(&self.coded))
            == (&value.body, &value.content_type, value.absent, coding(&value.coded))
    }

    /// The value without its coding.
    #[must_use]
    pub fn plain(&self) -> Bytes {
        let Some(coded) = &self.coded else { return self.body.clone() };
        // It was decoded when it was filled.
        coded.coding.decode(&self.body, coded.length).map(Bytes::from).unwrap_or_default()
    }

    /// How long the value is without its coding, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.coded.as_ref().map_or(self.body.len(), |coded| coded.length)
    }

    /// What tells the value without its coding from others.
    #[must_use]
    pub fn digest(&self) -> u128 {
        self.coded.as_ref().map_or_else(|| digest(&self.body), |coded| coded.digest)
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
        let Value { body, content_type, absent, coded } = value;
        let etag = match &coded {
            None => etag(&content_type, &body),
            Some(coded) => coded.plain_etag.clone(),
        };
        let Read { seq, position, hold_off, hydrated, on } = read;
        let coding = if coded.is_some() { CODED } else { 0 };
        let held = Held::new(stats, key + body.len() + content_type.len() + coding, on.as_deref());
        let lsn = match position {
            Some(Position::Lsn(lsn)) => NonZeroU64::new(lsn),
            _ => None,
        };
        let origin = None;
        Self {
            body,
            content_type,
            etag,
            coded,
            absent,
            seq,
            lsn,
            stored,
            expires,
            hold_off,
            hydrated,
            on,
            age: 0,
            origin,
            stamp: None,
            held,
        }
    }

    /// Makes an entry of what an upstream has answered.
    #[must_use]
    pub fn of_upstream(
        value: Value,
        key: usize,
        origin: Origin,
        stored: Tick,
        expires: Tick,
        stats: Arc<CacheStats>,
    ) -> Self {
        let read = Read { seq: Seq(0), position: None, hold_off: false, hydrated: false, on: None };
        let mut entry = Self::new(value, key, read, stored, expires, stats);
        let weight = origin.weight();
        entry.held.stats.bytes.fetch_add(weight, Ordering::Relaxed);
        entry.held.bytes += weight;
        Self { origin: Some(Box::new(origin)), ..entry }
    }

    /// The same row under another key, of so many bytes, that depends on something else.
    #[must_use]
    pub fn under(&self, key: usize, on: Option<Arc<Dependencies>>) -> Self {
        let bytes = key + self.body.len() + self.content_type.len();
        Self {
            body: self.body.clone(),
            content_type: self.content_type.clone(),
            etag: self.etag.clone(),
            // Rows aren't compressed.
            coded: None,
            origin: None,
            stamp: None,
            held: Held::new(Arc::clone(&self.held.stats), bytes, on.as_deref()),
            on,
            ..*self
        }
    }

    /// Whether nothing was void since its lease that its fill said it depends on.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.on.as_ref().is_none_or(|on| on.hold(self.seq) || planted(Bug::DependencyUnread))
    }

    /// The same, of a value that was published so.
    #[must_use]
    pub fn published(self, stamp: Stamp) -> Self {
        Self { stamp: Some(Box::new(stamp)), ..self }
    }

    /// What orders it among all that was published about its key, if it was published.
    #[must_use]
    pub fn stamp(&self) -> Option<Stamp> {
        self.stamp.as_deref().copied()
    }

    /// The same, of a value that was this old already when it was stored.
    #[must_use]
    pub fn aged(self, age: Duration) -> Self {
        Self { age: u32::try_from(age.as_secs()).unwrap_or(u32::MAX), ..self }
    }

    /// How long ago the value began to live.
    #[must_use]
    pub fn age(&self, now: Tick) -> Duration {
        now.since(self.stored) + Duration::from_secs(self.age.into())
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

impl Coded {
    /// Of a value of this type; `plain` is the value, `body` what it is compressed to.
    #[must_use]
    pub fn new(coding: Coding, content_type: &[u8], body: &[u8], plain: &[u8]) -> Self {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        for piece in [content_type, b"\0", coding.as_str().as_bytes(), b"\0", body] {
            hash.update(piece);
        }
        Self {
            coding,
            etag: quoted(hash.digest128()),
            digest: digest(plain),
            length: plain.len(),
            plain_etag: etag(content_type, plain),
        }
    }
}

// === impl Held ===

impl Held {
    /// Of an entry of so many bytes, beside what every entry costs.
    fn new(stats: Arc<CacheStats>, bytes: usize, on: Option<&Dependencies>) -> Self {
        let bytes = OVERHEAD + (bytes + on.map_or(0, Dependencies::weight)) as u64;
        stats.entries.fetch_add(1, Ordering::Relaxed);
        stats.bytes.fetch_add(bytes, Ordering::Relaxed);
        Self { stats, bytes }
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
#[must_use]
pub fn etag(content_type: &[u8], body: &[u8]) -> Bytes {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(content_type);
    hash.update(&[0]);
    hash.update(body);
    quoted(hash.digest128())
}

/// A digest as a strong entity tag.
#[must_use]
pub fn quoted(digest: u128) -> Bytes {
    // In an allocation of just its length.
    format!("\"{digest:032x}\"").into_bytes().into_boxed_slice().into()
}

/// The end of what may live so much longer: no later than a hold-off's.
#[must_use]
pub fn expiry(now: Tick, remaining: Duration, hold_off: Option<Tick>) -> Tick {
    let end = now + remaining;
    hold_off.map_or(end, |hold_off| hold_off.min(end))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{Entry, Read, Value, expiry};
    use crate::{clock::Tick, coherence::Seq};

    fn etag(body: &'static [u8]) -> bytes::Bytes {
        let value = Value::new(body.into(), "text/plain".into());
        let read = Read { seq: Seq(1), position: None, hold_off: false, hydrated: false, on: None };
        Entry::new(value, 1, read, Tick(0), Tick(10), Arc::default()).etag
    }

    #[test]
    fn etags_tell_type_and_bytes_apart_and_nothing_else() {
        assert_eq!(etag(b"x"), etag(b"x"));
        assert_ne!(etag(b"x"), etag(b"y"));
        assert_eq!(etag(b"x").len(), 34);
    }

    #[test]
    fn the_shortest_life_counts() {
        let minute = Duration::from_mins(1);
        assert_eq!(expiry(Tick(7), minute, None), Tick(60_007));
        assert_eq!(expiry(Tick(7), minute, Some(Tick(500))), Tick(500));
        assert_eq!(expiry(Tick(7), minute, Some(Tick(90_000))), Tick(60_007));
    }
}
