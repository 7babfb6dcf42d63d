//! The validated binding: what all code after the reading of a manifest works with.
//!
//! [`Binding::parse`] is the only way to make one. Its rules are those of the CRD, so what the API server
//! accepted parses; a file given by hand meets the same rules here.

use std::{collections::BTreeSet, fmt, time::Duration};

use crate::{
    Cache, CacheBinding, Collation, Freshness, Heartbeat, KeyType, LogLevel, OnChange, OnStale, RedisStream,
    SecretKeyRef, Sidecar, Source, StartGate, names, quantity,
};

/// Least `memory` that is accepted, in bytes.
pub const MIN_MEMORY: u64 = 1 << 20;

/// A binding whose every field has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// Where changes come from; at least one, names unique.
    pub sources: Vec<SourceSpec>,
    /// How stale a value may be.
    pub freshness: FreshnessSpec,
    /// The caches; at least one, names unique, each with the index of its source in `sources`.
    pub caches: Vec<CacheSpec>,
    /// Bytes of cached data over all caches.
    pub memory: u64,
    /// The text whose change voids all values.
    pub epoch: String,
    /// How the sidecar is run.
    pub sidecar: SidecarSpec,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// Its name.
    pub name: String,
    /// Where Redis is.
    pub url: UrlSpec,
    /// Which streams to follow there.
    pub layout: StreamLayout,
}

/// A URL, or where to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UrlSpec {
    /// The URL itself, free of credentials.
    Plain(String),
    /// It is in a Secret.
    Secret(SecretKeyRef),
}

/// How Debezium's topics map to Redis streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamLayout {
    /// One stream per table, under Debezium's topic prefix.
    PerTable {
        /// Debezium's `topic.prefix`.
        prefix: String,
    },
    /// Everything in one stream.
    Routed {
        /// The stream's name.
        stream: String,
    },
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
    /// The longest life of a value.
    pub ttl: Duration,
    /// Tables any change of which voids every value.
    pub depends_on: BTreeSet<String>,
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

// === impl Binding ===

impl Binding {
    /// Checks everything that can be checked without a cluster. All faults are reported, not just the first.
    pub fn parse(object: &CacheBinding) -> Result<Self, Vec<Invalid>> {
        let mut faults = Faults::default();
        let spec = &object.spec;
        let name = object.metadata.name.clone().unwrap_or_default();
        if name.is_empty() || name.len() > names::MAX_BINDING_NAME {
            faults.add("metadata.name", "a binding has a name of at most 52 characters");
        }
        if spec.sources.is_empty() || spec.sources.len() > 8 {
            faults.add("spec.sources", "a binding has one to eight sources");
        }
        if spec.caches.is_empty() || spec.caches.len() > 64 {
            faults.add("spec.caches", "a binding has one to 64 caches");
        }
        faults.unique("spec.sources", spec.sources.iter().map(|s| s.name.as_str()));
        faults.unique("spec.caches", spec.caches.iter().map(|c| c.name.as_str()));
        let sources: Vec<_> = spec.sources.iter().filter_map(|s| faults.source(s)).collect();
        let caches: Vec<_> = spec.caches.iter().filter_map(|c| faults.cache(c, &spec.sources)).collect();
        let freshness = faults.freshness(spec.freshness.as_ref());
        let memory = faults.bytes("spec.memory", &spec.memory, "64Mi");
        let sidecar = faults.sidecar(&spec.sidecar);
        if memory < MIN_MEMORY {
            faults.add("spec.memory", "memory is at least 1Mi");
        } else if sidecar.max_value > memory {
            faults.add("spec.sidecar.maxValue", "maxValue can't exceed memory");
        }
        if faults.0.is_empty() {
            Ok(Self { name, sources, freshness, caches, memory, epoch: spec.epoch.clone(), sidecar })
        } else {
            Err(faults.0)
        }
    }

    /// The Secrets that a sidecar of this binding has mounted, each once, in order.
    #[must_use]
    pub fn secrets(&self) -> BTreeSet<&str> {
        self.sources
            .iter()
            .filter_map(|source| match &source.url {
                UrlSpec::Secret(secret) => Some(secret.name.as_str()),
                UrlSpec::Plain(_) => None,
            })
            .collect()
    }
}

/// The faults found so far; each method checks one part and returns it as far as it could be read.
#[derive(Default)]
struct Faults(Vec<Invalid>);

