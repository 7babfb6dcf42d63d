//! When everything of a feed is void, and when leases are given again.

use std::sync::{Arc, atomic::Ordering};

use freshet_crds::OnChange;

use super::{Engine, refuse, rosters};
use crate::{
    catalog::Cache,
    clock::Tick,
    coherence::Refusal,
    continuity::Break,
    events::Cause,
    feed::Feed,
    planted::{Bug, planted},
    position::RowVersion,
    store::Shelf,
    views::roster::Why,
};

impl<S: Shelf> Engine<S> {
    /// Voids what depends on a feed without a new epoch: nobody would have noticed if something had been lost so far.
    pub fn renew(&self, feed: &Arc<Feed>, now: Tick) {
        let catalog = self.catalog();
        feed.with_commits(|commits| commits.begin(now));
        let mut core = self.core();
        for cache in catalog.iter().flat_map(|catalog| catalog.fed_by(feed)) {
            self.void_cache(&mut core, cache, None, now);
        }
        rosters::lose(catalog.iter().flat_map(|catalog| catalog.fed_by(feed)), Why::Unproven);
        self.tell(&mut core, Cause::Positioned);
    }

    /// Begins a new epoch of a feed: everything that depends on it is void. With `detach` no lease is given
    /// until [`Engine::attach`]: the streams' positions are lost too.
    pub fn break_epoch(&self, feed: &Arc<Feed>, why: Break, detach: bool, now: Tick) -> u64 {
        let catalog = self.catalog();
        let mut core = self.core();
        for cache in catalog.iter().flat_map(|catalog| catalog.fed_by(feed)) {
            if detach {
                cache.attached.store(false, Ordering::Release);
            }
            self.void_cache(&mut core, cache, None, now);
        }
        self.break_rosters(feed, why);
        self.tell(&mut core, Cause::Epoch);
        drop(core);
        let epoch = feed.next_epoch(why);
        feed.with_commits(|commits| commits.begin(now));
        epoch
    }

    /// Forgets what images of these caches are ranked with beside what is known of each row: what is read next says it again,
    /// from a stream's first entry on.
    pub fn unrank<'a>(&self, caches: impl IntoIterator<Item = &'a Arc<Cache>>) {
        let mut core = self.core();
        for cache in caches.into_iter().filter(|cache| cache.spec.on_change == OnChange::Hydrate) {
            core.history.forget_floor(&cache.fence);
        }
    }

    /// Notes that nothing is known of what was written up to a place in the log: no image from there is hydrated.
    pub fn rank<'a>(&self, caches: impl IntoIterator<Item = &'a Arc<Cache>>, version: RowVersion) {
        let mut core = self.core();
        for cache in caches.into_iter().filter(|cache| cache.spec.on_change == OnChange::Hydrate) {
            core.history.raise_floor(&cache.fence, Some(version));
        }
    }

    /// Voids what was hydrated in these caches: defaults may stand where rows have NULL.
    pub fn distrust_images<'a>(&self, caches: impl IntoIterator<Item = &'a Arc<Cache>>, now: Tick) {
        let mut core = self.core();
        for cache in caches.into_iter().filter(|cache| cache.spec.on_change == OnChange::Hydrate) {
            refuse(cache, Refusal::NullsReplaced);
            self.void_cache(&mut core, cache, None, now);
            rosters::lose([cache], Why::NullsReplaced);
        }
        self.tell(&mut core, Cause::Positioned);
    }

    /// Notes that the streams of these caches are positioned: from here on every change of them will be seen, as long as
    /// their definition is in force.
    pub fn attach<'a>(&self, caches: impl IntoIterator<Item = &'a Arc<Cache>>, now: Tick) {
        let mut core = self.core();
        let Some(catalog) = self.catalog() else { return };
        for cache in caches {
            if !cache.attached.load(Ordering::Acquire) && catalog.runs(cache) {
                // The reads that come next may lag behind changes that came before.
                if !planted(Bug::AttachWithoutVoid) {
                    self.void_cache(&mut core, cache, None, now);
                }
                // What others have told of meanwhile, or while the cache was defined otherwise, or wasn't there, was told to
                // other definitions than this one. Of which rows doesn't matter: only images that are late are refused.
                core.history.inherit(&cache.fence, cache.feed.unplaced_ms());
                cache.feed.with_commits(|commits| commits.begin(now));
                cache.attached.store(true, Ordering::Release);
            }
        }
        self.tell(&mut core, Cause::Positioned);
    }
}
