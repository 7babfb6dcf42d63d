//! What the audit sees of the engine, and does to it.

use std::sync::Arc;

use freshet_crds::Heartbeat;
use tracing::{debug, warn};

use super::{Core, Engine, reading::evidence};
use crate::{
    audit::{
        Audit, Content, Look, Outcome, Row,
        judge::{self, Delivery, Seen, Sighting, Step},
    },
    catalog::{Cache, Catalog},
    clock::Tick,
    coherence::RowHash,
    events::Cause,
    freshness::Vouch,
    key::Key,
    store::Shelf,
};

impl Core {
    /// The audit, if there is one and it has something to compare this cache's values with.
    pub(super) fn audit_of(&mut self, cache: &Cache) -> Option<&mut Audit> {
        self.audit.as_mut().filter(|audit| audit.measure(cache).is_some())
    }

    /// Tells the audit of a void row.
    pub(super) fn audit_change(&mut self, cache: &Cache, hash: RowHash, key: &Key, now: Tick) {
        if self.audit_of(cache).is_some_and(|audit| !audit.changed(Row { cache: cache.id, hash, key }, now)) {
            cache.stats.audit.count(Outcome::Skipped, now);
        }
    }

    /// Tells the audit of a fill.
    pub(super) fn audit_fill(&mut self, cache: &Cache, hash: RowHash, key: &Key, now: Tick) {
        let audit = self.audit.as_mut().filter(|audit| audit.measure(cache).is_some_and(|by| by.check));
        if audit.is_some_and(|audit| !audit.filled(Row { cache: cache.id, hash, key }, now)) {
            cache.stats.audit.count(Outcome::Skipped, now);
        }
    }
}

impl<S: Shelf> Engine<S> {
    /// Goes on with the audit that the catalog asks for: the same one, if its rules are the same.
    pub(super) fn install_audit(&self, core: &mut Core, catalog: &Catalog) {
        let old = core.audit.take();
        core.audit = catalog.audit.as_ref().map(|spec| {
            let lag = catalog.freshness.read_lag;
            let mut audit = old
                .filter(|audit| audit.is_of(spec, lag))
                .unwrap_or_else(|| Audit::new(spec.clone(), lag, self.hasher.hash_one("audit")));
            audit.keep(&catalog.caches.values().map(|cache| cache.id).collect());
            audit
        });
    }

    /// The next key to look at, with its cache.
    #[must_use]
    pub fn due_look(&self, catalog: &Catalog, now: Tick) -> Option<(Arc<Cache>, Look)> {
        let mut core = self.core();
        let audit = core.audit.as_mut()?;
        loop {
            let look = audit.due(now)?;
            if let Some(cache) = catalog.caches.values().find(|cache| cache.id == look.cache) {
                return Some((Arc::clone(cache), look));
            }
            audit.conclude(&look);
        }
    }

    /// Looks at what would be served for a key, and does what follows from it unless the application has to be asked.
    /// Nobody's read is counted, and no lease is given.
    pub fn look(&self, catalog: &Catalog, cache: &Arc<Cache>, look: &Look, now: Tick) -> Step {
        let bound = catalog.freshness.bound.as_ref();
        let mut core = self.core();
        let evidence = evidence(catalog, cache);
        let entry = self.current(cache, &look.key, now);
        let Some(audit) = core.audit_of(cache) else { return Step::Done(Outcome::Unknown) };
        let expected = audit.expected(look);
        let asks = audit.measure(cache).is_some_and(|by| by.check);
        drop(core);
        let seen = match (evidence.vouch(bound, now), entry) {
            (Vouch::Stale { .. }, _) => Seen::Unvouched,
            (Vouch::Fresh, None) => Seen::Nothing,
            (Vouch::Fresh, Some(entry)) => Seen::Value(Sighting::of(&entry)),
        };
        let delivery = Delivery {
            applied_through: evidence.heartbeat,
            proven: bound.is_some_and(|bound| bound.heartbeat == Heartbeat::Database),
            clock_skew: catalog.freshness.clock_skew,
        };
        let step = judge::seen(seen, expected, look.suspicion, asks, &delivery, now);
        self.go_on(cache, look, step, now);
        step
    }

    /// Does what follows from the application's answer about what was seen; `None`: it didn't give any.
    pub fn answer_look(
        &self,
        cache: &Cache,
        look: &Look,
        about: Sighting,
        answer: Option<Content>,
        now: Tick,
    ) {
        let step = judge::answered(about, answer, look.suspicion, now);
        self.go_on(cache, look, step, now);
    }

    fn go_on(&self, cache: &Cache, look: &Look, step: Step, now: Tick) {
        let mut core = self.core();
        let Some(audit) = core.audit.as_mut() else { return };
        match step {
            Step::Ask(_) => {}
            Step::PutOff(suspicion) => audit.put_off(look, suspicion, now),
            Step::Done(outcome) => {
                audit.conclude(look);
                cache.stats.audit.count(outcome, now);
            }
            Step::Drop(wrong) => {
                audit.conclude(look);
                // What has come since isn't what was found to be wrong.
                if self
                    .store
                    .load()
                    .get(cache.id, look.key.as_str())
                    .is_some_and(|e| Sighting::of(&e) == wrong)
                {
                    self.void_row(&mut core, cache, &look.key, now);
                    self.tell(&mut core, Cause::Dropped);
                }
                drop(core);
                cache.stats.audit.count(Outcome::Inconsistent, now);
                tell(cache, &look.key, wrong);
            }
        }
    }
}

/// Keys may be people's names: the log has their hash, and itself only where each decision is asked for.
fn tell(cache: &Cache, key: &Key, wrong: Sighting) {
    let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(key.as_str().as_bytes()));
    let advice = if wrong.hydrated {
        "it isn't the row's last image: please report this"
    } else {
        "either a change of it was never delivered (`freshet-operator check` compares binding and Debezium's settings; \
         what of the value's tables isn't in the cache's table and dependsOn?), or the application's check endpoint \
         answers other bytes than the application fills"
    };
    let cache = cache.spec.name.as_str();
    warn!(cache, key_hash = hash, advice, "a wrong value was served, and is dropped");
    debug!(cache, key = key.as_str(), key_hash = hash, "a wrong value's key");
}
