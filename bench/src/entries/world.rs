//! An engine full of values that depend on tables.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use freshet_crds::manifest;
use freshet_sidecar::catalog::{Cache, Catalog};
use freshet_sidecar::clock::{Now, Tick};
use freshet_sidecar::dependencies::On;
use freshet_sidecar::engine::{Answer, Engine, Fill, Terms, Wanted};
use freshet_sidecar::entry::Value;
use freshet_sidecar::envelope::{StreamRole, read};
use freshet_sidecar::key::Key;
use freshet_sidecar::store::count;

use super::{CACHES, TABLES};

/// Bytes of a value.
pub(super) const VALUE: usize = 200;

/// The engine, with its clock in the benchmark's hand.
pub(super) struct World {
    pub(super) engine: Arc<Engine>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) now: Now,
    pub(super) entries: usize,
}

/// The key of an entry: as many bytes for each.
pub(super) fn key(entry: usize) -> String {
    format!("page-{entry:011}")
}

impl World {
    /// An engine with so many entries, and as much memory as they need.
    pub(super) fn new(entries: usize) -> Result<Self> {
        let named: Vec<_> = (CACHES..TABLES).map(|table| format!("s.t{table}")).collect();
        let named = named.join(", ");
        let cache = |n| format!("{{name: pages-{n}, dependsOn: [s.t{n}], mayDependOn: [{named}]}}");
        let caches: Vec<_> = (0..CACHES).map(cache).collect();
        let text = format!(
            "{{apiVersion: freshet.dev/v1alpha1, kind: CacheBinding, metadata: {{name: bench}}, spec: {{
               sources: [{{name: cdc, redisStream: {{url: 'redis://localhost', stream: shop.cdc}}}}],
               caches: [{}], memory: 8Gi}}}}",
            caches.join(", ")
        );
        let manifest = manifest::read(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
        let binding = manifest.binding().map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let engine = Arc::new(Engine::new());
        engine.install(Catalog::build(binding, manifest.newer, None));
        let catalog = engine.catalog().context("a catalog was installed")?;
        // Long ago, so that no fill is held off.
        engine.attach(catalog.caches.values().chain(catalog.scopes().map(|scope| &scope.rows)), Tick(1));
        let now = Now::read();
        catalog.feeds[0].0.set_connected(true);
        catalog.feeds[0].0.set_proven(now.tick);
        let world = Self { engine, catalog, now, entries };
        for entry in 0..entries {
            world.fill(entry)?;
        }
        let held: u64 = world.catalog.caches.values().map(|cache| count(&cache.stats.entries)).sum();
        ensure!(held == entries as u64, "of {entries} entries {held} are held");
        Ok(world)
    }

    /// The cache of an entry.
    fn cache(&self, entry: usize) -> &Arc<Cache> {
        &self.catalog.caches[&format!("pages-{}", entry % CACHES)]
    }

    /// Reads an entry; the lease where there is nothing.
    pub(super) fn get(&self, entry: usize) -> Result<Option<String>> {
        let key = Key::from_path(&key(entry), None)?;
        let wanted = Wanted { lease: true, ..Wanted::default() };
        Ok(match self.engine.get(&self.catalog, self.cache(entry), &key, wanted, self.now.tick) {
            Answer::Hit(_) => None,
            Answer::Miss(miss) => Some(miss.lease.context("a miss without a lease")?.token),
        })
    }

    /// Fills an entry under a lease.
    pub(super) fn put(&self, entry: usize, token: &str) -> Result<()> {
        let cache = self.cache(entry);
        let key = Key::from_path(&key(entry), None)?;
        let lease = self.engine.lease(cache, &key, token).ok().context("a foreign lease")?;
        // As a body is received: an allocation of its length, which somebody else has had a hand on.
        let body = Bytes::from(vec![b'x'; VALUE].into_boxed_slice());
        let value = Value::new(body.clone(), Bytes::copy_from_slice(b"text/html; charset=utf-8"));
        let terms = Terms { on: self.named(entry)?, ..Terms::default() };
        let fill = Fill { lease, value, terms };
        self.engine.fill(&self.catalog, cache, &key, fill, self.now).ok().context("a fill was refused")?;
        drop(body);
        Ok(())
    }

    /// So much time passes that no fill is held off for what has changed so far.
    pub(super) fn pass(&mut self) {
        self.now = Now { tick: Tick(self.now.tick.0 + 2000), wall_ms: self.now.wall_ms + 2000 };
        self.catalog.feeds[0].0.set_proven(self.now.tick);
    }

    fn fill(&self, entry: usize) -> Result<()> {
        let token = self.get(entry)?.context("it isn't filled yet")?;
        self.put(entry, &token)
    }

    /// The tables that an entry's fill names.
    fn named(&self, entry: usize) -> Result<Vec<On>> {
        let first = entry % (TABLES - CACHES);
        let tables = [first, (first + 1) % (TABLES - CACHES)].map(|table| format!("s.t{}", CACHES + table));
        let known = self.catalog.tables_of(self.cache(entry)).context("the cache has a source")?;
        let scope = |name: &String| Some(On::Table(Arc::clone(&known.get(name)?.scope)));
        tables.iter().map(|name| scope(name).with_context(|| format!("{name} isn't followed"))).collect()
    }

    /// Applies a change of the table of this number.
    pub(super) fn change(&self, table: usize, lsn: u64) -> Result<()> {
        let value = format!(
            "{{\"before\":null,\"after\":{{\"id\":7,\"name\":\"x\"}},\"source\":{{\"connector\":\"postgresql\",\"schema\":\"s\",\
             \"table\":\"t{table}\",\"lsn\":{lsn},\"ts_ms\":1}},\"op\":\"u\",\"ts_ms\":1}}"
        );
        let fields = [(b"{\"id\":7}".to_vec(), value.into_bytes())];
        let (feed, tables) = &self.catalog.feeds[0];
        let change = read(&StreamRole::Routed, &fields);
        let broken = self.engine.apply(&self.catalog, feed, tables, &change, self.now);
        ensure!(broken.is_none(), "a change began a new epoch");
        Ok(())
    }
}
