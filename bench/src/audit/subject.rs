//! An engine under one audit, with its clock in the benchmark's hand.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use freshet_crds::manifest;
use freshet_sidecar::audit::judge::{Sighting, Step};
use freshet_sidecar::catalog::{Cache, Catalog};
use freshet_sidecar::clock::{Now, Tick};
use freshet_sidecar::engine::{Answer, Engine, Fill, Terms, Wanted};
use freshet_sidecar::envelope::{StreamRole, read};
use freshet_sidecar::key::Key;
use freshet_sidecar::{entry::Value, store::count};

use super::recorded::Recorded;
use crate::processor::processor;

/// Rows that change and are filled in turn: about as many as an audit watches.
const ROWS: u64 = 1000;

/// How long changes take and then fills, in milliseconds of the clock that the engine is given: a little more than
/// `readLag`, so that no fill is held off.
const PHASE: u64 = 1100;

/// What the application fills, in bytes.
const FILLED: usize = 200;

/// How much of a processor the parts of a round took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// All changes: read from their entries and applied.
    pub(super) changes: Duration,
    /// All fills: their leases read and their values stored.
    pub(super) fills: Duration,
    /// All looks that were due, without the application's part.
    pub(super) looks: Duration,
    /// How many looks those were.
    pub(super) looked: u32,
}

pub(super) struct Subject {
    engine: Engine,
    catalog: Arc<Catalog>,
    filled: Arc<Cache>,
    now: Now,
    lsn: u64,
    changes: u64,
    fills: u64,
}

impl Subject {
    /// An engine with a cache that changes fill and one that an application fills, of the same table. `audit` is more
    /// YAML of the spec.
    pub(super) fn new(audit: &str, recorded: &Recorded) -> Result<Self> {
        let text = format!(
            "{{apiVersion: freshet.dev/v1alpha1, kind: CacheBinding, metadata: {{name: bench}}, spec: {{
               sources: [{{name: cdc, redisStream: {{url: 'redis://localhost', stream: shop.cdc}}}}],
               caches: [{{name: rows, table: inventory.product, onChange: Hydrate}},
                        {{name: filled, table: inventory.product}}] {audit}}}}}"
        );
        let manifest = manifest::read(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
        let binding = manifest.binding().map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let engine = Engine::new();
        engine.install(Catalog::build(binding, manifest.newer, None));
        let catalog = engine.catalog().context("a catalog was installed")?;
        // Long ago, so that no fill is held off.
        engine.attach(catalog.caches.values(), Tick(1));
        catalog.feeds[0].0.set_connected(true);
        let now = Now { tick: Tick(100_000), wall_ms: recorded.commit_ms };
        let filled = Arc::clone(&catalog.caches["filled"]);
        Ok(Self { engine, catalog, filled, now, lsn: recorded.lsn, changes: 0, fills: 0 })
    }

    /// So many changes, as many fills, and the looks that are due then.
    pub(super) fn round(&mut self, recorded: &Recorded, events: u64) -> Result<Round> {
        let role = StreamRole::Routed;
        let entries: Vec<_> =
            (1..=events).map(|n| recorded.entry((self.changes + n) % ROWS, self.lsn + 8 * n)).collect();
        self.lsn += 8 * events;
        self.changes += events;
        let (feed, tables) = &self.catalog.feeds[0];
        let begun = processor();
        for entry in &entries {
            let broken = self.engine.apply(&self.catalog, feed, tables, &read(&role, entry), self.now);
            black_box(broken);
        }
        let changes = processor().saturating_sub(begun);

        self.pass(PHASE);
        let wanted = Wanted { reload: true, lease: true, ..Wanted::default() };
        let mut reads = Vec::new();
        for n in 1..=events {
            let key = Key::from_path(&((self.fills + n) % ROWS).to_string(), None)?;
            let Answer::Miss(miss) =
                self.engine.get(&self.catalog, &self.filled, &key, wanted, self.now.tick)
            else {
                anyhow::bail!("a read that takes no cached value was answered with one")
            };
            let body = Bytes::from(vec![b'x'; FILLED]);
            let value = Value::new(body, Bytes::from_static(b"text/plain"));
            reads.push((key, miss.lease.context("no lease")?.token, value));
        }
        self.fills += events;
        let begun = processor();
        for (key, token, value) in reads {
            let lease = self.engine.lease(&self.filled, &key, &token).ok().context("a foreign lease")?;
            let fill = Fill { lease, value, terms: Terms::default() };
            // Of several fills of a row the first wins: a refusal is what it is in operation.
            black_box(self.engine.fill(&self.catalog, &self.filled, &key, fill, self.now).is_ok());
        }
        let fills = processor().saturating_sub(begun);

        self.pass(PHASE);
        let (begun, mut looked) = (processor(), 0);
        while let Some((cache, look)) = self.engine.due_look(&self.catalog, self.now.tick) {
            looked += 1;
            if let Step::Ask(about) = self.engine.look(&self.catalog, &cache, &look, self.now.tick) {
                let Sighting { content, .. } = about;
                self.engine.answer_look(&cache, &look, about, Some(content), self.now.tick);
            }
        }
        Ok(Round { changes, fills, looks: processor().saturating_sub(begun), looked })
    }

    /// Fails unless nearly everything was taken that was measured, and says how the audit's looks ended.
    pub(super) fn outcomes(&self) -> Result<Vec<(&'static str, u64)>> {
        let of = |name: &str| &self.catalog.caches[name].stats;
        // The first change teaches how keys look, and a row may share its slot of the history with another.
        let (images, stored) = (count(&of("rows").hydrated), count(&of("filled").stored));
        ensure!(images * 10 > self.changes * 9, "only {images} of {} images were taken", self.changes);
        ensure!(stored * 10 > self.fills * 9, "only {stored} of {} fills were stored", self.fills);
        let mut sums: Vec<(&'static str, u64)> = of("rows").audit.outcomes().collect();
        for (sum, (_, n)) in sums.iter_mut().zip(of("filled").audit.outcomes()) {
            sum.1 += n;
        }
        Ok(sums)
    }

    fn pass(&mut self, ms: u64) {
        self.now = Now { tick: Tick(self.now.tick.0 + ms), wall_ms: self.now.wall_ms + ms };
        self.catalog.feeds[0].0.set_proven(self.now.tick);
    }
}
