//! Events: what has become void, told to whoever listens.
//!
//! A log of what the engine did, written under the engine's lock after it was done: who reads a cache after an event
//! finds what the event tells of done. The log is bounded in bytes. Whoever comes too late for a part of it is told
//! that everything may have changed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    catalog::Cache,
    change::{Change, Op, TableName, TableReason},
    key::Key,
    store::count,
};

/// How many bytes of events are kept for those who come back or are slow.
pub const ROOM: usize = 4 << 20;

/// What an event costs beyond its text and its caches' names, in bytes.
const OVERHEAD: usize = 96;

/// How many bytes of events are handed over at once.
const PIECE: usize = 64 << 10;

/// The log of events, from when somebody first listened.
#[derive(Debug)]
pub struct Events {
    instance: u64,
    log: Mutex<Log>,
    /// The number of the last event; rung with each.
    told: watch::Sender<u64>,
    /// What was counted.
    pub stats: EventStats,
}

/// What is counted of events.
#[derive(Debug, Default)]
pub struct EventStats {
    /// Streams that are open.
    pub streams: AtomicU64,
    /// Readers that were told to take everything for changed, by [`Lost`].
    pub resets: [AtomicU64; Lost::ALL.len()],
}

#[derive(Debug)]
struct Log {
    room: usize,
    /// The number of the last event.
    last: u64,
    held: VecDeque<Event>,
    bytes: usize,
}

#[derive(Debug)]
struct Event {
    text: Bytes,
    caches: Box<[Box<str>]>,
}

/// What has become void and isn't told yet.
#[derive(Debug)]
pub struct Voided {
    /// `None` if it is none's.
    source: Option<String>,
    cache: String,
    /// `None`: all of the cache, or of it what depends on `on`.
    key: Option<String>,
    /// What its fills may have named, as they name it.
    on: Option<String>,
}

/// Why something has become void.
#[derive(Clone, Copy, Debug)]
pub enum Cause<'a> {
    /// A change.
    Change(&'a Change<'a>),
    /// An application has published something.
    Published,
    /// This pod was asked to drop a value, or has found it to be wrong.
    Dropped,
    /// This pod was asked to drop what depends on a tag.
    Tag,
    /// A source's epoch has ended.
    Epoch,
    /// Changes are followed from here on, and not from before.
    Positioned,
    /// The binding defines the cache otherwise, or no more.
    Binding,
}

/// Why a reader has missed events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The last one it has seen is another process's.
    Instance,
    /// Those since the last one it has seen aren't kept any more.
    Expired,
    /// It reads more slowly than events come.
    Slow,
}

/// A place in the log: the number of the last event that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u64);

/// The caches that a reader wants to hear of; none: all.
#[derive(Clone, Debug, Default)]
pub struct Filter(pub BTreeSet<String>);

// === impl Lost ===

impl Lost {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Instance, Self::Expired, Self::Slow];

    /// Its name in events and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Expired => "expired",
            Self::Slow => "slow",
        }
    }
}

// === impl Voided ===

impl Voided {
    /// A row of a cache, or without a key all of it.
    #[must_use]
    pub fn new(cache: &Cache, key: Option<&Key>) -> Self {
        Self {
            source: Some(cache.feed.spec.name.clone()),
            cache: cache.spec.name.clone(),
            key: key.map(Key::to_path),
            on: None,
        }
    }

    /// What of a cache depends on this; without it all that depends on anything of the source.
    #[must_use]
    pub fn depending(cache: &Cache, source: Option<&str>, on: Option<&str>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self { source: owned(source), cache: cache.spec.name.clone(), key: None, on: owned(on) }
    }
}

// === impl Cause ===

impl Cause<'_> {
    fn op(self) -> &'static str {
        match self {
            Self::Change(Change::Row(row) | Change::Tombstone(row)) => match row.op {
                Op::Create => "create",
                Op::Update => "update",
                Op::Delete => "delete",
                Op::Read => "read",
            },
            Self::Change(Change::Table { why, .. }) => match why {
                TableReason::Truncated => "truncate",
                TableReason::Changed { .. } => "change",
                TableReason::Redefined | TableReason::Described => "redefine",
                TableReason::Unreadable(_) => "unreadable",
            },
            Self::Published => "publish",
            Self::Dropped => "drop",
            Self::Tag => "tag",
            // No other change makes anything void but by a new epoch.
            Self::Change(_) | Self::Epoch | Self::Positioned | Self::Binding => "reset",
        }
    }

    fn table(self) -> Option<String> {
        let Self::Change(change) = self else { return None };
        change.table().and_then(|table| TableName::spellings(table).next())
    }

    /// Why nothing more is known than that everything may have changed.
    fn reset(self) -> Option<&'static str> {
        match self {
            Self::Epoch => Some("epoch"),
            Self::Positioned => Some("positioned"),
            Self::Binding => Some("binding"),
            Self::Change(_) | Self::Published | Self::Dropped | Self::Tag => None,
        }
    }
}

// === impl Filter ===

impl Filter {
    fn takes(&self, event: &Event) -> bool {
        self.0.is_empty() || event.caches.iter().any(|cache| self.0.contains(&**cache))
    }
}

