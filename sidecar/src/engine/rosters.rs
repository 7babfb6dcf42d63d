//! What views over rows rank: it changes with the log, and is read beside the lock.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{Engine, Wanted};
use crate::{
    catalog::{Cache, Catalog},
    change::{Change, Origin, Transaction},
    clock::Tick,
    continuity::Break,
    effect::{Enrolment, Told},
    feed::Feed,
    freshness::{Reason, Vouch},
    key::Key,
    planted::{Bug, planted},
    store::Shelf,
    upstream::allowance::Allowance,
    views::{
        roster::{Event, Roster, Terms, Why},
        rows::{Freshness, RowView, SharedRoster, Top},
    },
    watermark::Reached,
};

/// Why nothing of a view over rows is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unshown {
    /// Its rows aren't all there.
    Incomplete(Why),
    /// They are, and nobody vouches for them now.
    Stale(Reason),
    /// Nor as freshly as the reader asks.
    TooStale,
    /// What the reader asks for hasn't been applied yet.
    Position,
    /// Nobody knows whether it has been.
    PositionUnknown,
    /// A large transaction is changing the rows just now.
    Changing,
}

impl Unshown {
    /// In how long asking again may be of use.
    #[must_use]
    pub fn retry_after(self) -> Duration {
        match self {
            Self::Incomplete(why) => why.retry_after(),
            Self::PositionUnknown => Duration::from_secs(10),
            Self::Stale(_) | Self::TooStale | Self::Position | Self::Changing => Duration::from_secs(1),
        }
    }
}

