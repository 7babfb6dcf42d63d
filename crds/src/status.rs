//! What the operator reports about a binding.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The state of a binding as the operator sees it. Written on change only.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CacheBindingStatus {
    /// The generation of the spec that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds of the binding (`Ready`, `Fresh` and others), each with a reason and a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The pods that ask for this binding, counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodCounts>,
    /// How far the sidecar that is furthest behind is behind what is written to the streams, as of its last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_lag: Option<WorstLag>,
    /// How many of all reads were hits, over all pods since their sidecars' start, in whole percent such as `87%`; not
    /// there before the first read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4))]
    pub hit_ratio: Option<String>,
    /// Values held, over all caches and pods, to two digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Bytes held, over all caches and pods, keys and overhead included, to two digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// The sidecar that is furthest behind; the first by source and pod where all have caught up.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct WorstLag {
    /// How far it is behind: 0 when it has caught up and up to 100, else rounded up to 1, 2 or 5 times a power of ten.
    pub milliseconds: u64,
    /// The source whose changes those are.
    #[schemars(length(max = 63))]
    pub source: String,
    /// The pod of the sidecar.
    #[schemars(length(max = 253))]
    pub pod: String,
}

/// Pods of a binding, counted. Finished pods don't count.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodCounts {
    /// Pods that ask for this binding.
    pub matched: u32,
    /// Of those, the ones that carry a sidecar.
    pub injected: u32,
    /// Of the injected ones, those whose sidecar has started.
    pub ready: u32,
    /// Pods that ask for this binding and carry no sidecar.
    pub missing: u32,
    /// Injected pods whose sidecar differs from what would be injected now.
    pub outdated: u32,
}
