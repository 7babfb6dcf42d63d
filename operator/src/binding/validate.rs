//! Step 2: check everything that can go wrong, so that the steps after it can't.

use std::{collections::BTreeSet, fmt};

use freshet_crds::{
    CacheBinding, OnChange,
    binding::{Binding, CacheSpec, Invalid, SourceSpec, StreamLayout},
    names, topics,
};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource as _, ResourceExt as _};

use super::dereference::Found;
use crate::{
    injection::is_of,
    retention::{
        Want,
        plan::{trimmed, written},
    },
    sources::{Target, Unreachable, Uses},
    survey::Tables,
};

/// A binding that can be rendered.
pub struct Validated {
    /// The object as it was applied.
    pub object: CacheBinding,
    /// Who owns what is rendered.
    pub owner: OwnerReference,
    /// The namespace of all this.
    pub namespace: String,
    /// The ConfigMap that is there, ours or left by a binding of the same name.
    pub config_map: Option<ConfigMap>,
    /// The sources to probe, or why they can't be probed.
    pub targets: Vec<(String, Result<Target, Unreachable>)>,
    /// What is to be removed from the sources' streams.
    pub wants: Vec<Want>,
    /// The tables that its caches use.
    pub tables: Tables,
}

/// Why a binding is not rendered. What was rendered before stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It isn't a binding that this version can read.
    Unreadable(String),
    /// Its spec has faults.
    Invalid(Vec<Invalid>),
    /// The ConfigMap's name is taken by one that isn't ours.
    ConfigMapTaken(String),
    /// The API server refuses what rendering takes: its sentence.
    RenderFailed(String),
}

/// Checks the binding and what it refers to.
pub fn validate(object: &CacheBinding, found: Found) -> Result<Validated, Rejected> {
    let binding = Binding::parse(object).map_err(Rejected::Invalid)?;
    let owner =
        object.controller_owner_ref(&()).ok_or_else(|| Rejected::Unreadable("it has no uid".into()))?;
    if let Some(config_map) = &found.config_map
        && !is_of(config_map, &owner.name)
    {
        return Err(Rejected::ConfigMapTaken(config_map.name_any()));
    }
    let targets = binding.sources.iter().enumerate().map(|(index, source)| {
        let name = source.name.clone();
        let target = found.access(source);
        (
            name.clone(),
            target.map(|access| Target {
                name,
                access,
                streams: streams(&binding, index, source),
                tables: tables(&binding, index),
                uses: uses(&binding, index),
            }),
        )
    });
    let targets: Vec<(_, Result<Target, Unreachable>)> = targets.collect();
    let wants = trimmed(&binding).map(|(index, source, redis)| Want {
        source: source.name.clone(),
        target: targets[index].1.as_ref().ok().and_then(|target| target.access.redis().cloned()),
        streams: written(&binding, index, source),
        retention: redis.retention,
    });
    let tables =
        binding.caches.iter().map(|cache| (cache.name.clone(), cache.tables().map(str::to_owned).collect()));
    Ok(Validated {
        wants: wants.collect(),
        tables: tables.collect(),
        targets,
        namespace: object.namespace().unwrap_or_default(),
        config_map: found.config_map,
        object: object.clone(),
        owner,
    })
}

/// The streams that sidecars follow for this source.
fn streams(binding: &Binding, index: usize, source: &SourceSpec) -> BTreeSet<String> {
    match &source.layout {
        StreamLayout::Routed { stream } => BTreeSet::from([stream.clone()]),
        StreamLayout::PerTable { prefix } => {
            let caches = binding.caches.iter().filter(|cache| cache.source == index);
            let tables = caches.flat_map(CacheSpec::tables);
            tables.map(|table| topics::of_table(prefix, table)).collect()
        }
    }
}

/// The tables that the caches of this source name.
fn tables(binding: &Binding, index: usize) -> BTreeSet<String> {
    let caches = binding.caches.iter().filter(|cache| cache.source == index);
    caches.flat_map(CacheSpec::tables).map(str::to_owned).collect()
}

/// What the caches of this source take of it, all together.
fn uses(binding: &Binding, index: usize) -> Uses {
    let caches = binding.caches.iter().filter(|cache| cache.source == index);
    let of = |cache: &CacheSpec| match cache.on_change {
        _ if cache.warm_start => Uses::History,
        OnChange::Hydrate => Uses::Values,
        OnChange::Invalidate => Uses::Keys,
    };
    caches.map(of).max().unwrap_or_default()
}

// === impl Rejected ===

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "this operator can't read it: {why}"),
            Self::Invalid(faults) => {
                f.write_str(&faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
            Self::ConfigMapTaken(name) => write!(
                f,
                "there is a ConfigMap {name} that isn't this binding's ({}<binding> is rendered by Freshet): remove \
                 it or rename the binding",
                names::CONFIG_MAP_PREFIX
            ),
            Self::RenderFailed(says) => write!(f, "the API server refuses to have it rendered: {says}"),
        }
    }
}
