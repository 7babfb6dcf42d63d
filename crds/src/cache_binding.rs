//! The wire types of the binding itself. Everything in them appears in the CRD, and everything in the CRD does something.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Audit, Cache, CacheBindingStatus, Sidecar, Source, View};

/// Binds an application's pods to caches that a database's change events keep fresh.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "freshet.dev",
    version = "v1alpha1",
    kind = "CacheBinding",
    namespaced,
    shortname = "cb",
    category = "freshet",
    derive = "PartialEq",
    status = "CacheBindingStatus",
    doc = "Binds an application's pods to caches that a database's change events keep fresh.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Fresh", type_ = "string", json_path = ".status.conditions[?(@.type==\"Fresh\")].status"),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.pods.matched"),
    printcolumn(name = "Injected", type_ = "integer", json_path = ".status.pods.injected"),
    printcolumn(name = "Missing", type_ = "integer", json_path = ".status.pods.missing", priority = 1),
    printcolumn(name = "Outdated", type_ = "integer", json_path = ".status.pods.outdated", priority = 1),
    printcolumn(name = "Why", type_ = "string", json_path = ".status.conditions[?(@.type==\"Fresh\")].reason", priority = 1),
    printcolumn(name = "Lag-ms", type_ = "integer", json_path = ".status.worstLag.milliseconds", priority = 1),
    printcolumn(name = "Hits", type_ = "string", json_path = ".status.hitRatio", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 52").message("a binding's name has at most 52 characters: freshet-<name> names the objects made for it"),
    validation = Rule::new("!(self.metadata.name in ['true', 'false'])").message(crate::refusals::BINDING_NAMED_AS_ANSWER)
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.sources.size() > 0 || self.caches.all(c, has(c.upstream))")
        .message(crate::refusals::NO_SOURCES),
    validation = Rule::new("self.sources.size() < 2 || self.caches.all(c, has(c.source) || has(c.upstream))")
        .message(crate::refusals::WHICH_SOURCE),
    validation = Rule::new("self.caches.all(c, !has(c.source) || self.sources.exists(s, s.name == c.source))")
        .message("a cache's source must be the name of one of the sources"),
    validation = Rule::new(crate::source::parts_rule()).message(crate::binding::TOO_MANY_PARTS),
    validation = Rule::new("!self.caches.exists(c, has(c.warmStart) && c.warmStart) || (has(self.freshness) && self.freshness.heartbeat == 'Database')")
        .message(crate::refusals::WARM_NEEDS_HEARTBEAT),
    validation = Rule::new(crate::source::warm_rule()).message(crate::refusals::WARM_NEEDS_STREAM),
    validation = Rule::new(crate::source::kept_rule()).message(crate::refusals::WARM_NEEDS_RECORDS),
    validation = Rule::new(crate::source::images_rule()).message(crate::refusals::HYDRATE_NEEDS_IMAGES),
    validation = Rule::new(crate::source::heartbeats_rule()).message(crate::refusals::BOUND_NEEDS_HEARTBEATS),
    validation = Rule::new(crate::source::published_rule()).message(crate::refusals::PUBLISHED_NEEDS_STREAM),
    validation = Rule::new(crate::source::key_rule()).message(crate::refusals::NATS_NEEDS_KEY),
    // With `warmStart` there is `onChange: Hydrate`, and with that a table, as the caches' own rules have it.
    validation = Rule::new("!has(self.views) || self.views.all(v, self.caches.exists(c, c.name == v.cache && (has(c.upstream) || (has(c.warmStart) && c.warmStart))))")
        .message(crate::refusals::VIEW_NEEDS_ALL),
    validation = Rule::new("!has(self.views) || !self.views.exists(v, self.caches.exists(c, c.name == v.cache && has(c.upstream) != (has(v.keys) && v.keys.size() > 0)))")
        .message(crate::refusals::VIEW_KEYS_OF_UPSTREAM),
    validation = Rule::new("!has(self.audit) || has(self.audit.check) || self.caches.exists(c, c.onChange == 'Hydrate')")
        .message(crate::binding::NOTHING_TO_AUDIT),
    validation = Rule::new(crate::quantity::if_sizes("self.sidecar.maxValue", "<=", "self.memory", "0"))
        .message("maxValue can't exceed memory"),
    validation = Rule::new(crate::shares::sum_rule()).message(crate::shares::SHARES_FIT),
    validation = Rule::new(crate::shares::values_rule()).message(crate::shares::VALUES_FIT),
    validation = Rule::new(crate::shares::answers_rule()).message(crate::refusals::MAX_BYTES_FIT),
    validation = Rule::new(format!(
        "!has(self.sidecar.resources) || !has(self.sidecar.resources.limits) || !has(self.sidecar.resources.limits.memory) || {}",
        crate::quantity::if_sizes("string(self.sidecar.resources.limits.memory)", ">=", "self.memory", crate::resources::HEADROOM_TEXT)
    ))
        .message(crate::resources::TOO_TIGHT)
)]
pub struct CacheBindingSpec {
    /// Where changes come from. A binding whose caches all have an upstream needs none.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub sources: Vec<Source>,
    /// How stale a value may be. Without it, values are vouched for by the stream's continuity alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// The caches that applications use, each under `/v1/<name>/`.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub caches: Vec<Cache>,
    /// The top of what named keys of an upstream cache hold, or of a table's rows, each under `/v1/views/<name>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub views: Vec<View>,
    /// Bytes of cached data over all caches of the binding, in each pod.
    #[serde(default = "default_memory")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = Rule::new(crate::quantity::size_rule("self", "1Mi", "1024Gi")).message(crate::binding::MEMORY_FORM)
    )]
    pub memory: String,
    /// Change this text to void all values in every pod.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub epoch: String,
    /// How sidecars measure whether what they serve is right. Without it they don't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
    /// How the sidecar is run.
    #[serde(default)]
    pub sidecar: Sidecar,
}