impl<S: Shelf> Engine<S> {
    fn terms<'a>(&'a self, catalog: &Catalog) -> Terms<'a> {
        Terms {
            lag: catalog.freshness.read_lag,
            skew: catalog.freshness.clock_skew,
            allowance: &self.allowance,
            memory: catalog.memory,
        }
    }

    /// Has the rows ranked for the views that a catalog has. What is known of rows outlives another definition of their cache
    /// that keeps the same of each.
    pub(super) fn install_rosters(&self, old: Option<&Catalog>, catalog: &Catalog) {
        let terms = self.terms(catalog);
        for cache in catalog.caches.values() {
            let views = catalog.row_views.values().filter(|view| Arc::ptr_eq(&view.cache, cache));
            let views: Vec<_> = views.map(|view| &view.spec).collect();
            let (Some(table), false) = (&cache.spec.table, views.is_empty()) else {
                cache.roster.store(None);
                continue;
            };
            if !cache.is_ranked() {
                let same = old.filter(|old| old.epoch == catalog.epoch);
                let same = same.and_then(|old| old.caches.get(&cache.spec.name)).filter(|old| {
                    let (old, new, feed) = (&old.spec, &cache.spec, &old.feed);
                    (&old.table, &old.key, &old.columns) == (&new.table, &new.key, &new.columns)
                        && Arc::ptr_eq(feed, &cache.feed)
                });
                let roster = same.and_then(|old| old.roster.load_full());
                let roster = roster.unwrap_or_else(|| Arc::new(SharedRoster::new(table)));
                cache.roster.store(Some(roster));
            }
            with(cache, |roster| roster.show(&views, &terms));
        }
        for cache in old.iter().flat_map(|old| &old.ranked).filter(|cache| !catalog.runs(cache)) {
            let handed_on = |roster: &Arc<SharedRoster>| {
                let now =
                    |cache: &Arc<Cache>| cache.roster.load().as_ref().is_some_and(|r| Arc::ptr_eq(r, roster));
                catalog.ranked.iter().any(now) && !planted(Bug::RosterToldByOne)
            };
            // What is read by the definition of before, until the next is followed, is told to the same rows.
            if let Some(roster) = cache.roster.load_full().filter(|roster| !handed_on(roster)) {
                // Whoever reads by it would see what nobody tells any more, however long ago it was the definition.
                if !planted(Bug::RosterToldByOne) {
                    roster.with(|roster| roster.lose(Why::Replaced));
                }
                cache.roster.store(None);
            }
        }
        // Less memory than before: what can't be had again without a snapshot goes last, but it goes.
        let weight = |cache: &&Arc<Cache>| cache.roster.load().as_ref().map_or(0, |r| r.with(|r| r.weight()));
        let most = Allowance::most(catalog.memory);
        loop {
            let needed: u64 = catalog.ranked.iter().map(|cache| weight(&cache)).sum();
            let Some(largest) = catalog.ranked.iter().max_by_key(weight).filter(|_| needed > most) else {
                return;
            };
            with(largest, |roster| roster.lose(Why::NoRoom { most, needed }));
        }
    }

    /// Notes that reading a feed begins at some place, `from_nothing` if nothing ever came before it.
    pub fn begin_rosters(&self, feed: &Arc<Feed>, from_nothing: bool) {
        let Some(catalog) = self.catalog() else { return };
        ranked(&catalog, feed).for_each(|cache| with(cache, |roster| roster.begin(from_nothing)));
    }

    /// Notes that an epoch of a feed has ended.
    pub(super) fn break_rosters(&self, feed: &Feed, why: Break) {
        let Some(catalog) = self.catalog() else { return };
        ranked(&catalog, feed).for_each(|cache| with(cache, |roster| roster.break_epoch(why)));
    }

    /// Tells what concerns no row alone.
    pub(super) fn tell_rosters(&self, catalog: &Catalog, feed: &Feed, change: &Change<'_>) {
        let terms = self.terms(catalog);
        for cache in ranked(catalog, feed) {
            match change {
                Change::Notice(notice) => with(cache, |roster| roster.notice(notice, &terms)),
                // It names no commit before it: nothing would tell that one was lost.
                Change::Heartbeat(beat) if beat.dated && beat.mark.transaction.is_none() => {
                    with(cache, |roster| roster.lose(Why::NoTransactions));
                }
                Change::Heartbeat(beat) if beat.dated => {
                    with(cache, |roster| roster.beat(beat.at_ms, beat.mark.nulls_kept));
                }
                Change::Transaction(Transaction { id, end: Some(end), .. }) => {
                    with(cache, |roster| roster.end(*id, end.commit, &terms));
                }
                Change::Row(row) => {
                    if let Origin::Snapshot { resumed, .. } = row.origin {
                        with(cache, |roster| roster.note_snapshot(resumed));
                    }
                }
                _ => {}
            }
        }
    }

    /// Tells what concerns a row, or all rows of a table.
    pub(super) fn enrol(&self, catalog: &Catalog, cache: &Cache, entry: Enrolment<'_>) {
        let terms = self.terms(catalog);
        let text = |key: &Key| Box::from(key.as_str());
        with(cache, |roster| match entry {
            Enrolment::Read(key, json) => roster.read(key.as_str(), json.as_deref(), &terms),
            Enrolment::Told { what, transaction } => {
                let mut alone = None;
                let event = match what {
                    Told::Is(key, json) => Event::Is(text(&key), json.map(|json| json.into_owned().into())),
                    Told::Gone(key) => Event::Gone(text(&key)),
                    Told::Cleared { alone: commit } => {
                        alone = commit;
                        Event::Cleared
                    }
                };
                roster.tell(event, transaction, &terms);
                if let (Some(id), Some(commit)) = (transaction, alone) {
                    roster.end(id, Some(commit), &terms);
                }
            }
            Enrolment::Unknown(why) => roster.lose(why),
        });
    }

    /// Notes that nothing was lost of what has been read.
    pub fn settle_rosters(&self, feed: &Feed) {
        let Some(catalog) = self.catalog() else { return };
        let terms = self.terms(&catalog);
        ranked(&catalog, feed).for_each(|cache| with(cache, |roster| roster.settle(&terms)));
    }

    /// Reads a view over rows.
    pub fn read_rows(
        &self,
        catalog: &Catalog,
        view: &RowView,
        wanted: Wanted<'_>,
        now: Tick,
    ) -> Result<Top, Unshown> {
        let top = self.find_rows(catalog, view, wanted, now);
        let counter = match &top {
            Ok(Top { freshness: Freshness { detail: Some(_), .. }, .. }) => &view.stats.stale_hits,
            Ok(_) => &view.stats.hits,
            Err(_) => &view.stats.incomplete,
        };
        counter.fetch_add(u64::from(!wanted.again), Ordering::Relaxed);
        top
    }

    fn find_rows(
        &self,
        catalog: &Catalog,
        view: &RowView,
        wanted: Wanted<'_>,
        now: Tick,
    ) -> Result<Top, Unshown> {
        let cache = &view.cache;
        let bound = catalog.freshness.bound.as_ref();
        // Rows are there as long as the stream is followed, whichever definition of their cache gives leases.
        let evidence = cache.feed.evidence(true, bound.map(|bound| bound.heartbeat));
        let (stale, beyond) = match evidence.vouch(bound, now) {
            Vouch::Fresh => (None, None),
            Vouch::Stale { reason, serve: Some(beyond) } => (Some(reason.as_str()), Some(beyond)),
            Vouch::Stale { reason, serve: None } => {
                // What is missing says more than that nothing has begun.
                let missing = view.missing().filter(|_| reason != Reason::Disconnected);
                return Err(missing.map_or(Unshown::Stale(reason), Unshown::Incomplete));
            }
        };
        let proven = evidence.applied_through(bound);
        if let Some(limit) = wanted.max_staleness
            && proven.is_none_or(|at| now.since(at) > limit)
        {
            return Err(Unshown::TooStale);
        }
        // Both before the rows are looked at: once a position is reached, they have what it stands for.
        let position = cache.feed.position().filter(|_| stale.is_none());
        match wanted.min_position.map(|min| cache.feed.reached(min)) {
            None | Some(Reached::Yes) => {}
            Some(Reached::NotYet) => return Err(Unshown::Position),
            Some(Reached::Unknown) => return Err(Unshown::PositionUnknown),
        }
        let ranked = view.top(&self.allowance, catalog.memory).ok_or(Unshown::Changing)?;
        let ranked = ranked.map_err(Unshown::Incomplete)?;
        let staleness = proven.map_or(0, |at| now.since(at).as_secs());
        let left = bound.map_or(0, |bound| bound.max_staleness.as_secs().saturating_sub(staleness));
        let ttl = match beyond {
            Some(beyond) => -i64::try_from(beyond.as_secs()).unwrap_or(i64::MAX).max(1),
            None => i64::try_from(left).unwrap_or(i64::MAX),
        };
        Ok(Top { ranked, freshness: Freshness { age: staleness, ttl, detail: stale, position } })
    }
}

/// Forgets what is known of all rows of these caches.
pub(super) fn lose<'a>(caches: impl IntoIterator<Item = &'a Arc<Cache>>, why: Why) {
    caches.into_iter().for_each(|cache| with(cache, |roster| roster.lose(why)));
}

/// The caches of a feed whose rows views rank.
fn ranked<'a>(catalog: &'a Catalog, feed: &'a Feed) -> impl Iterator<Item = &'a Arc<Cache>> {
    catalog.ranked.iter().filter(move |cache| std::ptr::eq(Arc::as_ptr(&cache.feed), feed))
}

/// Runs `f` on what is known of a cache's rows, if a view ranks them.
fn with(cache: &Cache, f: impl FnOnce(&mut Roster)) {
    if let Some(roster) = &*cache.roster.load() {
        roster.with(f);
    }
}
