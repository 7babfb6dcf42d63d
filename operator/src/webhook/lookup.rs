//! Finding the binding that a pod asks for, also when it comes a moment later than the pod.

use std::time::Duration;

use freshet_crds::{CacheBinding, names};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt as _,
    api::ListParams,
    runtime::reflector::{ObjectRef, Store},
};
use tokio::time::sleep;

use crate::{
    binding::Guarded,
    injection::{Ask, Skip, SkipReason, is_accepted, last_rendered, resolve},
};

/// How long a pod waits for its binding: one `kubectl apply -f folder` or `helm install` makes both, in any order.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the watched bindings are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// How often the API server is asked meanwhile.
const ASK: Duration = Duration::from_secs(1);
/// How long the API server has for telling what was rendered last.
const RENDERED: Duration = Duration::from_secs(2);

/// The bindings, as watched and as the API server has them.
#[derive(Clone)]
pub struct Bindings {
    /// What the watch has told.
    pub watched: Store<Guarded>,
    /// For what it hasn't told yet.
    pub client: Client,
}

// === impl Bindings ===

impl Bindings {
    /// The binding that is asked for, in the pod's namespace.
    pub async fn find(&self, namespace: &str, ask: &Ask) -> Result<CacheBinding, Skip> {
        let missing = match self.in_watched(namespace, ask) {
            Err(skip) if skip.reason == SkipReason::BindingNotFound => skip,
            found => return found,
        };
        tracing::debug!(namespace, ?ask, "waiting for a binding");
        let watching = async {
            loop {
                sleep(LOOK).await;
                match self.in_watched(namespace, ask) {
                    Err(skip) if skip.reason == SkipReason::BindingNotFound => {}
                    found => return found,
                }
            }
        };
        // The watch may be behind, or broken.
        let asking = async {
            loop {
                if let Some(found) = self.live(namespace, ask).await {
                    return found;
                }
                sleep(ASK).await;
            }
        };
        tokio::select! {
            found = watching => found,
            found = asking => found,
            () = sleep(PATIENCE) => {
                let message = format!("{}, also not after {} s", missing.message, PATIENCE.as_secs());
                Err(Skip::new(SkipReason::BindingNotFound, message))
            }
        }
    }

    /// The binding as its sidecars will read it: as it is, or as it was rendered last if this version of it isn't
    /// accepted.
    pub async fn as_rendered(&self, namespace: &str, binding: CacheBinding) -> CacheBinding {
        if is_accepted(&binding) {
            return binding;
        }
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let name = format!("{}{}", names::CONFIG_MAP_PREFIX, binding.name_any());
        let found = match tokio::time::timeout(RENDERED, api.get_opt(&name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(%error, name, "can't read what was rendered last");
                None
            }
            Err(_) => {
                tracing::warn!(name, "can't read what was rendered last in time");
                None
            }
        };
        let rendered = found.and_then(|config_map| last_rendered(&config_map, &binding.name_any()));
        rendered.unwrap_or(binding)
    }

    fn in_watched(&self, namespace: &str, ask: &Ask) -> Result<CacheBinding, Skip> {
        if let Ask::Named(name) = ask {
            let found = self.watched.get(&ObjectRef::new(name).within(namespace));
            return chosen(ask, found.into_iter().map(|object| (*object).clone()));
        }
        let there = self.watched.state_filter(|object| object.namespace().as_deref() == Some(namespace));
        chosen(ask, there.into_iter().map(|object| (*object).clone()))
    }

    /// `None` if there is none, or the API server doesn't say.
    async fn live(&self, namespace: &str, ask: &Ask) -> Option<Result<CacheBinding, Skip>> {
        let api: Api<Guarded> = Api::namespaced(self.client.clone(), namespace);
        let there = match ask {
            Ask::Named(name) => api.get_opt(name).await.map(|found| found.into_iter().collect()),
            _ => api.list(&ListParams::default().limit(2)).await.map(|list| list.items),
        };
        match there {
            Ok(there) if there.is_empty() => None,
            Ok(there) => Some(chosen(ask, there.into_iter())),
            Err(error) => {
                tracing::warn!(%error, "can't look the binding up");
                None
            }
        }
    }
}

/// The one that is asked for, if it can be read.
fn chosen(ask: &Ask, there: impl Iterator<Item = Guarded>) -> Result<CacheBinding, Skip> {
    let mut readable = Vec::new();
    for object in there {
        match object.0 {
            Ok(binding) => readable.push(binding),
            Err(invalid) => {
                let name = invalid.metadata.name.unwrap_or_default();
                let message = format!("CacheBinding {name} can't be read by this version: {}", invalid.error);
                return Err(Skip::new(SkipReason::InvalidBinding, message));
            }
        }
    }
    resolve(ask, readable)
}
