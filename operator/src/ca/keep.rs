//! Keeping leaf and caBundle current, for as long as the process runs or holds the Lease.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::{
    ByteString, api::admissionregistration::v1::MutatingWebhookConfiguration, jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tokio::sync::watch;

use super::{Leaf, SecretError, SecretStore, bundle};
use crate::{metrics::Metrics, ours};

/// How often the wall clock is looked at. A timer for the exact moment would run on another clock, which stops
/// while a machine sleeps.
const CHECK: Duration = Duration::from_mins(1);
/// How soon after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Keeps this replica's leaf signed by the authority of the moment. Runs until dropped.
pub async fn keep_leaf(
    store: SecretStore,
    hosts: Vec<String>,
    leaf: watch::Sender<Option<Arc<Leaf>>>,
    metrics: Arc<Metrics>,
) {
    loop {
        let pause = match renew_leaf(&store, &hosts, &leaf, &metrics).await {
            Ok(()) => CHECK,
            Err(error) => {
                tracing::warn!(%error, "can't check the webhook's certificate");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn renew_leaf(
    store: &SecretStore,
    hosts: &[String],
    leaf: &watch::Sender<Option<Arc<Leaf>>>,
    metrics: &Metrics,
) -> Result<(), SecretError> {
    let now = Timestamp::now();
    let authorities = store.load(now).await?;
    if leaf.borrow().as_ref().is_none_or(|leaf| leaf.is_due(&authorities, now)) {
        let new = authorities.signer(now).sign(hosts, now)?;
        tracing::info!(not_after = %new.not_after, "signed a new certificate for the webhook");
        metrics.leaf_not_after.set(new.not_after.as_second());
        leaf.send_replace(Some(Arc::new(new)));
    }
    Ok(())
}

/// Keeps the caBundle of the webhook configuration `name`: whenever that changes, and with the wall clock. The object
/// is the chart's; where there is none, injection is switched off and none is made. Runs until dropped; only for the
/// Lease's holder.
pub async fn keep_bundle(client: Client, store: SecretStore, name: String, metrics: Arc<Metrics>) {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client);
    let mut changes = pin!(watcher::watch_object(api.clone(), &name).default_backoff());
    let mut current = None;
    let mut pause = CHECK;
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(object)) => current = object,
                Some(Err(error)) => tracing::warn!(%error, "can't watch the webhook configuration"),
                None => return,
            },
            () = tokio::time::sleep(pause) => {}
        }
        pause = CHECK;
        if let Err(error) = write_bundle(&api, &store, &name, current.as_ref(), &metrics).await {
            tracing::warn!(%error, "can't write the webhook's caBundle");
            pause = RETRY;
        }
    }
}

async fn write_bundle(
    api: &Api<MutatingWebhookConfiguration>,
    store: &SecretStore,
    name: &str,
    current: Option<&MutatingWebhookConfiguration>,
    metrics: &Metrics,
) -> Result<(), SecretError> {
    let now = Timestamp::now();
    let authorities = store.load_renewed(now).await?;
    metrics.ca_not_after.set(authorities.not_after().as_second());
    let Some(current) = current else { return Ok(()) };
    let mut entries = Vec::new();
    let mut differs = false;
    for webhook in current.webhooks.iter().flatten() {
        let has = webhook.client_config.ca_bundle.as_ref().map(|b| b.0.as_slice()).unwrap_or_default();
        let wanted = bundle(&authorities, has, now);
        differs |= wanted != has;
        // Raw, with nothing but what is ours: a typed object would carry null or default fields along.
        entries.push(json!({ "name": webhook.name, "clientConfig": { "caBundle": ByteString(wanted) } }));
    }
    if differs {
        let object = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            // Exactly this object: an apply must not bring back one that was removed meanwhile.
            "metadata": { "name": name, "uid": current.metadata.uid },
            "webhooks": entries,
        });
        api.patch(name, &PatchParams::apply(ours::MANAGER).force(), &Patch::Apply(object)).await?;
        tracing::info!(configuration = name, "wrote the caBundle");
    }
    Ok(())
}
