//! The binding as the sidecar runs it: caches by name, feeds, and which caches use which tables.
//!
//! A catalog is immutable; a reload builds the next one from it, and carries over every cache and feed whose
//! definition is the same. A cache whose definition changed is a new cache with a new id, and so starts empty
//! and knows none of the old one's leases.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use freshet_crds::{
    KeyType,
    binding::{AuditSpec, Binding, CacheSpec, FreshnessSpec, SidecarSpec},
};

pub use freshet_crds::manifest::Newer;

use crate::{
    audit::AuditStats,
    coherence::{Fence, Refusal},
    effect::Tables,
    feed::{Feed, Seen},
    key::{Form, Scalar},
    sync::AtomicBool,
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
    /// The caches by name.
    pub caches: HashMap<String, Arc<Cache>>,
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
    shape: ArcSwap<Shape>,
    seen: Vec<Seen>,
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

/// What is known of a cache's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The forms of its columns; `None` while their number is unknown.
    pub forms: Option<Box<[Form]>>,
    /// What was declared of each column and events have shown; `None` before the first event where nothing was.
    shown: Option<Box<[Form]>>,
    /// The forms that the binding declares, which learning narrows but never widens.
    declared: Option<Box<[Form]>>,
}

/// A table that caches use.
#[derive(Debug)]
pub struct Table {
    /// Caches that hold its rows.
    pub rows: Vec<Arc<Cache>>,
    /// Caches whose values depend on all of it.
    pub dependents: Vec<Arc<Cache>>,
    /// Whether an event of it was ever seen.
    pub seen: Seen,
}

// === impl CacheStats ===

impl CacheStats {
    /// Counts a fill that was stored, by whether that is until a hold-off's end.
    pub(crate) fn note_stored(&self, held_off: bool) {
        let counter = if held_off { &self.held_off } else { &self.stored };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Catalog ===

impl Catalog {
    /// Builds the catalog of a binding, carrying over from `old` what is the same.
    #[must_use]
    pub fn build(binding: Binding, newer: Newer, old: Option<&Self>) -> Self {
        static NEXT_ID: AtomicU32 = AtomicU32::new(1);
        let feeds: Vec<Arc<Feed>> = binding
            .sources
            .into_iter()
            .map(|spec| {
                let same = old.and_then(|old| old.feeds.iter().find(|(feed, _)| feed.spec == spec));
                same.map_or_else(|| Arc::new(Feed::new(spec)), |(feed, _)| Arc::clone(feed))
            })
            .collect();
        let old_caches = old.filter(|old| old.epoch == binding.epoch).map(|old| &old.caches);
        let mut caches = HashMap::new();
        for spec in binding.caches {
            let feed = &feeds[spec.source];
            let same = old_caches.and_then(|old| old.get(&spec.name)).filter(|old| {
                // Sources may have been reordered: what counts is that it is the same feed.
                let unnumbered = CacheSpec { source: spec.source, ..old.spec.clone() };
                unnumbered == spec && Arc::ptr_eq(&old.feed, feed)
            });
            let cache = same.cloned().unwrap_or_else(|| {
                let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
                Arc::new(Cache::new(id, spec.clone(), Arc::clone(feed)))
            });
            caches.insert(spec.name, cache);
        }
        let tables = feeds.iter().map(|feed| Arc::new(tables(feed, caches.values()))).collect::<Vec<_>>();
        Self {
            binding: binding.name,
            epoch: binding.epoch,
            freshness: binding.freshness,
            sidecar: binding.sidecar,
            audit: binding.audit,
            memory: binding.memory,
            caches,
            off: newer.caches,
            feeds: feeds.into_iter().zip(tables).collect(),
            newer_fields: newer.fields,
        }
    }

    /// Whether this very definition of a cache is in force.
    #[must_use]
    pub fn runs(&self, cache: &Arc<Cache>) -> bool {
        self.caches.get(&cache.spec.name).is_some_and(|running| Arc::ptr_eq(running, cache))
    }
}

fn tables<'a>(feed: &Arc<Feed>, caches: impl Iterator<Item = &'a Arc<Cache>>) -> Tables {
    let mut tables: HashMap<String, Table> = HashMap::new();
    for cache in caches.filter(|cache| Arc::ptr_eq(&cache.feed, feed)) {
        if let Some(name) = &cache.spec.table {
            let new = || Table::new(feed.seen(name));
            tables.entry(name.clone()).or_insert_with(new).rows.push(Arc::clone(cache));
        }
        for name in &cache.spec.depends_on {
            let new = || Table::new(feed.seen(name));
            tables.entry(name.clone()).or_insert_with(new).dependents.push(Arc::clone(cache));
        }
    }
    tables.into_iter().map(|(name, table)| (name, Arc::new(table))).collect()
}

// === impl Table ===

impl Table {
    fn new(seen: Seen) -> Self {
        Self { rows: Vec::new(), dependents: Vec::new(), seen }
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
        let shape = Shape { forms: declared.clone(), shown: declared.clone(), declared };
        Self {
            id,
            spec,
            feed,
            fence: Fence::default(),
            attached: AtomicBool::new(false),
            stats: Arc::default(),
            shape: ArcSwap::from_pointee(shape),
            seen,
        }
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

// === impl Shape ===

impl Shape {
    /// What these columns of an event teach: `None` if nothing new.
    ///
    /// Once events have shown a column to be an integer or a boolean, a request must spell it as one; once they have
    /// shown other spellings of numbers or UUIDs, it must use those; and once they have shown how many columns there
    /// are, it must have as many. `collated` if they are of a database that compares texts by a collation.
    #[must_use]
    pub fn learn(&self, scalars: &[&Scalar<'_>], collated: bool) -> Option<Self> {
        if scalars.iter().any(|scalar| matches!(scalar, Scalar::Null)) {
            return None;
        }
        let known = self.shown.as_deref().filter(|known| known.len() == scalars.len());
        let before = |i: usize| match known {
            Some(known) => known[i],
            None => self.declared.as_ref().and_then(|d| d.get(i)).copied().unwrap_or(Form::AUTO),
        };
        if known.is_some() && scalars.iter().enumerate().all(|(i, s)| before(i).learn(s, collated).is_none())
        {
            return None;
        }
        let shown: Box<[Form]> = scalars
            .iter()
            .enumerate()
            .map(|(i, s)| before(i).learn(s, collated).unwrap_or(before(i)))
            .collect();
        let forms = shown.iter().map(|form| {
            let narrowed = form.kind == KeyType::Auto && form.shown.only_integers();
            if narrowed { Form { kind: KeyType::Integer, ..*form } } else { *form }
        });
        Some(Self { forms: Some(forms.collect()), shown: Some(shown), declared: self.declared.clone() })
    }
}
