//! Step 1: fetch what the binding refers to.

use std::collections::BTreeMap;

use freshet_crds::{CacheBinding, SecretKeyRef, names};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt as _};

use crate::sources::Unreachable;

/// What a binding refers to, as it was found.
#[derive(Default)]
pub struct Found {
    /// The ConfigMap under the name of the one to be rendered.
    pub config_map: Option<ConfigMap>,
    /// The URLs that are in Secrets, or why they can't be had. Never to be printed.
    pub urls: BTreeMap<SecretKeyRef, Result<String, Unreachable>>,
}

/// Fetches the ConfigMap and the Secrets.
pub async fn dereference(client: &Client, binding: &CacheBinding) -> Result<Found, kube::Error> {
    let namespace = binding.namespace().unwrap_or_default();
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let name = format!("{}{}", names::CONFIG_MAP_PREFIX, binding.name_any());
    let mut found = Found { config_map: config_maps.get_opt(&name).await?, urls: BTreeMap::new() };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    for source in &binding.spec.sources {
        let Some(from) = source.redis_stream.as_ref().and_then(|redis| redis.url_from.as_ref()) else {
            continue;
        };
        let wanted = &from.secret_key_ref;
        if !found.urls.contains_key(wanted) {
            let secret = secrets.get_opt(&wanted.name).await?;
            found.urls.insert(wanted.clone(), url_in(secret.as_ref(), wanted));
        }
    }
    Ok(found)
}

fn url_in(secret: Option<&Secret>, wanted: &SecretKeyRef) -> Result<String, Unreachable> {
    let secret = secret.ok_or_else(|| Unreachable::NoSecret(wanted.name.clone()))?;
    let value = secret.data.as_ref().and_then(|data| data.get(&wanted.key));
    let text = value.and_then(|bytes| str::from_utf8(&bytes.0).ok());
    // Files and `echo` end in a newline, which no URL does; the sidecar trims it, too.
    text.map(|text| text.trim().to_owned())
        .ok_or_else(|| Unreachable::NoSecretKey(wanted.name.clone(), wanted.key.clone()))
}