/// How stale a value may be, and what bounds it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.onStale == 'Serve') == has(self.serveStaleFor)")
        .message(crate::refusals::SERVE_NEEDS_BOUND)
)]
pub struct Freshness {
    /// How long we may be unable to vouch for a value.
    #[serde(default = "default_max_staleness")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(crate::quantity::MOMENT))
            .message("maxStaleness is a duration such as 10s, more than zero and at most 366d")
    )]
    pub max_staleness: String,
    /// What proves that changes arrive.
    #[serde(default)]
    pub heartbeat: Heartbeat,
    /// What happens to a value that can't be vouched for.
    #[serde(default)]
    pub on_stale: OnStale,
    /// With `onStale: Serve`: how long beyond maxStaleness a value may be served, marked as stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(std::time::Duration::ZERO))
            .message("serveStaleFor is a duration such as 1m, at most 366d")
    )]
    pub serve_stale_for: Option<String>,
    /// How far the application's database reads may lag behind a change's delivery (read replicas).
    #[serde(default = "default_second")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(std::time::Duration::ZERO))
            .message("readLag is a duration such as 1s, at most 366d")
    )]
    pub read_lag: String,
    /// How far the clocks of database, Debezium and pods may differ.
    #[serde(default = "default_second")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(std::time::Duration::ZERO))
            .message("clockSkew is a duration such as 1s, at most 366d")
    )]
    pub clock_skew: String,
}

/// What proves that changes arrive.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heartbeat {
    /// What the database wrote into its own log: in Postgres a logical message with the prefix `freshet-hb`, in MariaDB
    /// the row of `freshet_heartbeat`.
    #[default]
    Database,
    /// Debezium's own timer. It bounds silence only: it doesn't prove that the database's log was read.
    Debezium,
}

/// What happens to a value that can't be vouched for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStale {
    /// A miss that says why.
    #[default]
    Bypass,
    /// The value, marked as stale, for a bounded time and never across an epoch.
    Serve,
}

fn default_memory() -> String {
    crate::binding::DEFAULT_MEMORY.into()
}

fn default_max_staleness() -> String {
    "10s".into()
}

fn default_second() -> String {
    "1s".into()
}
