//! The validated binding: what all code after the reading of a manifest works with.
//!
//! [`Binding::parse`] and [`crate::manifest::Manifest::binding`] are the only ways to make one. The rules are those
//! of the CRD, so what the API server accepted parses; a file given by hand meets the same rules here.

use std::{collections::BTreeSet, fmt, time::Duration};

use crate::{
    CacheBinding, FillDependencies, Heartbeat, KeyType, LogLevel, OnChange, Source, StartGate,
    check_url::CheckUrl, manifest::Newer, names, refusals,
};

mod check;
mod source;
mod upstream;
mod view;

use check::{Faults, MAX_VALUE};
use upstream::is_auth_header;

pub(crate) use check::nats::subject_rule;
pub use source::{
    CaSpec, FileSpec, KafkaSpec, NatsSpec, PostgresSpec, RedisSpec, SaslSpec, SourceSpec, StreamLayout,
    TlsSpec, TransportSpec, UnfitNatsUrl, UnfitPostgresUrl, UnfitUrl, UrlSpec,
};
pub(crate) use upstream::{AUTH_HEADER_FORM, MAX_BYTES_FORM, REFRESH_FORM, auth_header_rule};
pub use upstream::{AuthSpec, LEAST_REFRESH, RateSpec, UpstreamSpec};
pub(crate) use view::VIEW_KEY_FORM;
pub use view::{ConditionSpec, Test, ViewSpec};

/// The range of `memory`, in bytes.
pub const MEMORY: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 40;
/// [`crate::CacheBindingSpec::memory`] where none is given.
pub const DEFAULT_MEMORY: &str = "64Mi";
/// How long an application's start waits for [`StartGate::Synced`] where the binding doesn't say.
pub const START_DEADLINE: Duration = Duration::from_mins(1);
pub(crate) const START_DEADLINE_FORM: &str =
    "startDeadline is a duration such as 1m, more than zero and at most 366d";
/// The least of `retention`: a sidecar that was further behind, or cut off for longer, loses what it has cached.
pub const LEAST_RETENTION: Duration = Duration::from_mins(1);
pub(crate) const RETENTION_FORM: &str = "retention is a duration such as 24h, at least 1m and at most 366d: a sidecar \
                                         that is cut off for longer loses all that it has cached";
pub(crate) const MEMORY_FORM: &str =
    "memory is a size in bytes such as 64Mi, at least 1Mi and at most 1024Gi";
pub(crate) const MAX_VALUE_FORM: &str = "maxValue is a size in bytes such as 1Mi, at least 1 and at most 1Gi";
pub(crate) const SAMPLE_FORM: &str =
    "sample is a share such as 1% or 0.25%, more than zero and at most 100%, with at most three decimals";
/// The most of `ttlJitter`, in percent.
pub(crate) const MAX_JITTER: u32 = 50;
pub(crate) const JITTER_FORM: &str = "ttlJitter is a part of ttl such as 10%, at most 50%, with at most three decimals; 0% lets every value live for all of ttl";
pub(crate) const NOTHING_TO_AUDIT: &str = "audit has nothing to compare with: no cache hydrates, whose values are images in the stream, and values that \
                                           applications fill are compared with what audit.check.url answers";
pub(crate) const TOO_MANY_PARTS: &str = "with topicPrefix a table is written schema.table (Postgres) or database.table \
                                         (MariaDB), as its stream or topic is named: database.schema.table goes with stream or topic";

/// A binding whose every field has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// Where changes come from; at least one if there is a cache in `caches`, names unique.
    pub sources: Vec<SourceSpec>,
    /// How stale a value may be.
    pub freshness: FreshnessSpec,
    /// The caches of tables, each with the index of its source in `sources`. With `upstreams` there is at least one, and
    /// the names of both are unique.
    pub caches: Vec<CacheSpec>,
    /// The caches that read a REST service through.
    pub upstreams: Vec<UpstreamSpec>,
    /// The views, each over one of `upstreams`, or over one of `caches` that hydrates and starts warm; names are unique.
    pub views: Vec<ViewSpec>,
    /// Bytes of cached data over all caches.
    pub memory: u64,
    /// The text whose change voids all values.
    pub epoch: String,
    /// How much of what is served is compared with what it should be; `None`: nothing.
    pub audit: Option<AuditSpec>,
    /// How the sidecar is run.
    pub sidecar: SidecarSpec,
}

