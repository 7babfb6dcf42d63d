//! The rules about each part of a binding.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

use super::{
    CacheSpec, ColumnSpec, FreshnessSpec, Invalid, JITTER_FORM, MAX_JITTER, MAX_VALUE_FORM, SidecarSpec,
    StalenessBound, TOO_MANY_PARTS,
};
use crate::{
    Cache, Collation, FillDependencies, Freshness, KeyType, OnChange, OnStale, Sidecar, Source, StartGate,
    names::SECRET_NAME_FORM, quantity, refusals, resources::ResourcesSpec,
};
use references::is_secret_name;

mod audit;
mod kafka;
pub(super) mod nats;
mod postgres;
mod redis;
mod references;
mod shares;
mod source;
mod upstream;
mod url;
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

    fn cache_name(&mut self, path: &str, name: &str) {
        if !is_name(name) {
            self.add(format!("{path}.name"), refusals::CACHE_NAME_FORM);
        }
        if matches!(name, "status" | "views" | "events") {
            self.add(format!("{path}.name"), refusals::CACHE_NAME_TAKEN);
        }
    }

    /// What a cache asks of its source.
    fn cache_fits(&mut self, path: &str, cache: &Cache, source: &Source, is_bound: bool) {
        let is_per_table = source.topic_prefix().is_some();
        if cache.table.is_some() && cache.key.is_none() && source.is_without_keys() {
            self.add(format!("{path}.key"), refusals::NATS_NEEDS_KEY);
        }
        if cache.warm_start && is_per_table {
            self.add(format!("{path}.warmStart"), refusals::WARM_NEEDS_STREAM);
        }
        if cache.warm_start && source.keeps_nothing() {
            self.add(format!("{path}.warmStart"), refusals::WARM_NEEDS_RECORDS);
        }
        if cache.on_change == OnChange::Hydrate && source.is_without_images() {
            self.add(format!("{path}.onChange"), refusals::HYDRATE_NEEDS_IMAGES);
        }
        if is_bound && !cache.published && source.is_without_heartbeats() {
            self.add(format!("{path}.source"), refusals::BOUND_NEEDS_HEARTBEATS);
        }
        if cache.published && is_per_table {
            self.add(format!("{path}.published"), refusals::PUBLISHED_NEEDS_STREAM);
        }
    }

    pub(super) fn cache(&mut self, cache: &Cache, sources: &[Source], is_bound: bool) -> Option<CacheSpec> {
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
        let from = source.and_then(|index| sources.get(index));
        let is_per_table = from.is_some_and(|source| source.topic_prefix().is_some());
        for table in cache.tables() {
            let parts: Vec<_> = table.split('.').collect();
            if !(2..=3).contains(&parts.len())
                || parts.iter().any(|p| p.is_empty() || p.contains(|c: char| c.is_ascii_whitespace()))
            {
                self.add(&path, format!("`{table}`: {}", refusals::TABLE_FORM));
            } else if parts.len() == 3 && is_per_table {
                self.add(&path, format!("`{table}`: {TOO_MANY_PARTS}"));
            }
        }
        if let Some(from) = from {
            self.cache_fits(&path, cache, from, is_bound);
        }
        let has_tables = cache.tables().next().is_some();
        if !has_tables && !cache.published {
            self.add(&path, refusals::NO_TABLES);
        }
        if cache.published && (has_tables || cache.fill_dependencies == FillDependencies::Required) {
            self.add(&path, refusals::PUBLISHED_ALONE);
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
            published: cache.published,
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
