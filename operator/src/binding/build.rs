//! Step 3: render the ConfigMap. It can't fail.

use std::collections::BTreeMap;

use freshet_crds::{CacheBinding, names};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::ResourceExt as _;

use super::validate::Validated;
use crate::ours;

/// The ConfigMap from which this binding's sidecars read it.
#[must_use]
pub fn build(validated: &Validated, version: &str) -> ConfigMap {
    let object = &validated.object;
    let metadata = ObjectMeta {
        name: Some(format!("{}{}", names::CONFIG_MAP_PREFIX, object.name_any())),
        namespace: Some(validated.namespace.clone()),
        labels: Some(ours::labels()),
        owner_references: Some(vec![validated.owner.clone()]),
        ..ObjectMeta::default()
    };
    let manifest = manifest(object, version);
    let data = BTreeMap::from([(names::MANIFEST_FILE.to_owned(), manifest)]);
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

/// The binding as a manifest, without what is of no concern to a sidecar.
fn manifest(object: &CacheBinding, version: &str) -> String {
    let mut rendered = CacheBinding::new(&object.name_any(), object.spec.clone());
    // Only the operator removes entries, and a change of it is none of what sidecars follow.
    for source in &mut rendered.spec.sources {
        if let Some(redis) = &mut source.redis_stream {
            redis.retention = None;
        }
    }
    rendered.metadata.namespace.clone_from(&object.metadata.namespace);
    rendered.metadata.generation = object.metadata.generation;
    rendered.metadata.annotations =
        Some(BTreeMap::from([(names::RENDERED_BY.to_owned(), version.to_owned())]));
    // Plain data of our own types: the parse before this has written and read harder things.
    serde_yaml::to_string(&rendered).unwrap_or_default()
}
