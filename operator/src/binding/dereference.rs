//! Step 1: fetch what the binding refers to.

use std::collections::BTreeMap;

use freshet_connect::{Certificates, ConnectError, Target};
use freshet_crds::{
    CacheBinding, ConfigMapKeyRef,
    binding::{CaSpec, SourceSpec, StreamLayout, UrlSpec},
    names,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt as _};

use crate::sources::Unreachable;

/// What a binding refers to, as it was found.
#[derive(Default)]
pub struct Found {
    /// The ConfigMap under the name of the one to be rendered.
    pub config_map: Option<ConfigMap>,
    /// The Secrets by name, where they are there. Never to be printed.
    pub secrets: BTreeMap<String, Option<Secret>>,
    /// The ConfigMaps with certificates of authorities by name, where they are there.
    pub authorities: BTreeMap<String, Option<ConfigMap>>,
}

/// Fetches the ConfigMaps and the Secrets.
pub async fn dereference(client: &Client, binding: &CacheBinding) -> Result<Found, kube::Error> {
    let namespace = binding.namespace().unwrap_or_default();
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let mut found = Found { config_map: rendered(client, binding).await?, ..Found::default() };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    for redis in binding.spec.sources.iter().filter_map(|source| source.redis_stream.as_ref()) {
        let url = redis.url_from.as_ref().map(|from| &from.secret_key_ref.name);
        let ca = redis.ca_from.as_ref();
        let ca_secret = ca.and_then(|from| from.secret_key_ref.as_ref()).map(|from| &from.name);
        let client = redis.client_certificate_from.as_ref().map(|from| &from.secret_ref.name);
        for name in url.into_iter().chain(ca_secret).chain(client) {
            if !found.secrets.contains_key(name) {
                found.secrets.insert(name.clone(), secrets.get_opt(name).await?);
            }
        }
        if let Some(from) = ca.and_then(|from| from.config_map_key_ref.as_ref())
            && !found.authorities.contains_key(&from.name)
        {
            found.authorities.insert(from.name.clone(), config_maps.get_opt(&from.name).await?);
        }
    }
    Ok(found)
}

/// Fetches the ConfigMap under the name of the one to be rendered.
pub async fn rendered(
    client: &Client,
    binding: &impl kube::ResourceExt,
) -> Result<Option<ConfigMap>, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &binding.namespace().unwrap_or_default());
    api.get_opt(&format!("{}{}", names::CONFIG_MAP_PREFIX, binding.name_any())).await
}

impl Found {
    /// Where this source is, with everything that was read for it.
    pub fn target(&self, source: &SourceSpec) -> Result<Target, Unreachable> {
        let text = match &source.url {
            UrlSpec::Plain(_) => String::new(),
            UrlSpec::Secret(from) => String::from_utf8(self.secret(&from.name, &from.key)?)
                .map_err(|_| Unreachable::NoSecretKey(from.name.clone(), from.key.clone()))?,
        };
        // What is wrong with what is mounted is told before what is wrong with the connection.
        let authorities = match &source.tls.ca {
            None => None,
            Some(CaSpec::Secret(from)) => Some(self.secret(&from.name, &from.key)?),
            Some(CaSpec::ConfigMap(from)) => Some(self.authorities(from)?),
        };
        let client = match &source.tls.client_certificate {
            None => None,
            Some(name) => {
                Some((self.secret(name, names::TLS_CERTIFICATE)?, self.secret(name, names::TLS_KEY)?))
            }
        };
        let stream = match &source.layout {
            StreamLayout::Routed { stream } => Some(stream.clone()),
            StreamLayout::PerTable { .. } => None,
        };
        let url = source.url(|| text).map_err(ConnectError::from)?;
        Ok(Target { url, certificates: Certificates { authorities, client }, stream })
    }

    fn secret(&self, name: &str, key: &str) -> Result<Vec<u8>, Unreachable> {
        let secret = self.secrets.get(name).and_then(Option::as_ref);
        let secret = secret.ok_or_else(|| Unreachable::NoSecret(name.to_owned()))?;
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        value
            .map(|bytes| bytes.0.clone())
            .ok_or_else(|| Unreachable::NoSecretKey(name.to_owned(), key.to_owned()))
    }

    fn authorities(&self, from: &ConfigMapKeyRef) -> Result<Vec<u8>, Unreachable> {
        let map = self.authorities.get(&from.name).and_then(Option::as_ref);
        let map = map.ok_or_else(|| Unreachable::NoConfigMap(from.name.clone()))?;
        let text =
            map.data.as_ref().and_then(|data| data.get(&from.key)).map(|text| text.clone().into_bytes());
        let bytes =
            || map.binary_data.as_ref().and_then(|data| data.get(&from.key)).map(|bytes| bytes.0.clone());
        text.or_else(bytes).ok_or_else(|| Unreachable::NoConfigMapKey(from.name.clone(), from.key.clone()))
    }
}
