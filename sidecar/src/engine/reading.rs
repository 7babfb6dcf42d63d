//! Reads: the hit, which takes no lock but its feed's where it asks for a position, and the miss, which gives a lease.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{Answer, Core, Engine, Grant, Hit, Miss, Pending, Wanted};
use crate::{
    catalog::{Cache, Catalog},
    clock::Tick,
    entry::Entry,
    freshness::{Evidence, Vouch},
    key::Key,
    lease::Lease,
    loaders::Loading,
    planted::{Bug, planted},
    store::Shelf,
    watermark::Reached,
};

impl<S: Shelf> Engine<S> {
    /// Reads a key.
    #[must_use]
    pub fn get(
        &self,
        catalog: &Catalog,
        cache: &Arc<Cache>,
        key: &Key,
        wanted: Wanted<'_>,
        now: Tick,
    ) -> Answer {
        self.read(None, catalog, cache, key, wanted, now)
    }

    /// Reads keys between two changes: what was applied before the first was read is what has been when the last is.
    ///
    /// Changes, fills and whoever else misses wait that long. Hits don't.
    #[must_use]
    pub fn get_all<'k>(
        &self,
        catalog: &Catalog,
        cache: &Arc<Cache>,
        keys: impl IntoIterator<Item = &'k Key>,
        wanted: Wanted<'_>,
        now: Tick,
    ) -> Vec<Answer> {
        if planted(Bug::BatchInManyHolds) {
            return keys.into_iter().map(|key| self.read(None, catalog, cache, key, wanted, now)).collect();
        }
        let mut core = self.core();
        let read = |key| self.read(Some(&mut core), catalog, cache, key, wanted, now);
        keys.into_iter().map(read).collect()
    }

    /// Whether somebody is changing something, or reading many keys.
    #[cfg(test)]
    pub(crate) fn is_busy(&self) -> bool {
        self.core.is_locked()
    }

    /// Reads a key, with the lock that a lease takes if it is held already.
    fn read(
        &self,
        held: Option<&mut Core>,
        catalog: &Catalog,
        cache: &Arc<Cache>,
        key: &Key,
        wanted: Wanted<'_>,
        now: Tick,
    ) -> Answer {
        let lease = || wanted.lease.then(|| self.grant(held, cache, key, now)).flatten();
        let stats = &cache.stats;
        let bump = |counter: &AtomicU64| counter.fetch_add(u64::from(!wanted.again), Ordering::Relaxed);
        let bound = catalog.freshness.bound.as_ref();
        let evidence = evidence(catalog, cache);
        let served_stale = match evidence.vouch(bound, now) {
            Vouch::Fresh => None,
            Vouch::Stale { reason, serve: Some(beyond) } => Some((reason, beyond)),
            Vouch::Stale { reason, serve: None } => {
                bump(&stats.stale);
                return missed(lease(), true, Some(reason.as_str()));
            }
        };
        if let Some(limit) = wanted.max_staleness
            && evidence.applied_through(bound).is_none_or(|at| now.since(at) > limit)
        {
            bump(&stats.stale);
            return missed(lease(), true, Some("max-staleness"));
        }
        let unseen = cache.has_unseen_table().then_some("table-never-seen");
        // Both before the value is looked at: once a position is reached, whatever it makes void is gone.
        let position = cache.feed.position();
        let is_behind = || {
            wanted.min_position.and_then(|min| match cache.feed.reached(min) {
                Reached::Yes => None,
                Reached::NotYet => Some("behind"),
                Reached::Unknown => Some("position-unknown"),
            })
        };
        let behind = is_behind();
        let entry = self.current(cache, key, now);
        let (position, behind) = if planted(Bug::PositionAfterEntry) {
            (cache.feed.position(), is_behind())
        } else {
            (position, behind)
        };
        let refused = match &entry {
            _ if wanted.reload => Some("no-cache"),
            Some(e) if wanted.min_position.is_some_and(|min| e.reflects(min)) => None,
            _ if behind.is_some() && !planted(Bug::MinimumIgnored) => behind,
            Some(e) if wanted.min_position.is_some() && e.hold_off && !planted(Bug::HeldOffReflects) => {
                Some("hold-off")
            }
            _ => None,
        };
        let refused = refused.or_else(|| {
            let entry = entry.as_ref()?;
            wanted.max_age.is_some_and(|age| entry.age(now) > age).then_some("max-age")
        });
        match entry {
            Some(entry) if refused.is_none() => {
                let age = entry.age(now).as_secs();
                let (ttl, detail) = if let Some((reason, beyond)) = served_stale {
                    bump(&stats.stale_hits);
                    (-i64::try_from(beyond.as_secs()).unwrap_or(i64::MAX).max(1), Some(reason.as_str()))
                } else {
                    bump(&stats.hits);
                    let left = entry.expires.since(now).as_secs();
                    let detail = if entry.hold_off { Some("hold-off") } else { unseen };
                    (i64::try_from(left).unwrap_or(i64::MAX), detail)
                };
                let reflects = !entry.hold_off || planted(Bug::HeldOffClaims);
                let position = position.filter(|_| served_stale.is_none() && reflects);
                Answer::Hit(Hit { entry, age, ttl, detail, position })
            }
            _ => {
                if let Some((reason, _)) = served_stale {
                    bump(&stats.stale);
                    return missed(lease(), true, Some(reason.as_str()));
                }
                bump(&stats.misses);
                let mut answer = missed(lease(), false, refused.or(unseen));
                if let Answer::Miss(miss) = &mut answer {
                    miss.pending = match &miss.lease {
                        _ if refused.is_some() && refused == behind => Some(Pending::Position),
                        Some(Grant { fill: Loading::Other(until), .. }) => Some(Pending::Load(*until)),
                        _ => None,
                    };
                }
                answer
            }
        }
    }

    /// The value of a key, if one is cached and neither void nor expired.
    pub(crate) fn current(&self, cache: &Cache, key: &Key, now: Tick) -> Option<Arc<Entry>> {
        self.store.load().get(cache.id, key.as_str()).filter(|entry| lives(cache, entry, now))
    }

    /// Gives a lease, unless a fill would not be taken.
    fn grant(&self, held: Option<&mut Core>, cache: &Arc<Cache>, key: &Key, now: Tick) -> Option<Grant> {
        let row = self.row(cache, key);
        let holds = |other: &Lease| other.cache == cache.id && cache.fence.holds(other.seq);
        let early = held.is_none() && planted(Bug::WinnerInTwoHolds);
        let alone = early && self.core().loaders.other(row, now, holds).is_none();
        let mut own;
        let core = if let Some(core) = held {
            core
        } else {
            own = self.core();
            &mut *own
        };
        // Under the lock: while a feed is being positioned anew, no lease may slip in between.
        if !cache.attached.load(Ordering::Acquire) {
            return None;
        }
        // Under the lock, too: what has been stored since the reader looked stays.
        let shelves = self.store.load();
        if shelves.get(cache.id, key.as_str()).is_some_and(|entry| !lives(cache, &entry, now)) {
            shelves.remove(cache.id, key.as_str());
        }
        let number = core.history.next_lease();
        let lease = Lease { cache: cache.id, row, seq: core.history.seq(), at: now, number };
        let fill = core.loaders.win(lease, now, |other| !alone && holds(other));
        Some(Grant { token: self.sealer.seal(&lease), fill })
    }
}

/// Whether an entry is neither void nor expired.
pub(super) fn lives(cache: &Cache, entry: &Entry, now: Tick) -> bool {
    let in_time = entry.expires > now || planted(Bug::ExpiryIgnored);
    in_time && (cache.fence.holds(entry.seq) || planted(Bug::FenceUnread)) && entry.stands()
}

fn missed(lease: Option<Grant>, stale: bool, detail: Option<&'static str>) -> Answer {
    Answer::Miss(Miss { stale, detail, lease, pending: None })
}

/// What is known about the freshness of a cache's values.
pub(super) fn evidence(catalog: &Catalog, cache: &Cache) -> Evidence {
    let attached = cache.attached.load(Ordering::Acquire);
    if cache.spec.published {
        return cache.feed.evidence_of_publications(attached);
    }
    cache.feed.evidence(attached, catalog.freshness.bound.as_ref().map(|bound| bound.heartbeat))
}