impl Faults {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Invalid { path: path.into(), message: message.into() });
    }

    fn unique<'a>(&mut self, path: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.add(path, format!("`{name}` is there twice: names are unique"));
            }
        }
    }

    fn duration(&mut self, path: &str, text: &str, example: &str) -> Duration {
        quantity::duration(text).unwrap_or_else(|| {
            self.add(path, format!("`{text}` isn't a duration of at most 366d, such as {example}"));
            Duration::ZERO
        })
    }

    fn bytes(&mut self, path: &str, text: &str, example: &str) -> u64 {
        quantity::bytes(text).unwrap_or_else(|| {
            self.add(path, format!("`{text}` isn't a size in bytes such as {example}"));
            u64::MAX
        })
    }

    fn source(&mut self, source: &Source) -> Option<SourceSpec> {
        let path = format!("spec.sources[{}]", source.name);
        if !is_name(&source.name) {
            self.add(
                format!("{path}.name"),
                "a source's name has lower-case letters, digits and dashes, and begins and ends with a letter or digit",
            );
        }
        let Some(redis) = &source.redis_stream else {
            self.add(path, "a source has exactly one kind: set redisStream");
            return None;
        };
        let path = format!("{path}.redisStream");
        let url = self.url(&path, redis)?;
        let layout = match (&redis.topic_prefix, &redis.stream) {
            (Some(prefix), None) if is_topic(prefix) => StreamLayout::PerTable { prefix: prefix.clone() },
            (Some(_), None) => {
                self.add(
                    format!("{path}.topicPrefix"),
                    "topicPrefix has letters, digits, dots, dashes and underscores, as Debezium's topic.prefix",
                );
                return None;
            }
            (None, Some(stream)) if !stream.is_empty() => StreamLayout::Routed { stream: stream.clone() },
            _ => {
                self.add(
                    path,
                    "a redisStream has exactly one of topicPrefix (one stream per table) and stream (all in one)",
                );
                return None;
            }
        };
        Some(SourceSpec { name: source.name.clone(), url, layout })
    }

    fn url(&mut self, path: &str, redis: &RedisStream) -> Option<UrlSpec> {
        match (&redis.url, &redis.url_from) {
            (Some(url), None) if url.contains('@') => {
                self.add(
                    format!("{path}.url"),
                    "url must not carry credentials: put the whole URL into a Secret and name it in urlFrom",
                );
                None
            }
            (Some(url), None) if !url.starts_with("redis://") => {
                self.add(
                    format!("{path}.url"),
                    "url is redis://host[:port][/database]; TLS (rediss://) is not supported yet",
                );
                None
            }
            (Some(url), None) => Some(UrlSpec::Plain(url.clone())),
            (None, Some(from)) => {
                let secret = &from.secret_key_ref;
                // Both become path segments below the folder of mounted Secrets.
                let plain = |text: &str| {
                    !text.is_empty()
                        && !text.starts_with('.')
                        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
                };
                if !plain(&secret.name) || !plain(&secret.key) {
                    self.add(
                        format!("{path}.urlFrom.secretKeyRef"),
                        "name and key have letters, digits, dashes, underscores and dots, and begin with no dot",
                    );
                    return None;
                }
                Some(UrlSpec::Secret(secret.clone()))
            }
            _ => {
                self.add(path, "a redisStream has exactly one of url and urlFrom");
                None
            }
        }
    }

    fn cache(&mut self, cache: &Cache, sources: &[Source]) -> Option<CacheSpec> {
        let path = format!("spec.caches[{}]", cache.name);
        if !is_name(&cache.name) {
            self.add(
                format!("{path}.name"),
                "a cache's name has lower-case letters, digits and dashes, and begins and ends with a letter or digit",
            );
        }
        if matches!(cache.name.as_str(), "status" | "views" | "events") {
            self.add(
                format!("{path}.name"),
                "status, views and events are taken by the API: choose another name",
            );
        }
        let source = match &cache.source {
            None if sources.len() == 1 => Some(0),
            None => {
                self.add(format!("{path}.source"), "with several sources, every cache names its source");
                None
            }
            Some(name) => {
                let found = sources.iter().position(|s| s.name == *name);
                if found.is_none() {
                    self.add(format!("{path}.source"), format!("there is no source named `{name}`"));
                }
                found
            }
        };
        for table in cache.table.iter().chain(&cache.depends_on) {
            let parts: Vec<_> = table.split('.').collect();
            if !(2..=3).contains(&parts.len())
                || parts.iter().any(|p| p.is_empty() || p.contains(char::is_whitespace))
            {
                self.add(
                    &path,
                    format!(
                        "`{table}`: a table is written schema.table (Postgres) or database.table (MariaDB)"
                    ),
                );
            }
        }
        if cache.table.is_none() && cache.depends_on.is_empty() {
            self.add(&path, "a cache has a table, or tables it dependsOn");
        }
        if cache.table.is_none() && cache.key.is_some() {
            self.add(
                format!("{path}.key"),
                "key names columns of the cache's table: a cache without a table has no key",
            );
        }
        if cache.on_change == OnChange::Hydrate {
            if cache.table.is_none() {
                self.add(
                    format!("{path}.onChange"),
                    "onChange: Hydrate needs a table, whose rows become the values",
                );
            }
            if !cache.depends_on.is_empty() {
                self.add(
                    format!("{path}.dependsOn"),
                    "a hydrated value is one row: it can't depend on other tables",
                );
            }
        }
        let ttl = self.duration(&format!("{path}.ttl"), &cache.ttl, "10m");
        if ttl.is_zero() {
            self.add(format!("{path}.ttl"), "ttl is more than zero");
        }
        let key = cache.key.as_ref().map(|columns| self.key(&path, columns));
        Some(CacheSpec {
            name: cache.name.clone(),
            source: source?,
            table: cache.table.clone(),
            key,
            on_change: cache.on_change,
            ttl,
            depends_on: cache.depends_on.iter().cloned().collect(),
        })
    }

    fn key(&mut self, path: &str, columns: &[crate::KeyColumn]) -> Vec<ColumnSpec> {
        if columns.is_empty() || columns.len() > 16 {
            self.add(format!("{path}.key"), "a key has one to 16 columns");
        }
        self.unique(&format!("{path}.key"), columns.iter().map(|c| c.column.as_str()));
        columns
            .iter()
            .map(|column| {
                let fold_case = column.collation == Collation::CaseInsensitive;
                if fold_case && column.kind != KeyType::Text {
                    self.add(
                        format!("{path}.key[{}].collation", column.column),
                        "collation: CaseInsensitive goes with type: Text",
                    );
                }
                ColumnSpec { column: column.column.clone(), kind: column.kind, fold_case }
            })
            .collect()
    }

    fn freshness(&mut self, freshness: Option<&Freshness>) -> FreshnessSpec {
        const SECOND: Duration = Duration::from_secs(1);
        let Some(f) = freshness else {
            return FreshnessSpec { bound: None, read_lag: SECOND, clock_skew: SECOND };
        };
        if (f.on_stale == OnStale::Serve) != f.serve_stale_for.is_some() {
            self.add(
                "spec.freshness.serveStaleFor",
                "serveStaleFor goes with onStale: Serve, and onStale: Serve needs it",
            );
        }
        let max_staleness = self.duration("spec.freshness.maxStaleness", &f.max_staleness, "10s");
        if max_staleness.is_zero() {
            self.add("spec.freshness.maxStaleness", "maxStaleness is more than zero");
        }
        let serve_stale_for = f
            .serve_stale_for
            .as_ref()
            .map_or(Duration::ZERO, |text| self.duration("spec.freshness.serveStaleFor", text, "1m"));
        FreshnessSpec {
            bound: Some(StalenessBound { max_staleness, heartbeat: f.heartbeat, serve_stale_for }),
            read_lag: self.duration("spec.freshness.readLag", &f.read_lag, "1s"),
            clock_skew: self.duration("spec.freshness.clockSkew", &f.clock_skew, "1s"),
        }
    }

    fn sidecar(&mut self, sidecar: &Sidecar) -> SidecarSpec {
        let max_value = self.bytes("spec.sidecar.maxValue", &sidecar.max_value, "1Mi");
        // A value is one allocation with a 32-bit length.
        if max_value == 0 || max_value > 1 << 30 {
            self.add("spec.sidecar.maxValue", "maxValue is between 1 byte and 1Gi");
        }
        SidecarSpec { max_value, start_gate: sidecar.start_gate, log_level: sidecar.log_level }
    }
}

/// A DNS label: lower-case letters, digits and inner dashes.
fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// What Debezium accepts as a topic prefix.
fn is_topic(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
