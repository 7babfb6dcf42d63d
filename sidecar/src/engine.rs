//! The glue: the core's rules and the store under one lock.
//!
//! Whoever invalidates does it in the history and in the store under the lock; whoever fills asks the history
//! and writes the store under the same lock. So no fill can slip between a change's two halves. Hits take no
//! lock: an entry's row is gone from the store when its invalidation returns, and all wider invalidations are
//! read from the cache's fence.

use std::{
    sync::{
        Arc, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use freshet_crds::{OnChange, binding::CacheSpec};
use tracing::warn;

use crate::{
    audit::{Audit, Row},
    catalog::{Cache, Catalog},
    change::{
        Change, Fault, SourceReason,
        TableReason::{self, Changed, Described, Redefined, Truncated},
    },
    clock::{Now, Tick},
    coherence::{self, Fenced, History, Refusal, RowHash, Void},
    continuity::Break,
    dependencies::{Marks, On},
    effect::{Effect, Tables, concerned, effects},
    entry::{Entry, Read, Value, digest, expiry},
    events::{Cause, Events, Voided},
    feed::Feed,
    key::Key,
    lease::{Lease, Sealer},
    lifetime::{Bounds, Lifetime},
    loaders::Loaders,
    planted::{Bug, planted},
    position::{Commit, Gtid, RowVersion},
    publication::What,
    shelves::Shelves,
    store::{Shelf, Store},
    sync::{ArcSwap, ArcSwapOption, AtomicBool, Mutex},
    upstream::allowance::Allowance,
};

mod answer;
mod audited;
mod bells;
mod breaks;
mod depends;
mod epochs;
mod names;
mod published;
mod reading;
mod rosters;
mod sweeping;
mod told;
mod upstreams;
mod voiding;

use bells::Bells;
use breaks::breaks;

pub use answer::{Answer, BadLease, Fill, Grant, Hit, Miss, Pending, Terms, Wanted};
pub use bells::Listening;
pub use rosters::Unshown;

/// The media type of a hydrated value: the row as the change event carried it.
pub const ROW_TYPE: &str = "application/vnd.freshet.row+json";
/// The same in CBOR, in which a row may be filled.
pub const ROW_TYPE_IN_CBOR: &str = "application/vnd.freshet.row+cbor";

/// The state of a running sidecar.
///
/// `S` keeps the values: moka, except where a test needs a map that it can look through.
#[derive(Debug)]
pub struct Engine<S = Store> {
    catalog: ArcSwapOption<Catalog>,
    core: Mutex<Core>,
    store: ArcSwap<Shelves<S>>,
    sealer: Sealer,
    hasher: ahash::RandomState,
    /// Rung when a row's load has ended, or must begin anew.
    bells: Bells,
    /// Set when entries have become void that only a sweep will find.
    dirty: AtomicBool,
    /// What has become void, for those who listen.
    pub events: Events,
    /// How many bytes views hold.
    pub allowance: Allowance,
}

#[derive(Debug, Default)]
struct Core {
    history: History,
    loaders: Loaders,
    /// Rows and tags that values depend on.
    marks: Marks,
    /// Here, so that what it expects and what is stored are of one instant.
    audit: Option<Audit>,
    /// What has become void and isn't told yet; `None` until somebody listens.
    untold: Option<Vec<Voided>>,
}

// === impl Engine ===

impl<S: Shelf> Default for Engine<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Shelf> Engine<S> {
    /// An engine without a binding.
    #[must_use]
    pub fn new() -> Self {
        Self {
            catalog: ArcSwapOption::empty(),
            core: Mutex::default(),
            store: ArcSwap::from_pointee(Shelves::default()),
            sealer: Sealer::default(),
            hasher: ahash::RandomState::new(),
            bells: Bells::default(),
            dirty: AtomicBool::new(false),
            events: Events::default(),
            allowance: Allowance::default(),
        }
    }

    /// An engine that tells rows apart in the same way in every run.
    #[cfg(test)]
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { hasher: ahash::RandomState::with_seeds(seed, 1, 2, 3), ..Self::new() }
    }

    /// What is being run; `None` without a binding.
    #[must_use]
    pub fn catalog(&self) -> Option<Arc<Catalog>> {
        self.catalog.load_full()
    }

    /// Runs `catalog` from now on. A cache whose part of memory is another one than before starts empty. What is returned
    /// keeps the values that this has dropped: to free many of them takes a while.
    pub fn install(&self, catalog: Catalog) -> Arc<Shelves<S>> {
        let shelves = Arc::new(self.store.load().next(&catalog));
        let mut core = self.core();
        // Under the lock, or a fill could be put where nobody looks for it any more.
        let retired = self.store.swap(shelves);
        if catalog.caches.values().any(|cache| cache.spec.ranks_values()) {
            core.history.keep_images();
        }
        if catalog.caches.values().any(|cache| cache.spec.published) {
            core.history.keep_stamps();
        }
        let old = self.catalog();
        let scopes = old.iter().flat_map(|old| old.scopes()).map(|scope| &scope.rows);
        let ended = old.iter().flat_map(|old| old.caches.values()).chain(scopes);
        for cache in ended.filter(|cache| !catalog.runs(cache)) {
            // Requests that are under way still have it, and no change reaches it from now on.
            cache.attached.store(false, Ordering::Release);
            self.void_cache(&mut core, cache, None, Tick::default());
        }
        self.install_audit(&mut core, &catalog);
        self.install_rosters(old.as_deref(), &catalog);
        self.catalog.store(Some(Arc::new(catalog)));
        self.tell(&mut core, Cause::Binding);
        self.dirty.store(true, Ordering::Release);
        retired
    }

    /// Reads a lease's text for a key.
    pub fn lease(&self, cache: &Cache, key: &Key, token: &str) -> Result<Lease, BadLease> {
        let lease = self.sealer.open(token).ok_or(BadLease::Foreign)?;
        if lease.row == self.row(cache, key) || planted(Bug::LeaseForAnyKey) {
            Ok(lease)
        } else {
            Err(BadLease::OtherKey)
        }
    }

    /// Stores what was read under a lease, unless something it depends on has changed since.
    pub fn fill(
        &self,
        catalog: &Catalog,
        cache: &Arc<Cache>,
        key: &Key,
        fill: Fill,
        now: Now,
    ) -> Result<(), Fenced> {
        let Fill { lease, value, terms } = fill;
        let Terms { max_age, age, position, on, names } = terms;
        if planted(Bug::BellBeforeChange) {
            self.bells.ring(lease.row);
        }
        let mut core = self.core();
        // Another fill came in between. It may have read later, and nothing goes back; but the same value is no other.
        let overtaken = core.history.is_overtaken(lease.row, lease.number)
            && !self.store.load().get(cache.id, key.as_str()).is_some_and(|entry| entry.holds(&value));
        let good = lease.cache == cache.id || planted(Bug::LeaseForAnyDefinition);
        let watched = |on: &On| on.scope().is_none_or(|scope| scope.is_attached());
        let watched = on.iter().all(watched);
        on.iter().for_each(On::be_used);
        let last = |void: Void, on: &On| void.later(on.last(&core.history));
        let others = on.iter().fold(Void::default(), last);
        let admit = |history: &mut History, row, others| {
            cache.feed.with_commits(|commits| {
                let read = coherence::Read {
                    lease: lease.seq,
                    leased: if planted(Bug::HoldOffByFillTime) { now.tick } else { lease.at },
                    lag: catalog.freshness.read_lag,
                    wall_ms: now.wall_ms,
                    position: position.as_ref(),
                    commits,
                    others,
                };
                history.admit(&cache.fence, row, read)
            })
        };
        let good = good && watched && !overtaken;
        let admitted = good.then(|| admit(&mut core.history, lease.row, others));
        let Some(Ok(admission)) = admitted else {
            core.loaders.give_up(&lease);
            self.bells.ring(lease.row);
            cache.stats.fenced.fetch_add(1, Ordering::Relaxed);
            return Err(Fenced);
        };
        core.loaders.end(lease.row);
        core.history.note_fill(lease.row, lease.number);
        let read = |history: &mut History, row| admit(history, row, Void::default());
        let names = self.admit_names(&mut core, cache, &lease, &value, names, read);
        if planted(Bug::FillInTwoHolds) {
            drop(core);
            core = self.core();
        }
        let grown = if planted(Bug::AgeForgotten) { Duration::ZERO } else { age };
        let life = Lifetime::aged(grown, bounds(cache, lease.row, max_age).duration(), now.wall_ms);
        let remaining = life.remaining(now.wall_ms);
        let expires = expiry(now.tick, remaining, admission.hold_off);
        let on = core.marks.depend(on);
        let entry = Entry::new(
            value,
            key.as_str().len(),
            Read { seq: lease.seq, position, hold_off: admission.hold_off.is_some(), hydrated: false, on },
            now.tick,
            expires,
            Arc::clone(&cache.stats),
        )
        .aged(if planted(Bug::AgeUntold) { Duration::ZERO } else { age });
        if expires > now.tick {
            self.store_names(&mut core, cache, lease.row, &entry, &names);
            self.store.load().insert(cache.id, key.as_str(), entry);
            if !key.is_lookup() {
                core.audit_fill(cache, lease.row, key, now.tick);
            }
        } else {
            // Whoever has read later than what is there doesn't want it to be kept.
            self.store.load().remove(cache.id, key.as_str());
        }
        drop(core);
        if !planted(Bug::BellBeforeChange) {
            self.bells.ring(lease.row);
        }
        cache.stats.note_taken(remaining, admission.hold_off);
        Ok(())
    }

    /// Begins to listen for the end of a key's load. What ended before isn't told: ask again after this.
    #[must_use]
    pub fn listen(&self, cache: &Cache, key: &Key) -> Listening<'_> {
        self.bells.listen(self.row(cache, key))
    }

    /// Drops a key's value and fences its leases.
    pub fn delete(&self, cache: &Cache, key: &Key, now: Tick) {
        if planted(Bug::DeleteKeepsLeases) {
            return self.store.load().remove(cache.id, key.as_str());
        }
        if planted(Bug::VoidInTwoHolds) {
            self.store.load().remove(cache.id, key.as_str());
        }
        let mut core = self.core();
        self.void_row(&mut core, cache, key, now);
        // Under the lock, as whoever asks may have found the cache before it was defined anew.
        let current = self.catalog().and_then(|catalog| catalog.caches.get(&cache.spec.name).cloned());
        if let Some(current) = current.filter(|current| current.id != cache.id) {
            self.store.load().remove(current.id, key.as_str());
        }
        self.tell(&mut core, Cause::Dropped);
    }

    /// Applies one change of a feed; says if it breaks the feed's epoch.
    pub fn apply(
        &self,
        catalog: &Catalog,
        feed: &Feed,
        tables: &Tables,
        change: &Change<'_>,
        now: Now,
    ) -> Option<Break> {
        let read = change;
        let change = change.told();
        let is_told = matches!(change, Change::Table { why, version: None, .. } if why.may_be_told());
        if is_told || !std::ptr::eq(read, change) {
            feed.note_unplaced(now.wall_ms);
            if !planted(Bug::ToldProven) {
                // No position proves that a read has seen what somebody has told of.
                feed.with_commits(|commits| commits.forget(now.tick));
            }
        }
        let bump = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match change {
            Change::Heartbeat(heartbeat) => {
                let age = Duration::from_millis(now.wall_ms.saturating_sub(heartbeat.at_ms));
                feed.hold_heartbeat(heartbeat.kind, now.tick.before(age));
            }
            Change::Source { why: SourceReason::Redefined, .. }
            | Change::Table { why: Truncated | Redefined | Described | Changed { .. }, .. } => {
                bump(&feed.stats.tables);
                if let Change::Table { why: Changed { oversized: true }, .. } = change {
                    bump(&feed.stats.oversized);
                }
            }
            Change::Source { why: SourceReason::Unreadable(Fault::Publication), .. } => {
                bump(&feed.stats.unreadable);
                self.doubt_images(catalog, feed, now.wall_ms, now.tick);
            }
            Change::Source { why: SourceReason::Unreadable(_), .. }
            | Change::Table { why: TableReason::Unreadable(_), .. }
            | Change::Garbage(_) => {
                bump(&feed.stats.unreadable);
            }
            Change::Row(_) | Change::Tombstone(_) => {
                bump(&feed.stats.rows);
            }
            Change::Published(publication) => {
                if matches!(publication.what, What::Unreadable(_)) {
                    bump(&feed.stats.unreadable);
                }
                self.publish(catalog, feed, publication, now);
            }
            Change::Transaction(_) | Change::Message(_) | Change::Notice(_) | Change::Other => {}
        }
        let effects = effects(change, concerned(change, tables).inspect(|table| table.be_seen()));
        self.tell_rosters(catalog, feed, change);
        if !effects.is_empty() {
            if planted(Bug::VoidInTwoHolds) {
                for effect in &effects {
                    if let Effect::VoidRow { cache, key } = effect {
                        self.store.load().remove(cache.id, key.as_str());
                    }
                }
            }
            let mut core = self.core();
            for effect in effects {
                self.perform(&mut core, catalog, effect, now);
            }
            self.tell(&mut core, Cause::Change(change));
        }
        if let Change::Source { version: Some(version), .. } = change {
            // With a stream per table, images from before it may come after it.
            let of_feed = |cache: &&Arc<Cache>| std::ptr::eq(Arc::as_ptr(&cache.feed), feed);
            self.foresee(catalog.caches.values().filter(of_feed), *version);
        }
        // Whoever sees that it was applied finds it done.
        bump(&feed.stats.entries);
        // Last: a break voids what the change itself has made.
        breaks(feed, read)
    }

    /// Learns from a change that came before a stream's position: that its table is there, and how its keys
    /// look. Nothing depends on the change itself.
    pub fn recall(&self, tables: &Tables, change: &Change<'_>, now: Tick) {
        let change = change.told();
        let effects = effects(change, concerned(change, tables).inspect(|table| table.be_seen()));
        let mut core = self.core();
        for effect in effects {
            if let Effect::Reshape { cache, lookup, shape } = effect {
                self.reshape(&mut core, cache, lookup, shape, now);
            }
        }
        self.tell(&mut core, Cause::Change(change));
    }

    /// Learns a place in the log from before a feed's position: what is read once more from before it is no news.
    pub fn foresee<'a>(&self, caches: impl IntoIterator<Item = &'a Arc<Cache>>, version: RowVersion) {
        let core = self.core();
        for cache in caches.into_iter().filter(|cache| cache.spec.on_change == OnChange::Hydrate) {
            core.history.foresee(&cache.fence, version);
        }
    }

    fn perform(&self, core: &mut Core, catalog: &Catalog, effect: Effect<'_>, now: Now) {
        let skew = catalog.freshness.clock_skew;
        match effect {
            Effect::VoidRow { cache, key } => self.void_row(core, cache, &key, now.tick),
            Effect::VoidCache { cache, version } => self.void_cache(core, cache, version, now.tick),
            Effect::VoidTable { scope, rows } => {
                core.history.void_cache(&scope.whole, now.tick);
                if rows {
                    core.history.void_cache(&scope.rows.fence, now.tick);
                }
                self.note_table(core, scope, rows);
                if scope.is_used() {
                    self.dirty.store(true, Ordering::Release);
                }
            }
            Effect::Reshape { cache, lookup, shape } => self.reshape(core, cache, lookup, shape, now.tick),
            Effect::Note { cache, key, version } => {
                let hash = self.row(cache, &key);
                core.history.note(&cache.fence, hash, version);
                if let Some(audit) = core.audit_of(cache) {
                    audit.noted(Row { cache: cache.id, hash, key: &key }, version);
                }
            }
            Effect::Outrank { cache, key } => {
                let row = key.map(|key| self.row(cache, &key));
                core.history.outrank(&cache.fence, row, now.wall_ms);
            }
            Effect::Enrol { cache, entry } => self.enrol(catalog, cache, entry),
            Effect::Refuse { cache, why } => refuse(cache, why),
            Effect::Hydrate { cache, key, image, names, version, commit_ms, since_ms } => {
                let row = self.row(cache, &key);
                if let Some(audit) = core.audit_of(cache) {
                    let digest = || digest(image.as_bytes());
                    audit.image(Row { cache: cache.id, hash: row, key: &key }, version, digest);
                }
                if let Err(why) = core.history.image(&cache.fence, row, version, commit_ms, skew) {
                    return refuse(cache, why);
                }
                if cache.feed.is_straggling() {
                    return refuse(cache, Refusal::NotNewer);
                }
                let age = Duration::from_millis(now.wall_ms.saturating_sub(since_ms.unwrap_or(now.wall_ms)));
                let life = Lifetime::aged(age, bounds(cache, row, None).duration(), now.wall_ms);
                let remaining = life.remaining(now.wall_ms);
                if remaining.is_zero() {
                    return;
                }
                let decide = |h: &mut History, n| h.image(&cache.fence, n, version, commit_ms, skew);
                let names = self.newest_names(core, cache, names, decide);
                let body = Bytes::copy_from_slice(image.as_bytes());
                let value = Value::new(body, Bytes::from_static(ROW_TYPE.as_bytes()));
                let expires = expiry(now.tick, remaining, None);
                let (seq, stats) = (core.history.seq(), Arc::clone(&cache.stats));
                let read = Read { seq, position: None, hold_off: false, hydrated: true, on: None };
                let entry = Entry::new(value, key.as_str().len(), read, now.tick, expires, stats).aged(age);
                self.store_names(core, cache, row, &entry, &names);
                self.store.load().insert(cache.id, key.as_str(), entry);
                core.loaders.end(row);
                self.bells.ring(row);
                cache.stats.hydrated.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Notes that a commit's transaction and every one before it have been applied, and nothing of a later one; `at_end`
    /// of the log unless it is read once more.
    pub fn commit(&self, feed: &Feed, commit: Commit, at_end: bool, now: Tick) {
        let through = self.core().history.seq();
        feed.commit(commit, at_end, through, now);
    }

    /// Notes that something of a statement about a table has been applied: whoever hasn't seen its transaction may have
    /// missed that.
    pub fn statement(&self, feed: &Feed, gtid: Gtid, now: Tick) {
        let through = self.core().history.seq();
        feed.with_commits(|commits| commits.applied(Commit::Gtid(gtid), false, through, now));
    }

    /// A row's hash; definitions of one name share it, so that a lease outlives no change of definition
    /// unnoticed.
    fn row(&self, cache: &Cache, key: &Key) -> RowHash {
        RowHash(self.hasher.hash_one((&cache.spec.name, key.as_str())))
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What bounds the life of a row's value.
fn bounds(cache: &Cache, row: RowHash, max_age: Option<Duration>) -> Bounds {
    let CacheSpec { ttl, ttl_jitter: jitter, .. } = cache.spec;
    Bounds { ttl, jitter, lot: row.0, max_age }
}

/// Counts an image that isn't taken, and tells of each kind once if something can be done about it.
fn refuse(cache: &Cache, why: Refusal) {
    let first = cache.stats.refused[why as usize].fetch_add(1, Ordering::Relaxed) == 0;
    if let (true, Some(advice)) = (first, why.advice()) {
        let cache = cache.spec.name.as_str();
        warn!(cache, why = why.as_str(), advice, "an image isn't hydrated; further ones are only counted");
    }
}

#[cfg(test)]
mod tests;
