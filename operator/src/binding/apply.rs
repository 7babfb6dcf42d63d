//! Step 4: make the cluster hold what was built.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::ours;

/// Creates the ConfigMap, or changes the one that is there if it differs. A conflict with someone else's write is an
/// error, after which all of it is looked at again.
pub async fn apply(
    client: &Client,
    namespace: &str,
    there: Option<&ConfigMap>,
    wanted: &ConfigMap,
) -> Result<(), kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let Some(there) = there else {
        let parameters = PostParams { field_manager: Some(ours::MANAGER.into()), ..PostParams::default() };
        return api.create(&parameters, wanted).await.map(drop);
    };
    let Some(change) = change(there, wanted) else { return Ok(()) };
    let name = wanted.metadata.name.as_deref().unwrap_or_default();
    let parameters = PatchParams { field_manager: Some(ours::MANAGER.into()), ..PatchParams::default() };
    api.patch(name, &parameters, &Patch::Merge(change)).await.map(drop)
}

/// The change that makes `there` hold what is wanted, for exactly the version that was read; what others have put
/// there stays, except owners: an earlier binding of the same name may be one of them.
fn change(there: &ConfigMap, wanted: &ConfigMap) -> Option<serde_json::Value> {
    let holds = |has: Option<&std::collections::BTreeMap<String, String>>,
                 wants: Option<&std::collections::BTreeMap<String, String>>| {
        wants.into_iter().flatten().all(|(key, value)| has.and_then(|has| has.get(key)) == Some(value))
    };
    let (has, wants) = (&there.metadata, &wanted.metadata);
    if holds(there.data.as_ref(), wanted.data.as_ref())
        && holds(has.labels.as_ref(), wants.labels.as_ref())
        && has.owner_references == wants.owner_references
    {
        return None;
    }
    Some(json!({
        "metadata": {
            "resourceVersion": has.resource_version,
            "labels": wants.labels,
            "ownerReferences": wants.owner_references,
        },
        "data": wanted.data,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_map(value: serde_json::Value) -> ConfigMap {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_what_differs_is_written() {
        let owner = |uid: &str| json!([{ "apiVersion": "v", "kind": "k", "name": "n", "uid": uid }]);
        let wanted = config_map(json!({
            "metadata": { "labels": { "a": "1" }, "ownerReferences": owner("new") },
            "data": { "binding.yaml": "x" },
        }));
        let mut there = config_map(json!({
            "metadata": {
                "resourceVersion": "7", "labels": { "a": "1", "b": "2" }, "ownerReferences": owner("new"),
            },
            "data": { "binding.yaml": "x", "other": "y" },
        }));
        assert_eq!(change(&there, &wanted), None, "what others have put there is no difference");
        there.data.as_mut().unwrap().insert("binding.yaml".into(), "z".into());
        assert_eq!(change(&there, &wanted).unwrap()["metadata"]["resourceVersion"], "7");
        there.data.clone_from(&wanted.data);
        there.metadata.owner_references = serde_json::from_value(owner("old")).unwrap();
        assert_eq!(change(&there, &wanted).unwrap()["metadata"]["ownerReferences"][0]["uid"], "new");
    }
}
