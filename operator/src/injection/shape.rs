//! What would be injected for a binding, and how to tell whether that is what a pod has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::LazyLock,
    time::Duration,
};

use freshet_crds::{
    CacheBinding, ConfigMapKeyRef, SecretKeyRef, Source, StartGate, Upstream,
    binding::{DEFAULT_MEMORY, MEMORY},
    quantity,
    resources::ResourcesSpec,
};
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::sidecar;

/// The hash of [`sidecar::template`], which is the same for as long as we run.
static TEMPLATE: LazyLock<String> = LazyLock::new(|| hash(&sidecar::template()));

/// What the operator was installed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The operator's version.
    pub version: String,
    /// The sidecar's image.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
    /// Names of Secrets for pulling it, expected in the pods' namespaces.
    pub pull_secrets: Vec<String>,
}

/// Everything about a sidecar that differs from binding to binding. The rest reaches running sidecars through the
/// ConfigMap.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The binding's name.
    pub binding: String,
    /// Our version.
    pub version: String,
    /// The image.
    pub image: String,
    /// When it is pulled.
    pub pull_policy: String,
    /// Secrets for pulling it.
    pub pull_secrets: BTreeSet<String>,
    /// Kubernetes' ResourceRequirements.
    pub resources: Value,
    /// What the application's start waits for.
    pub start_gate: StartGate,
    /// How long it waits at most, where it waits for more than the sidecar itself.
    pub start_deadline: Option<Duration>,
    /// The keys of Secrets that it reads.
    pub secrets: BTreeSet<SecretKeyRef>,
    /// The keys of ConfigMaps that it reads, besides the binding's own.
    pub config_maps: BTreeSet<ConfigMapKeyRef>,
}

/// The part of an injected sidecar in which it can differ from what would be injected now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Field {
    /// Its image, and the Secrets for pulling it.
    Image,
    /// Its resources.
    Resources,
    /// What the application's start waits for.
    StartGate,
    /// Which keys of Secrets and ConfigMaps are mounted.
    Secrets,
    /// Everything that only another version of the operator does differently.
    Template,
}

/// The annotation [`freshet_crds::names::INJECTED`]: what was injected, in few letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    /// The version of the operator that injected.
    pub version: String,
    /// A hash over all fields.
    pub hash: String,
    /// A hash of each field, so that a difference can be named.
    #[serde(default)]
    pub fields: BTreeMap<Field, String>,
}

// === impl Shape ===

impl Shape {
    /// What this binding's pods get. It needs no valid binding, because a pod that starts while its binding is broken
    /// is better off with a sidecar than without: a field that has a fault counts as left out.
    #[must_use]
    pub fn of(binding: &CacheBinding, defaults: &Defaults) -> Self {
        let spec = &binding.spec;
        let mut memory = [spec.memory.as_str(), DEFAULT_MEMORY].into_iter().filter_map(quantity::bytes);
        let memory = memory.find(|bytes| MEMORY.contains(bytes)).unwrap_or(*MEMORY.start());
        let given = spec.sidecar.resources.as_ref().and_then(|r| ResourcesSpec::parse(r, memory).ok());
        let own = spec.sidecar.image_pull_secrets.iter().map(|secret| &secret.name);
        Self {
            binding: binding.name_any(),
            version: defaults.version.clone(),
            image: spec.sidecar.image.clone().unwrap_or_else(|| defaults.image.clone()),
            pull_policy: defaults.pull_policy.clone(),
            pull_secrets: own.chain(&defaults.pull_secrets).cloned().collect(),
            resources: resources(given.unwrap_or_default(), memory),
            start_gate: spec.sidecar.start_gate,
            start_deadline: (spec.sidecar.start_gate == StartGate::Synced)
                .then(|| spec.sidecar.start_deadline()),
            secrets: secrets(binding),
            config_maps: config_maps(binding),
        }
    }

    /// The annotation that describes it.
    #[must_use]
    pub fn injected(&self) -> Injected {
        let fields = BTreeMap::from([
            (Field::Image, hash(&json!([self.image, self.pull_secrets]))),
            (Field::Resources, hash(&self.resources)),
            (Field::StartGate, self.gate()),
            (Field::Secrets, self.mounted()),
            (Field::Template, TEMPLATE.clone()),
        ]);
        let whole = hash(&json!(fields));
        Injected { version: self.version.clone(), hash: whole, fields }
    }

