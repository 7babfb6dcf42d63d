//! Step 2: check everything that can go wrong, so that the steps after it can't.

use std::{collections::BTreeSet, fmt};

use freshet_crds::{
    CacheBinding,
    binding::{Binding, CacheSpec, Invalid, SourceSpec, StreamLayout},
    names, topics,
};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource as _, ResourceExt as _};

use super::dereference::Found;
use crate::{
    injection::is_of,
    retention::{Want, plan::written},
    sources::{Target, Unreachable},
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
        let target = found.target(source);
        (name.clone(), target.map(|redis| Target { name, redis, streams: streams(&binding, index, source) }))
    });
    let targets: Vec<(_, Result<Target, Unreachable>)> = targets.collect();
    let wants = binding.sources.iter().enumerate().zip(&targets).map(|((index, source), (_, target))| Want {
        source: source.name.clone(),
        target: target.as_ref().ok().cloned(),
        streams: written(&binding, index, source),
        retention: source.retention,
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
