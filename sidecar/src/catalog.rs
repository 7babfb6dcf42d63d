//! The binding as the sidecar runs it: caches by name, feeds, and which caches use which tables.
//!
//! A catalog is immutable; a reload builds the next one from it, and carries over every cache and feed whose
//! definition is the same. A cache whose definition changed is a new cache with a new id, and so starts empty
//! and knows none of the old one's leases.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use freshet_crds::binding::{AuditSpec, Binding, CacheSpec, ColumnSpec, FreshnessSpec, SidecarSpec};

mod shape;

pub use freshet_crds::manifest::Newer;
pub use shape::Shape;

use crate::{
    audit::AuditStats,
    clock::Tick,
    coherence::{Fence, Refusal},
    dependencies::Scope,
    effect::Tables,
    feed::{Feed, Seen},
    key::Form,
    sync::AtomicBool,
    upstream::Upstream,
    views::{
        View,
        rows::{RowView, SharedRoster},
    },
};

/// The binding as the sidecar runs it.
#[derive(Debug)]
pub struct Catalog {
    /// The binding's name.
    pub binding: String,
    /// The text whose change voids everything.
    pub epoch: String,
    /// How stale a value may be.
    pub freshness: FreshnessSpec,
    /// The sidecar's settings.
    pub sidecar: SidecarSpec,
    /// How much of what is served is compared with what it should be.
    pub audit: Option<AuditSpec>,
    /// Bytes of cached data over all caches.
    pub memory: u64,
    /// Those of them that caches without a share have together.
    pub common_memory: u64,
    /// The caches by name.
    pub caches: HashMap<String, Arc<Cache>>,
    /// The caches that read a REST service through, by name; no name is in both.
    pub upstreams: HashMap<String, Arc<Upstream>>,
    /// The views by name, each over one of `upstreams`.
    pub views: HashMap<String, Arc<View>>,
    /// The views over rows by name, each over one of `caches`; no name is in both.
    pub row_views: HashMap<String, Arc<RowView>>,
    /// The caches whose rows a view ranks.
    pub ranked: Vec<Arc<Cache>>,
    /// Names of views that are off, because this version doesn't know all of their definition or their cache's.
    pub views_off: BTreeSet<String>,
    /// Names of caches that are off, because this version doesn't know all of their definition.
    pub off: BTreeSet<String>,
    /// The sources, each with the tables that caches use.
    pub feeds: Vec<(Arc<Feed>, Arc<Tables>)>,
    /// Fields of the manifest that this version doesn't know.
    pub newer_fields: Vec<String>,
}

/// One cache.
#[derive(Debug)]
pub struct Cache {
    /// Told apart from every other definition in this process.
    pub id: u32,
    /// Its definition.
    pub spec: CacheSpec,
    /// Where its changes come from.
    pub feed: Arc<Feed>,
    /// Its last invalidation as a whole.
    pub fence: Fence,
    /// Whether the streams it depends on are positioned: no lease is given before.
    pub attached: AtomicBool,
    /// What it counts.
    pub stats: Arc<CacheStats>,
    /// Whether it holds no values of its own: it stands for the rows of a table that other values depend on.
    pub is_scope: bool,
    /// All rows of its table, where a view ranks them.
    pub roster: ArcSwapOption<SharedRoster>,
    /// Other columns by which its rows are found.
    pub lookups: Box<[Lookup]>,
    /// What is declared of columns of its table, where it has no key of its own.
    columns: BTreeMap<String, Form>,
    shape: ArcSwap<Shape>,
    seen: Vec<Seen>,
}

/// A column by which rows of a cache are found that isn't its key.
#[derive(Debug)]
pub struct Lookup {
    /// The column's name.
    pub column: String,
    shape: ArcSwap<Shape>,
}

/// What a cache counts, from the start of its definition.
#[derive(Debug, Default)]
pub struct CacheStats {
    /// Reads answered with a value or a known absence.
    pub hits: AtomicU64,
    /// Reads answered with a miss because nothing was there.
    pub misses: AtomicU64,
    /// Reads answered with a miss because nothing could be vouched for.
    pub stale: AtomicU64,
    /// Reads answered with a value marked as stale.
    pub stale_hits: AtomicU64,
    /// Fills that were stored for as long as they may live.
    pub stored: AtomicU64,
    /// Fills that were stored until a hold-off's end.
    pub held_off: AtomicU64,
    /// Fills of values whose life was over: nothing was stored.
    pub expired: AtomicU64,
    /// Fills that couldn't be taken: without a lease for the key, too large, of a wrong type.
    pub fills_refused: AtomicU64,
    /// Fills that were refused because of a change after their lease.
    pub fenced: AtomicU64,
    /// Values that came from a change's image.
    pub hydrated: AtomicU64,
    /// Images that didn't become values, by [`Refusal`].
    pub refused: [AtomicU64; Refusal::ALL.len()],
    /// What the audit has found.
    pub audit: AuditStats,
    /// Values held. Counted by the values themselves.
    pub entries: AtomicU64,
    /// Bytes of the values held, keys and overhead included.
    pub bytes: AtomicU64,
}