// === impl Events ===

impl Default for Events {
    fn default() -> Self {
        Self::new(ROOM)
    }
}

impl Events {
    /// An empty log with room for so many bytes.
    #[must_use]
    pub fn new(room: usize) -> Self {
        let log = Log { room, last: 0, held: VecDeque::new(), bytes: 0 };
        Self {
            instance: RandomState::new().hash_one("instance"),
            log: Mutex::new(log),
            told: watch::Sender::new(0),
            stats: EventStats::default(),
        }
    }

    /// Tells what has become void: one event for each row, one for each dependency and one for what is void as a whole,
    /// per source.
    pub fn tell(&self, cause: Cause<'_>, voided: &mut Vec<Voided>) {
        let (op, table, reason) = (cause.op(), cause.table(), cause.reset());
        let mut log = self.log();
        let mut rows = BTreeMap::<_, BTreeSet<String>>::new();
        for Voided { source, cache, key, on } in voided.drain(..) {
            rows.entry((source, key, on)).or_default().insert(cache);
        }
        for ((source, key, on), caches) in rows {
            let mut data = json!({"source": source, "table": table, "key": key, "op": op, "caches": caches});
            if let Some(reason) = reason {
                data["reason"] = reason.into();
            }
            if let Some(on) = on {
                data["on"] = on.into();
            }
            log.last += 1;
            let text = message(self.instance, log.last, reason.is_some(), &data);
            log.hold(text, caches);
        }
        let last = log.last;
        drop(log);
        self.told.send_replace(last);
    }

    /// The log's end.
    #[must_use]
    pub fn end(&self) -> Place {
        Place(self.log().last)
    }

    /// Rung with every event that is told.
    #[must_use]
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// The place behind the event with this id.
    pub fn place(&self, id: &str) -> Result<Place, Lost> {
        let (instance, number) = id.split_once('-').ok_or(Lost::Instance)?;
        let number: u64 = number.parse().map_err(|_| Lost::Instance)?;
        let log = self.log();
        if instance != name(self.instance) || number > log.last {
            return Err(Lost::Instance);
        }
        if log.holds(number) { Ok(Place(number)) } else { Err(Lost::Expired) }
    }

    /// The events behind a place, as many as are handed over at once, and the place behind them.
    pub fn read(&self, place: Place, filter: &Filter) -> Result<(Bytes, Place), Lost> {
        let log = self.log();
        if !log.holds(place.0) {
            return Err(Lost::Slow);
        }
        let (mut text, mut at) = (BytesMut::new(), place.0);
        let seen = log.held.len() - usize::try_from(log.last - place.0).unwrap_or(0);
        for event in log.held.range(seen..) {
            at += 1;
            if filter.takes(event) {
                text.extend_from_slice(&event.text);
            }
            if text.len() >= PIECE {
                break;
            }
        }
        Ok((text.freeze(), Place(at)))
    }

    /// An event for a reader who has missed some: of all that it wants to hear of. It goes on at the log's end.
    pub fn reset(&self, why: Lost, caches: &BTreeSet<String>) -> (Bytes, Place) {
        self.stats.resets[why as usize].fetch_add(1, Ordering::Relaxed);
        let end = self.end();
        let data = json!({
            "source": null, "table": null, "key": null, "op": "reset", "caches": caches, "reason": why.as_str(),
        });
        (message(self.instance, end.0, true, &data), end)
    }

    /// What tells a reader its place, and is no event.
    #[must_use]
    pub fn mark(&self, place: Place) -> String {
        format!("id: {}-{}\n\n", name(self.instance), place.0)
    }

    /// How many events were told.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.log().last
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl EventStats ===

impl EventStats {
    /// How often readers were told to take everything for changed, by reason.
    pub fn resets(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Lost::ALL.into_iter().map(|why| (why.as_str(), count(&self.resets[why as usize])))
    }
}

// === impl Log ===

impl Log {
    /// Whether every event behind this one is kept.
    fn holds(&self, number: u64) -> bool {
        self.last.checked_sub(number).is_some_and(|behind| behind <= self.held.len() as u64)
    }

    fn hold(&mut self, text: Bytes, caches: BTreeSet<String>) {
        let event = Event { text, caches: caches.into_iter().map(String::into_boxed_str).collect() };
        self.bytes += event.weight();
        self.held.push_back(event);
        while self.bytes > self.room
            && let Some(oldest) = self.held.pop_front()
        {
            self.bytes -= oldest.weight();
        }
    }
}

// === impl Event ===

impl Event {
    fn weight(&self) -> usize {
        let names: usize = self.caches.iter().map(|name| name.len() + size_of::<Box<str>>()).sum();
        OVERHEAD + self.text.len() + names
    }
}

fn name(instance: u64) -> String {
    format!("{instance:016x}")
}

fn message(instance: u64, number: u64, reset: bool, data: &serde_json::Value) -> Bytes {
    let kind = if reset { "event: reset\n" } else { "" };
    format!("id: {}-{number}\n{kind}data: {data}\n\n", name(instance)).into()
}

#[cfg(test)]
mod tests;