    /// Without a deadline the hash is that of a version that knew none.
    fn gate(&self) -> String {
        match self.start_deadline {
            None => hash(&json!(self.start_gate)),
            Some(deadline) => hash(&json!([self.start_gate, deadline.as_millis()])),
        }
    }

    /// Without ConfigMaps the hash is that of a version that knew none: its pods aren't outdated.
    fn mounted(&self) -> String {
        if self.config_maps.is_empty() {
            hash(&json!(self.secrets))
        } else {
            hash(&json!([self.secrets, self.config_maps]))
        }
    }
}

/// The Secret keys that the binding's sources and upstreams are read with, each once.
fn secrets(binding: &CacheBinding) -> BTreeSet<SecretKeyRef> {
    let mut keys: BTreeSet<_> = binding.spec.sources.iter().flat_map(Source::secret_keys).collect();
    for upstream in upstreams(binding) {
        keys.extend(upstream.auth_from.iter().map(|from| from.secret_key_ref.clone()));
        keys.extend(upstream.ca_from.iter().filter_map(|from| from.secret_key_ref.clone()));
    }
    keys
}

/// The same of ConfigMaps.
fn config_maps(binding: &CacheBinding) -> BTreeSet<ConfigMapKeyRef> {
    let of_sources = binding.spec.sources.iter().flat_map(Source::config_map_keys);
    let authorities = upstreams(binding).filter_map(|upstream| upstream.ca_from.as_ref());
    of_sources.chain(authorities.filter_map(|from| from.config_map_key_ref.clone())).collect()
}

fn upstreams(binding: &CacheBinding) -> impl Iterator<Item = &Upstream> {
    binding.spec.caches.iter().filter_map(|cache| cache.upstream.as_ref())
}

/// What is given, and defaults for what isn't: requests are never left out, because autoscalers of the pod need all
/// of them, nor is the limit of memory. Its default is `memory × 1.5 + 32Mi` for cached data, its bookkeeping and the
/// rest. A default gives way to what is given, so that no request exceeds its limit.
fn resources(given: ResourcesSpec, memory: u64) -> Value {
    let default = memory / 2 * 3 + (32 << 20);
    let at_most = |amount: u64, limit: Option<u64>| limit.map_or(amount, |limit| amount.min(limit));
    let memory = given.memory;
    let request = memory.request.unwrap_or_else(|| at_most(default, memory.limit));
    let limit = memory.limit.unwrap_or_else(|| default.max(request));
    let cpu = given.cpu.request.unwrap_or_else(|| at_most(10, given.cpu.limit));
    let mut resources = json!({
        "requests": { "cpu": in_cpus(cpu), "memory": in_bytes(request) },
        "limits": { "memory": in_bytes(limit) },
    });
    if let Some(limit) = given.cpu.limit {
        resources["limits"]["cpu"] = json!(in_cpus(limit));
    }
    resources
}

/// Thousandths of a CPU as Kubernetes writes them.
fn in_cpus(thousandths: u64) -> String {
    if thousandths.is_multiple_of(1000) {
        (thousandths / 1000).to_string()
    } else {
        format!("{thousandths}m")
    }
}

/// A number of bytes as Kubernetes writes it.
fn in_bytes(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{}Mi", bytes >> 20) } else { bytes.to_string() }
}

/// 16 hexadecimal digits. Equal values are equal texts: maps are sorted by key.
fn hash(value: &Value) -> String {
    use fmt::Write as _;
    let digest = Sha256::digest(value.to_string());
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

// === impl Injected ===

impl Injected {
    /// In which fields what a pod has differs from what it would get now. A hash that differs without a known field
    /// comes from a version that knew other fields: that is the template's.
    #[must_use]
    pub fn outdated_in(&self, now: &Self) -> BTreeSet<Field> {
        let mut differ: BTreeSet<_> = now
            .fields
            .iter()
            .filter(|(field, hash)| self.fields.get(field) != Some(hash))
            .map(|(field, _)| *field)
            .collect();
        if differ.is_empty() && self.hash != now.hash {
            differ.insert(Field::Template);
        }
        differ
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Resources => "resources",
            Self::StartGate => "startGate",
            Self::Secrets => "secrets",
            Self::Template => "template",
        })
    }
}
