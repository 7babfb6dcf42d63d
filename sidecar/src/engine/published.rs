//! What applications publish, and what becomes of it: of all messages about a key the last wins, in whatever order they come.

use std::{
    cmp::Ordering::{Equal, Greater, Less},
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use freshet_crds::OnChange;

use super::{Core, Engine, bounds, refuse};
use crate::{
    catalog::{Cache, Catalog},
    clock::{Now, Tick, millis},
    coherence::Refusal,
    entry::{Coded, Entry, Read, Value, expiry},
    events::Cause,
    feed::Feed,
    key::Key,
    lifetime::Lifetime,
    planted::{Bug, planted},
    position::RowVersion,
    publication::{Publication, Published, Stamp, What},
    store::Shelf,
};

impl<S: Shelf> Engine<S> {
    /// Takes a message that came through this feed.
    pub(super) fn publish(&self, catalog: &Catalog, feed: &Feed, said: &Publication<'_>, now: Now) {
        let takes = |cache: &&Arc<Cache>| cache.spec.published && std::ptr::eq(&raw const *cache.feed, feed);
        let named = said.cache.as_ref().map(|name| catalog.caches.get(&**name).filter(takes));
        // Without the lock: it may have to be decoded.
        let value = match (&said.what, named) {
            (What::Value(said), Some(Some(_))) => value(said, catalog.sidecar.max_value).map(Some),
            _ => Ok(None),
        };
        let mut core = self.core();
        match named {
            Some(Some(cache)) => self.publish_to(&mut core, catalog, cache, said, value, now),
            None if matches!(said.what, What::Unreadable(_)) => {
                for cache in catalog.caches.values().filter(takes) {
                    self.void_cache(&mut core, cache, None, now.tick);
                }
            }
            // Other bindings' caches are published to here as well.
            Some(None) | None => {}
        }
        self.tell(&mut core, Cause::Published);
    }

    /// Voids what was published before this: something that its publisher has said may not have come. Of a message that
    /// says nothing of a cache, that may have been anything until now.
    pub fn doubt_publications(&self, caches: &[Arc<Cache>], before: Stamp, now: Now) {
        let start_ms = if before.start_ms == 0 { now.wall_ms } else { before.start_ms };
        let version = RowVersion::Published(Stamp { start_ms, ..before }).before();
        let mut core = self.core();
        for cache in caches.iter().filter(|cache| cache.spec.published) {
            self.void_cache(&mut core, cache, Some(version), now.tick);
        }
        self.tell(&mut core, Cause::Published);
    }

    /// Takes no image of this feed any more that was committed before then, as far as clocks tell: somebody may have told of
    /// a change of its row, and nobody here has heard that. No position of a read before `now` proves that it has seen it.
    pub fn doubt_images(&self, catalog: &Catalog, feed: &Feed, at_ms: u64, now: Tick) {
        feed.with_commits(|commits| commits.forget(now));
        if planted(Bug::LostHydrated) {
            return;
        }
        feed.note_unplaced(at_ms);
        let mut core = self.core();
        let hydrates = |cache: &&Arc<Cache>| cache.spec.on_change == OnChange::Hydrate;
        for cache in catalog.fed_by(feed).filter(hydrates) {
            core.history.outrank(&cache.fence, None, at_ms);
        }
    }

    fn publish_to(
        &self,
        core: &mut Core,
        catalog: &Catalog,
        cache: &Arc<Cache>,
        said: &Publication<'_>,
        value: Result<Option<Value>, Refusal>,
        now: Now,
    ) {
        let stamp = said.stamp;
        let version = RowVersion::Published(stamp);
        // Remembered, it would outrank all that is said until then.
        let is_ahead = stamp.start_ms > now.wall_ms.saturating_add(millis(catalog.freshness.clock_skew));
        if !is_ahead && said.cache.is_some() {
            cache.feed.publishing.hear(stamp);
        }
        let key = match &said.what {
            What::Change(_) | What::Beat | What::Bye => return,
            What::Unreadable(_) => return self.void_cache(core, cache, None, now.tick),
            What::Clear if is_ahead => {
                refuse(cache, Refusal::Ahead);
                return self.void_cache(core, cache, None, now.tick);
            }
            // It was heard already.
            What::Clear if core.history.was_void_at(&cache.fence, version) => return,
            What::Clear => return self.void_cache(core, cache, Some(version), now.tick),
            What::Delete(key) => key,
            What::Value(value) => &value.key,
        };
        let row = self.row(cache, key);
        if is_ahead {
            refuse(cache, Refusal::Ahead);
            return self.void_row(core, cache, key, now.tick);
        }
        match self.published(cache, key).map(|(held, entry)| (held.cmp(&stamp), entry)) {
            // The key has something newer. Whoever is reading may not have seen what this tells of.
            Some((Greater, _)) => {
                core.history.void_row(row, now.tick);
                return refuse(cache, Refusal::NotNewer);
            }
            Some((Equal, entry)) => {
                let is_same = matches!(&value, Ok(Some(value)) if entry.holds(value));
                if !said.is_numbered && !is_same {
                    // Of two things that became so at once nobody knows which was the last: neither is kept.
                    self.void_row(core, cache, key, now.tick);
                    let neither = RowVersion::Published(Stamp { sequence: 1, ..stamp });
                    core.history.note(&cache.fence, row, neither);
                }
                return refuse(cache, Refusal::NotNewer);
            }
            Some((Less, _)) | None => {}
        }
        self.void_row(core, cache, key, now.tick);
        let taken = match (value, &said.what) {
            (Ok(Some(value)), What::Value(said)) => self.take(core, catalog, cache, said, value, stamp, now),
            (value, _) => {
                core.history.note(&cache.fence, row, version);
                value.map(drop)
            }
        };
        if let Err(why) = taken {
            refuse(cache, why);
        }
    }

    /// What the key has that was published, and what orders it.
    fn published(&self, cache: &Cache, key: &Key) -> Option<(Stamp, Arc<Entry>)> {
        let entry = self.store.load().get(cache.id, key.as_str())?;
        let stamp = entry.stamp().filter(|_| cache.fence.holds(entry.seq))?;
        Some((stamp, entry))
    }

    /// Stores a value for what is left of its life.
    #[expect(clippy::too_many_arguments, reason = "a message, what it has, and where it goes")]
    fn take(
        &self,
        core: &mut Core,
        catalog: &Catalog,
        cache: &Arc<Cache>,
        said: &Published<'_>,
        value: Value,
        stamp: Stamp,
        now: Now,
    ) -> Result<(), Refusal> {
        let row = self.row(cache, &said.key);
        let skew = catalog.freshness.clock_skew;
        core.history.image(&cache.fence, row, RowVersion::Published(stamp), stamp.start_ms, skew)?;
        let duration = bounds(cache, row, Some(said.ttl)).duration();
        let life = Lifetime { start_ms: stamp.start_ms, duration };
        let remaining = life.remaining(now.wall_ms);
        if remaining.is_zero() {
            cache.stats.expired.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let expires = expiry(now.tick, remaining, None);
        let (seq, stats) = (core.history.seq(), Arc::clone(&cache.stats));
        let read = Read { seq, position: None, hold_off: false, hydrated: true, on: None };
        let key = &said.key;
        let entry = Entry::new(value, key.as_str().len(), read, now.tick, expires, stats)
            .aged(life.age(now.wall_ms))
            .published(stamp);
        self.store.load().insert(cache.id, key.as_str(), entry);
        core.loaders.end(row);
        self.bells.ring(row);
        cache.stats.hydrated.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A value with its bytes copied; compressed ones are decoded once, to know that they can be.
fn value(said: &Published<'_>, limit: u64) -> Result<Value, Refusal> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    if said.body.len() > most {
        return Err(Refusal::TooLarge);
    }
    let content_type = Bytes::copy_from_slice(said.content_type.as_bytes());
    let coded = match said.coding {
        None => None,
        Some(coding) => {
            let plain = coding.decode(&said.body, most).map_err(|_| Refusal::TooLarge)?;
            Some(Box::new(Coded::new(coding, &content_type, &said.body, &plain)))
        }
    };
    Ok(Value { body: Bytes::copy_from_slice(&said.body), content_type, absent: false, coded })
}