/// How stale a value may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshnessSpec {
    /// The declared heartbeat and its bound; without it continuity alone vouches.
    pub bound: Option<StalenessBound>,
    /// How far the application's reads may lag behind a change's delivery.
    pub read_lag: Duration,
    /// How far clocks may differ.
    pub clock_skew: Duration,
}

/// A declared bound on staleness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StalenessBound {
    /// How long we may be unable to vouch for a value.
    pub max_staleness: Duration,
    /// What proves that changes arrive.
    pub heartbeat: Heartbeat,
    /// How much longer than that a value is served, marked; zero: not at all.
    pub serve_stale_for: Duration,
}

/// One cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSpec {
    /// Its name.
    pub name: String,
    /// Index into [`Binding::sources`].
    pub source: usize,
    /// The table whose rows it holds.
    pub table: Option<String>,
    /// The columns of the key, or the change event's key.
    pub key: Option<Vec<ColumnSpec>>,
    /// What a change does to the row's value.
    pub on_change: OnChange,
    /// The columns of a hydrated value in order; empty: all of the row's.
    pub columns: Vec<String>,
    /// Other columns by which rows are found.
    pub lookups: Vec<ColumnSpec>,
    /// Whether its values are published by applications.
    pub published: bool,
    /// Whether it starts with the rows that the stream still tells of.
    pub warm_start: bool,
    /// The longest life of a value.
    pub ttl: Duration,
    /// Up to how much of `ttl` a life is shortened by lot: thousandths of a percent, at most half of
    /// [`crate::quantity::WHOLE`].
    pub ttl_jitter: u32,
    /// The part of [`Binding::memory`] that is this cache's: thousandths of a percent, 1 to [`crate::quantity::WHOLE`];
    /// `None`: it shares with the others what is left.
    pub share: Option<u32>,
    /// Tables any change of which voids every value.
    pub depends_on: BTreeSet<String>,
    /// Tables that fills may name, beside those that caches of the same source use anyway.
    pub may_depend_on: BTreeSet<String>,
    /// Whether fills have to say what their value depends on.
    pub fill_dependencies: FillDependencies,
}

/// One column of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// The column's name.
    pub column: String,
    /// The form of its text.
    pub kind: KeyType,
    /// Whether upper and lower case are one.
    pub fold_case: bool,
}

/// How what is served is compared with what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSpec {
    /// How many changes and fills are looked at: thousandths of a percent, 1 to [`crate::quantity::WHOLE`].
    pub share: u32,
    /// How long after a change or fill its key is looked at, and after a difference again.
    pub delay: Duration,
    /// Where the application answers what it would fill.
    pub check: Option<CheckUrl>,
}

/// How the sidecar is run, as far as the sidecar itself is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarSpec {
    /// The largest value in bytes.
    pub max_value: u64,
    /// What the application's start waits for.
    pub start_gate: StartGate,
    /// How much the sidecar logs.
    pub log_level: LogLevel,
}

/// Something in a binding that can't be: where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field, as in `spec.caches[products].ttl`.
    pub path: String,
    /// A sentence that helps.
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

// === impl CacheSpec ===

impl CacheSpec {
    /// What stands for the rows of a table of a source, which values of caches depend on. No cache has its name.
    #[must_use]
    pub fn rows_of(table: &str, source: usize, source_name: &str) -> Self {
        Self {
            name: format!("{source_name}/{table}"),
            source,
            table: Some(table.to_owned()),
            key: None,
            on_change: OnChange::Invalidate,
            columns: Vec::new(),
            lookups: Vec::new(),
            published: false,
            warm_start: false,
            ttl: Duration::ZERO,
            ttl_jitter: 0,
            share: None,
            depends_on: BTreeSet::new(),
            may_depend_on: BTreeSet::new(),
            fill_dependencies: FillDependencies::Optional,
        }
    }

    /// Whether values come to it that have to be ranked with those that came before: images of rows, or what was published.
    #[must_use]
    pub fn ranks_values(&self) -> bool {
        self.published || self.on_change == OnChange::Hydrate
    }

    /// The tables it uses: that of its rows, those that it depends on, and those that its values may depend on.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.table.iter().chain(&self.depends_on).chain(&self.may_depend_on).map(String::as_str)
    }
}

