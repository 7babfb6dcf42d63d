//! The rules about each part of a binding.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

use super::{
    CacheSpec, ColumnSpec, FreshnessSpec, Invalid, JITTER_FORM, LEAST_RETENTION, MAX_JITTER, MAX_VALUE_FORM,
    RETENTION_FORM, SidecarSpec, SourceSpec, StalenessBound, StreamLayout, TOO_MANY_PARTS, UrlSpec,
};
use crate::{
    Cache, Collation, FillDependencies, Freshness, KeyType, OnChange, OnStale, Sidecar, Source, StartGate,
    names::SECRET_NAME_FORM, quantity, refusals, resources::ResourcesSpec,
};

mod audit;
mod redis;
mod shares;
mod upstream;
mod views;

/// The range of `maxValue`, in bytes: a value is one allocation with a 32-bit length.
pub(super) const MAX_VALUE: RangeInclusive<u64> = 1..=1 << 30;

/// The faults found so far; each method checks one part and returns it as far as it could be read.
#[derive(Default)]
pub(super) struct Faults(pub(super) Vec<Invalid>);

impl Faults {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Invalid { path: path.into(), message: message.into() });
    }

    pub(super) fn unique<'a>(&mut self, path: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.add(path, format!("`{name}` is there twice: names are unique"));
            }
        }
    }

    fn duration(&mut self, path: &str, text: &str, least: Duration, example: &str) -> Duration {
        quantity::duration(text).filter(|duration| *duration >= least).unwrap_or_else(|| {
            let more = if least.is_zero() { "" } else { "more than zero and " };
            self.add(path, format!("`{text}` isn't a duration such as {example}, {more}at most 366d"));
            Duration::ZERO
        })
    }

    pub(super) fn bytes(
        &mut self,
        path: &str,
        text: &str,
        range: RangeInclusive<u64>,
        form: &str,
    ) -> Option<u64> {
        let bytes = quantity::bytes(text).filter(|bytes| range.contains(bytes));
        if bytes.is_none() {
            self.add(path, format!("`{text}`: {form}"));
        }
        bytes
    }

    pub(super) fn source(&mut self, source: &Source) -> Option<SourceSpec> {
        let path = format!("spec.sources[{}]", source.name);
        if !is_name(&source.name) {
            self.add(format!("{path}.name"), refusals::SOURCE_NAME_FORM);
        }
        let Some(redis) = &source.redis_stream else {
            self.add(path, refusals::ONE_KIND);
            return None;
        };
        let path = format!("{path}.redisStream");
        let (url, tls) = (self.url(&path, redis), self.tls(&path, redis));
        let retention = redis.retention.as_ref().map(|text| {
            let read = quantity::duration(text).filter(|retention| *retention >= LEAST_RETENTION);
            if read.is_none() {
                self.add(format!("{path}.retention"), format!("`{text}`: {RETENTION_FORM}"));
            }
            read.unwrap_or_default()
        });
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
                self.add(path, refusals::ONE_LAYOUT);
                return None;
            }
        };
        let spec = SourceSpec { name: source.name.clone(), url: url?, tls: tls?, layout, retention };
        // Of a URL in a Secret this can't be told before it is read.
        if let UrlSpec::Plain(_) = spec.url
            && let Err(unfit) = spec.url(String::new)
        {
            self.add(path, unfit.to_string());
            return None;
        }
        Some(spec)
    }

    fn cache_name(&mut self, path: &str, name: &str) {
        if !is_name(name) {
            self.add(format!("{path}.name"), refusals::CACHE_NAME_FORM);
        }
        if matches!(name, "status" | "views" | "events") {
            self.add(format!("{path}.name"), refusals::CACHE_NAME_TAKEN);
        }
    }

    pub(super) fn cache(&mut self, cache: &Cache, sources: &[Source]) -> Option<CacheSpec> {
        let path = format!("spec.caches[{}]", cache.name);
        self.cache_name(&path, &cache.name);
        let source = match &cache.source {
            None if sources.len() == 1 => Some(0),
            // That there is none is told once, of the binding.
            None if sources.is_empty() => None,
            None => {
                self.add(format!("{path}.source"), refusals::WHICH_SOURCE);
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
        for table in cache.tables() {
            let parts: Vec<_> = table.split('.').collect();
            if !(2..=3).contains(&parts.len())
                || parts.iter().any(|p| p.is_empty() || p.contains(|c: char| c.is_ascii_whitespace()))
            {
                self.add(&path, format!("`{table}`: {}", refusals::TABLE_FORM));
            } else if parts.len() == 3
                && let Some(Source { redis_stream: Some(redis), .. }) = source.and_then(|i| sources.get(i))
                && redis.topic_prefix.is_some()
            {
                self.add(&path, format!("`{table}`: {TOO_MANY_PARTS}"));
            }
        }
        if cache.tables().next().is_none() {
            self.add(&path, refusals::NO_TABLES);
        }
        if cache.table.is_none() && cache.key.is_some() {
            self.add(format!("{path}.key"), refusals::KEY_NEEDS_TABLE);
        }
        if cache.on_change == OnChange::Hydrate {
            if cache.table.is_none() {
                self.add(format!("{path}.onChange"), refusals::HYDRATE_NEEDS_TABLE);
            }
            for (field, given) in [
                ("dependsOn", !cache.depends_on.is_empty()),
                ("mayDependOn", !cache.may_depend_on.is_empty()),
                ("fillDependencies", cache.fill_dependencies != FillDependencies::Optional),
            ] {
                if given {
                    self.add(format!("{path}.{field}"), refusals::HYDRATED_IS_ONE_ROW);
                }
            }
        }
        if cache.on_change != OnChange::Hydrate && !(cache.columns.is_empty() && cache.lookups.is_empty()) {
            self.add(&path, refusals::COLUMNS_OF_HYDRATED);
        }
        if cache.key.is_none() && !cache.lookups.is_empty() {
            self.add(format!("{path}.lookups"), refusals::LOOKUPS_NEED_KEY);
        }
        if cache.warm_start && cache.on_change != OnChange::Hydrate {
            self.add(format!("{path}.warmStart"), refusals::WARM_IS_HYDRATED);
        }
        if cache.warm_start
            && let Some(Source { redis_stream: Some(redis), .. }) = source.and_then(|i| sources.get(i))
            && redis.topic_prefix.is_some()
        {
            self.add(format!("{path}.warmStart"), refusals::WARM_NEEDS_STREAM);
        }
        if cache.columns.len() > 256 || cache.lookups.len() > 8 {
            self.add(&path, "a cache has at most 256 columns and 8 lookups");
        }
        self.unique(&format!("{path}.columns"), cache.columns.iter().map(String::as_str));
        let ttl = self.duration(&format!("{path}.ttl"), &cache.ttl, quantity::MOMENT, "10m");
        let ttl_jitter = self.ttl_jitter(&path, &cache.ttl_jitter);
        let share = self.share(&path, cache);
        let key = cache.key.as_ref().map(|columns| self.key(&path, columns));
        let lookups = self.columns(&format!("{path}.lookups"), &cache.lookups);
        Some(CacheSpec {
            name: cache.name.clone(),
            source: source?,
            table: cache.table.clone(),
            key,
            on_change: cache.on_change,
            columns: cache.columns.clone(),
            lookups,
            warm_start: cache.warm_start,
            ttl,
            ttl_jitter,
            share,
            depends_on: cache.depends_on.iter().cloned().collect(),
            may_depend_on: cache.may_depend_on.iter().cloned().collect(),
            fill_dependencies: cache.fill_dependencies,
        })
    }

    fn ttl_jitter(&mut self, path: &str, text: &str) -> u32 {
        let read = quantity::part(text).filter(|part| *part <= MAX_JITTER * (quantity::WHOLE / 100));
        read.unwrap_or_else(|| {
            self.add(format!("{path}.ttlJitter"), format!("`{text}`: {JITTER_FORM}"));
            0
        })
    }

    fn key(&mut self, path: &str, columns: &[crate::KeyColumn]) -> Vec<ColumnSpec> {
        if columns.is_empty() || columns.len() > 16 {
            self.add(format!("{path}.key"), "a key has one to 16 columns");
        }
        self.columns(&format!("{path}.key"), columns)
    }

    fn columns(&mut self, path: &str, columns: &[crate::KeyColumn]) -> Vec<ColumnSpec> {
        self.unique(path, columns.iter().map(|c| c.column.as_str()));
        columns
            .iter()
            .map(|column| {
                let fold_case = column.collation == Collation::CaseInsensitive;
                if fold_case && column.kind != KeyType::Text {
                    self.add(format!("{path}[{}].collation", column.column), refusals::CASE_IS_OF_TEXT);
                }
                ColumnSpec { column: column.column.clone(), kind: column.kind, fold_case }
            })
            .collect()
    }

    pub(super) fn freshness(&mut self, freshness: Option<&Freshness>) -> FreshnessSpec {
        const SECOND: Duration = Duration::from_secs(1);
        let Some(f) = freshness else {
            return FreshnessSpec { bound: None, read_lag: SECOND, clock_skew: SECOND };
        };
        if (f.on_stale == OnStale::Serve) != f.serve_stale_for.is_some() {
            self.add("spec.freshness.serveStaleFor", refusals::SERVE_NEEDS_BOUND);
        }
        let max_staleness =
            self.duration("spec.freshness.maxStaleness", &f.max_staleness, quantity::MOMENT, "10s");
        let serve_stale_for = f.serve_stale_for.as_ref().map_or(Duration::ZERO, |text| {
            self.duration("spec.freshness.serveStaleFor", text, Duration::ZERO, "1m")
        });
        FreshnessSpec {
            bound: Some(StalenessBound { max_staleness, heartbeat: f.heartbeat, serve_stale_for }),
            read_lag: self.duration("spec.freshness.readLag", &f.read_lag, Duration::ZERO, "1s"),
            clock_skew: self.duration("spec.freshness.clockSkew", &f.clock_skew, Duration::ZERO, "1s"),
        }
    }

    pub(super) fn sidecar(&mut self, sidecar: &Sidecar, memory: Option<u64>) -> SidecarSpec {
        let max_value = self.bytes("spec.sidecar.maxValue", &sidecar.max_value, MAX_VALUE, MAX_VALUE_FORM);
        if memory.is_some() && max_value > memory {
            self.add("spec.sidecar.maxValue", "maxValue can't exceed memory");
        }
        for secret in &sidecar.image_pull_secrets {
            if !is_secret_name(&secret.name) {
                self.add("spec.sidecar.imagePullSecrets", format!("`{}`: {SECRET_NAME_FORM}", secret.name));
            }
        }
        let names = sidecar.image_pull_secrets.iter().map(|secret| secret.name.as_str());
        self.unique("spec.sidecar.imagePullSecrets", names);
        if let Some(resources) = &sidecar.resources {
            self.0.extend(
                ResourcesSpec::parse(resources, memory.unwrap_or_default()).err().into_iter().flatten(),
            );
        }
        if sidecar.start_deadline.is_some() && sidecar.start_gate != StartGate::Synced {
            self.add("spec.sidecar.startDeadline", refusals::DEADLINE_IS_OF_SYNCED);
        }
        if let Some(text) = &sidecar.start_deadline {
            self.duration("spec.sidecar.startDeadline", text, quantity::MOMENT, "1m");
        }
        SidecarSpec {
            max_value: max_value.unwrap_or_default(),
            start_gate: sidecar.start_gate,
            log_level: sidecar.log_level,
        }
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

/// The name of a Secret: lower-case letters, digits, inner dashes and inner dots.
fn is_secret_name(text: &str) -> bool {
    let is_end = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().all(|b| is_end(b) || b"-.".contains(&b))
        && text.bytes().next().is_some_and(is_end)
        && text.bytes().last().is_some_and(is_end)
}

/// What a key of a Secret is made of; it becomes a path segment below the folder of mounted Secrets.
fn is_secret_key(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}