/// A table that caches use.
#[derive(Debug)]
pub struct Table {
    /// Caches that hold its rows.
    pub rows: Vec<Arc<Cache>>,
    /// Caches whose values depend on all of it.
    pub dependents: Vec<Arc<Cache>>,
    /// What single values depend on.
    pub scope: Arc<Scope>,
    /// Whether an event of it was ever seen.
    pub seen: Seen,
}

// === impl CacheStats ===

impl CacheStats {
    /// Counts a fill that was taken, by what is left of its life and whether a hold-off ends it.
    pub(crate) fn note_taken(&self, remaining: Duration, hold_off: Option<Tick>) {
        let counter = match hold_off {
            _ if remaining.is_zero() => &self.expired,
            Some(_) => &self.held_off,
            None => &self.stored,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Catalog ===

impl Catalog {
    /// Builds the catalog of a binding, carrying over from `old` what is the same.
    #[must_use]
    pub fn build(binding: Binding, newer: Newer, old: Option<&Self>) -> Self {
        let common_memory = binding.common_memory();
        let feeds: Vec<Arc<Feed>> = binding
            .sources
            .into_iter()
            .map(|spec| {
                let same = old.and_then(|old| old.feeds.iter().find(|(feed, _)| feed.spec == spec));
                same.map_or_else(|| Arc::new(Feed::new(spec)), |(feed, _)| Arc::clone(feed))
            })
            .collect();
        let columns = declared(&binding.caches);
        let old_caches = old.filter(|old| old.epoch == binding.epoch).map(|old| &old.caches);
        let mut caches = HashMap::new();
        for spec in binding.caches {
            let feed = &feeds[spec.source];
            let same = old_caches.and_then(|old| old.get(&spec.name)).filter(|old| {
                // Sources may have been reordered: what counts is that it is the same feed.
                let unnumbered = CacheSpec { source: spec.source, ..old.spec.clone() };
                unnumbered == spec && Arc::ptr_eq(&old.feed, feed)
            });
            let cache = same
                .cloned()
                .unwrap_or_else(|| Arc::new(Cache::new(next_id(), spec.clone(), Arc::clone(feed))));
            caches.insert(spec.name, cache);
        }
        let old_upstreams = old.filter(|old| old.epoch == binding.epoch).map(|old| &old.upstreams);
        let upstreams = binding.upstreams.into_iter().map(|spec| {
            let same = old_upstreams.and_then(|old| old.get(&spec.name)).filter(|old| old.spec == spec);
            let upstream = same.cloned().unwrap_or_else(|| Arc::new(Upstream::new(next_id(), spec.clone())));
            (spec.name, upstream)
        });
        let upstreams: HashMap<_, _> = upstreams.collect();
        let row_views = binding.views.iter().filter_map(|spec| {
            let cache = caches.get(&spec.cache)?;
            let same = old.and_then(|old| old.row_views.get(&spec.name));
            let same = same.filter(|old| old.spec == *spec && Arc::ptr_eq(&old.cache, cache));
            let view =
                same.cloned().unwrap_or_else(|| Arc::new(RowView::new(spec.clone(), Arc::clone(cache))));
            Some((spec.name.clone(), view))
        });
        let row_views: HashMap<_, _> = row_views.collect();
        let ranked: BTreeMap<_, _> =
            row_views.values().map(|view: &Arc<RowView>| (&view.cache.spec.name, &view.cache)).collect();
        let ranked = ranked.into_values().cloned().collect();
        let views = binding.views.into_iter().filter_map(|spec| {
            let upstream = upstreams.get(&spec.cache)?;
            let same = old.and_then(|old| old.views.get(&spec.name));
            let same = same.filter(|old| old.spec == spec && Arc::ptr_eq(&old.upstream, upstream));
            let view =
                same.cloned().unwrap_or_else(|| Arc::new(View::new(spec.clone(), Arc::clone(upstream))));
            Some((spec.name, view))
        });
        let views = views.collect();
        let tables = feeds.iter().enumerate().map(|(source, feed)| {
            let of_table =
                |table: &str| columns.get(&(source, table.to_owned())).cloned().unwrap_or_default();
            let scope = |table: &str| {
                let rows = CacheSpec::rows_of(table, source, &feed.spec.name);
                Self::scope(old, feed, rows, of_table(table))
            };
            Arc::new(tables(feed, caches.values(), scope))
        });
        let tables: Vec<_> = tables.collect();
        Self {
            binding: binding.name,
            epoch: binding.epoch,
            freshness: binding.freshness,
            sidecar: binding.sidecar,
            audit: binding.audit,
            memory: binding.memory,
            common_memory,
            upstreams,
            views,
            ranked,
            row_views,
            caches,
            views_off: newer.views,
            off: newer.caches,
            feeds: feeds.into_iter().zip(tables).collect(),
            newer_fields: newer.fields,
        }
    }

    /// Bytes that a cache may hold: its share, or what all caches without one have together.
    #[must_use]
    pub fn limit(&self, cache: &Cache) -> u64 {
        cache.spec.own_memory(self.memory).unwrap_or(self.common_memory)
    }

    /// The same of an upstream cache.
    #[must_use]
    pub fn limit_of_answers(&self, upstream: &Upstream) -> u64 {
        upstream.spec.own_memory(self.memory).unwrap_or(self.common_memory)
    }

    /// Whether this very definition of a cache is in force.
    #[must_use]
    pub fn runs(&self, cache: &Arc<Cache>) -> bool {
        let running = if cache.is_scope {
            self.scopes().find(|scope| scope.rows.id == cache.id).map(|scope| &scope.rows)
        } else {
            self.caches.get(&cache.spec.name)
        };
        running.is_some_and(|running| Arc::ptr_eq(running, cache))
    }

    /// The tables that values can depend on, of all sources.
    pub fn scopes(&self) -> impl Iterator<Item = &Arc<Scope>> {
        self.feeds.iter().flat_map(|(_, tables)| tables.values()).map(|table| &table.scope)
    }

    /// Everything that changes of a feed void: its caches, and the rows of its tables.
    pub fn fed_by<'a>(&'a self, feed: &'a Feed) -> impl Iterator<Item = &'a Arc<Cache>> {
        let rows = self.scopes().map(|scope| &scope.rows);
        self.caches.values().chain(rows).filter(move |cache| std::ptr::eq(&raw const *cache.feed, feed))
    }

    /// The tables of a cache's source that its values can depend on.
    #[must_use]
    pub fn tables_of(&self, cache: &Cache) -> Option<&Tables> {
        let of = self.feeds.iter().find(|(feed, _)| Arc::ptr_eq(feed, &cache.feed));
        of.map(|(_, tables)| &**tables)
    }

    fn scope(
        old: Option<&Self>,
        feed: &Arc<Feed>,
        rows: CacheSpec,
        columns: BTreeMap<String, Form>,
    ) -> Arc<Scope> {
        // The values that depend on it hold it: as long as its definition is the same it has to be the same one.
        let same = old.into_iter().flat_map(Self::scopes).find(|scope| {
            let cache = &scope.rows;
            let unnumbered = CacheSpec { source: rows.source, ..cache.spec.clone() };
            Arc::ptr_eq(&cache.feed, feed) && unnumbered == rows && cache.columns == columns
        });
        same.cloned().unwrap_or_else(|| {
            let rows = Cache { is_scope: true, columns, ..Cache::new(next_id(), rows, Arc::clone(feed)) };
            Arc::new(Scope::new(Arc::new(rows)))
        })
    }
}

fn next_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What caches declare of the columns of their tables, by source and table. Of two that differ the first counts.
fn declared(caches: &[CacheSpec]) -> HashMap<(usize, String), BTreeMap<String, Form>> {
    let mut all: HashMap<_, BTreeMap<_, _>> = HashMap::new();
    for cache in caches {
        for (table, column) in
            cache.table.iter().flat_map(|t| cache.key.iter().flatten().map(move |c| (t, c)))
        {
            let columns = all.entry((cache.source, table.clone())).or_default();
            columns.entry(column.column.clone()).or_insert_with(|| Form::declared(column));
        }
    }
    all
}

fn tables<'a>(
    feed: &Arc<Feed>,
    caches: impl Iterator<Item = &'a Arc<Cache>>,
    scope: impl Fn(&str) -> Arc<Scope>,
) -> Tables {
    let mut tables: HashMap<String, Table> = HashMap::new();
    for cache in caches.filter(|cache| Arc::ptr_eq(&cache.feed, feed)) {
        for name in cache.spec.tables() {
            tables.entry(name.to_owned()).or_insert_with(|| Table::new(feed.seen(name), scope(name)));
        }
        if let Some(table) = cache.spec.table.as_ref().and_then(|name| tables.get_mut(name)) {
            table.rows.push(Arc::clone(cache));
        }
        for name in &cache.spec.depends_on {
            if let Some(table) = tables.get_mut(name) {
                table.dependents.push(Arc::clone(cache));
            }
        }
    }
    tables.into_iter().map(|(name, table)| (name, Arc::new(table))).collect()
}

// === impl Table ===

impl Table {
    fn new(seen: Seen, scope: Arc<Scope>) -> Self {
        Self { rows: Vec::new(), dependents: Vec::new(), scope, seen }
    }

    /// Notes that an event of it was seen.
    pub fn be_seen(&self) {
        self.seen.store(true, Ordering::Relaxed);
    }
}

// === impl Cache ===

impl Cache {
    fn new(id: u32, spec: CacheSpec, feed: Arc<Feed>) -> Self {
        let declared: Option<Box<[Form]>> =
            spec.key.as_ref().map(|key| key.iter().map(Form::declared).collect());
        let seen = spec.tables().map(|table| feed.seen(table)).collect();
        let lookups = spec.lookups.iter().map(Lookup::new).collect();
        let shape = Shape { forms: declared.clone(), shown: declared.clone(), by_log: false, declared };
        Self {
            id,
            spec,
            feed,
            fence: Fence::default(),
            attached: AtomicBool::new(false),
            stats: Arc::default(),
            is_scope: false,
            roster: ArcSwapOption::empty(),
            lookups,
            columns: BTreeMap::new(),
            shape: ArcSwap::from_pointee(shape),
            seen,
        }
    }

    /// What is known of its keys once an event has named these columns: where it has no key of its own, what other caches
    /// declare of the columns counts.
    #[must_use]
    pub fn shape_of<'a>(&self, mut columns: impl Iterator<Item = &'a str>) -> Arc<Shape> {
        let shape = self.shape();
        if shape.declared.is_some() || self.columns.is_empty() {
            return shape;
        }
        let form = |column| self.columns.get(column).copied().unwrap_or(Form::AUTO);
        Arc::new(Shape { declared: Some(columns.by_ref().map(form).collect()), ..Shape::clone(&shape) })
    }

    /// What is known of its keys.
    #[must_use]
    pub fn shape(&self) -> Arc<Shape> {
        self.shape.load_full()
    }

    /// Runs `f` on what is known of its keys, without counting a reference.
    pub fn with_shape<T>(&self, f: impl FnOnce(&Shape) -> T) -> T {
        f(&self.shape.load())
    }

    /// Replaces what is known of its keys.
    pub fn set_shape(&self, shape: Shape) {
        self.shape.store(Arc::new(shape));
    }

    /// Whether a view ranks its rows.
    #[must_use]
    pub fn is_ranked(&self) -> bool {
        self.roster.load().is_some()
    }

    /// Whether some table it uses was never seen in an event.
    #[must_use]
    pub fn has_unseen_table(&self) -> bool {
        self.seen.iter().any(|seen| !seen.load(Ordering::Relaxed))
    }

    /// The tables it uses that were never seen in an event.
    #[must_use]
    pub fn unseen_tables(&self) -> BTreeSet<&str> {
        let unseen = self.spec.tables().zip(&self.seen).filter(|(_, seen)| !seen.load(Ordering::Relaxed));
        unseen.map(|(table, _)| table).collect()
    }
}

// === impl Lookup ===

impl Lookup {
    fn new(spec: &ColumnSpec) -> Self {
        let form: Box<[Form]> = Box::new([Form::declared(spec)]);
        let shape = Shape {
            forms: Some(form.clone()),
            shown: Some(form.clone()),
            by_log: true,
            declared: Some(form),
        };
        Self { column: spec.column.clone(), shape: ArcSwap::from_pointee(shape) }
    }

    /// What is known of the column's texts.
    #[must_use]
    pub fn shape(&self) -> Arc<Shape> {
        self.shape.load_full()
    }

    /// Replaces what is known of the column's texts.
    pub fn set_shape(&self, shape: Shape) {
        self.shape.store(Arc::new(shape));
    }
}
