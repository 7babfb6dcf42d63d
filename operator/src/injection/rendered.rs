//! By which spec of a binding its pods are injected: by the one that their sidecars will read.

use freshet_crds::{CacheBinding, binding::Binding, manifest, names};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Resource as _, ResourceExt as _};

use crate::binding::status::ConditionType;

/// Whether the binding is, or soon will be, rendered as it is. Otherwise sidecars keep to what was rendered last.
#[must_use]
pub fn is_accepted(binding: &CacheBinding) -> bool {
    let refused = binding.status.iter().flat_map(|status| &status.conditions).any(|condition| {
        condition.type_ == ConditionType::Accepted.as_str()
            && condition.status == "False"
            && condition.observed_generation == binding.metadata.generation
    });
    !refused && Binding::parse(binding).is_ok()
}

/// The binding as it was rendered last, from the ConfigMap under its name; `None` if that isn't the binding's.
#[must_use]
pub fn last_rendered(config_map: &ConfigMap, binding: &str) -> Option<CacheBinding> {
    if !is_of(config_map, binding) {
        return None;
    }
    let text = config_map.data.as_ref()?.get(names::MANIFEST_FILE)?;
    manifest::read(text).ok().map(|manifest| manifest.object).filter(|object| object.name_any() == binding)
}

/// Whether a ConfigMap belongs to a binding of this name: this one, or an earlier one, which is being collected.
#[must_use]
pub fn is_of(config_map: &ConfigMap, binding: &str) -> bool {
    config_map.owner_references().iter().any(|owner| {
        owner.kind == CacheBinding::kind(&())
            && owner.name == binding
            && owner.api_version.starts_with(names::PREFIX)
    })
}