// === impl Binding ===

impl Binding {
    /// The caches all rows of whose tables some view holds, each once.
    pub fn ranked(&self) -> impl Iterator<Item = &CacheSpec> {
        let over = |cache: &&CacheSpec| self.views.iter().any(|v| v.is_over_rows() && v.cache == cache.name);
        self.caches.iter().filter(over)
    }

    /// Checks everything that can be checked without a cluster. All faults are reported, not just the first.
    pub fn parse(object: &CacheBinding) -> Result<Self, Vec<Invalid>> {
        Self::parse_beside(object, &Newer::default())
    }

    /// The same for what is left of a binding without those of its parts that are `newer`.
    pub(crate) fn parse_beside(object: &CacheBinding, newer: &Newer) -> Result<Self, Vec<Invalid>> {
        let mut faults = Faults::default();
        let spec = &object.spec;
        let name = object.metadata.name.clone().unwrap_or_default();
        if name.is_empty() || name.len() > names::MAX_BINDING_NAME {
            faults.add("metadata.name", "a binding has a name of at most 52 characters");
        }
        if matches!(name.as_str(), "true" | "false") {
            faults.add("metadata.name", refusals::BINDING_NAMED_AS_ANSWER);
        }
        let of_tables = spec.caches.iter().any(|cache| cache.upstream.is_none());
        if spec.sources.is_empty() && newer.sources.is_empty() && of_tables {
            faults.add("spec.sources", refusals::NO_SOURCES);
        }
        if spec.sources.len() > 8 {
            faults.add("spec.sources", "a binding has at most eight sources");
        }
        if (spec.caches.is_empty() && newer.caches.is_empty()) || spec.caches.len() > 64 {
            faults.add("spec.caches", "a binding has one to 64 caches");
        }
        faults.unique("spec.sources", spec.sources.iter().map(|s| s.name.as_str()));
        faults.unique("spec.caches", spec.caches.iter().map(|c| c.name.as_str()));
        let sources: Vec<_> = spec.sources.iter().filter_map(|s| faults.source(s)).collect();
        let freshness = faults.freshness(spec.freshness.as_ref());
        let memory = faults.bytes("spec.memory", &spec.memory, MEMORY, MEMORY_FORM);
        let (mut caches, mut upstreams) = (Vec::new(), Vec::new());
        for cache in &spec.caches {
            match &cache.upstream {
                Some(upstream) => upstreams.extend(faults.upstream(cache, upstream)),
                None => caches.extend(faults.cache(cache, &spec.sources, spec.freshness.is_some())),
            }
        }
        let told = freshness.bound.as_ref().is_some_and(|bound| bound.heartbeat == Heartbeat::Database);
        if !told && caches.iter().any(|cache| cache.warm_start) {
            faults.add("spec.freshness", refusals::WARM_NEEDS_HEARTBEAT);
        }
        if spec.views.len() > 16 {
            faults.add("spec.views", "a binding has at most 16 views");
        }
        faults.unique("spec.views", spec.views.iter().map(|v| v.name.as_str()));
        let views = spec.views.iter().filter_map(|v| faults.view(v, &spec.caches, &upstreams)).collect();
        let sidecar = faults.sidecar(&spec.sidecar, memory);
        faults.shares(&caches, &upstreams, memory, sidecar.max_value);
        let audit = spec.audit.as_ref().and_then(|audit| faults.audit(audit));
        // Of a binding without its newer parts, what is left may have nothing to audit.
        let compares = |audit: &AuditSpec| {
            audit.check.is_some() || spec.caches.iter().any(|cache| cache.on_change == OnChange::Hydrate)
        };
        if newer.caches.is_empty() && audit.as_ref().is_some_and(|audit| !compares(audit)) {
            faults.add("spec.audit", NOTHING_TO_AUDIT);
        }
        if faults.0.is_empty() {
            Ok(Self {
                name,
                sources,
                freshness,
                caches,
                upstreams,
                views,
                memory: memory.unwrap_or_default(),
                epoch: spec.epoch.clone(),
                audit,
                sidecar,
            })
        } else {
            Err(faults.0)
        }
    }
}

/// Whether a source is one that this version can follow.
pub(crate) fn follows(source: &Source) -> bool {
    let mut faults = Faults::default();
    faults.source(source).is_some() && faults.0.is_empty()
}
