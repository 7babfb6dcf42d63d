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

use super::{Authorities, Leaf, SecretError, SecretStore, Trust, bundle};
use crate::{metrics::Metrics, ours};

/// How often Secret, webhook configuration and wall clock are looked at. A timer for the exact moment of a renewal
/// would run on another clock, which stops while a machine sleeps.
const CHECK: Duration = Duration::from_secs(5);
/// How soon it is looked again after a failure, or while the API server doesn't trust what we have.
const RETRY: Duration = Duration::from_secs(1);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(10);

/// The certificate that a replica serves with.
#[derive(Clone, Debug, Default)]
pub struct Serving {
    /// The leaf, once one could be signed.
    pub leaf: Option<Arc<Leaf>>,
    /// Whether the API server takes it, as far as the webhook configuration tells.
    pub trusted: bool,
}

/// Keeps this replica's leaf signed by an authority that the webhook configuration `name` has in its caBundle. Runs
/// until dropped.
pub async fn keep_leaf(
    client: Client,
    store: SecretStore,
    name: String,
    hosts: Vec<String>,
    serving: watch::Sender<Serving>,
    metrics: Arc<Metrics>,
) {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client);
    let mut trust = Trust::default();
    loop {
        let look = async {
            let now = Timestamp::now();
            let authorities = store.load(now).await?;
            trust.see(api.get_opt(&name).await?.as_ref(), now);
            renew_leaf(&authorities, &trust, &hosts, &serving, &metrics, now)
        };
        let looked = tokio::time::timeout(LOOK, look).await;
        match &looked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "can't check the webhook's certificate"),
            Err(_) => tracing::warn!("can't check the webhook's certificate in time"),
        }
        let fine = matches!(looked, Ok(Ok(()))) && serving.borrow().trusted;
        tokio::time::sleep(if fine { CHECK } else { RETRY }).await;
    }
}

fn renew_leaf(
    authorities: &Authorities,
    trust: &Trust,
    hosts: &[String],
    serving: &watch::Sender<Serving>,
    metrics: &Metrics,
    now: Timestamp,
) -> Result<(), SecretError> {
    let mut leaf = serving.borrow().leaf.clone();
    if let Some(signer) = trust.next_signer(authorities, leaf.as_deref(), now) {
        let new = signer.sign(hosts, now)?;
        tracing::info!(not_after = %new.not_after, "signed a new certificate for the webhook");
        metrics.leaf_not_after.set(new.not_after.as_second());
        leaf = Some(Arc::new(new));
    }
    let trusted = leaf.as_ref().is_some_and(|leaf| trust.trusts(leaf, now));
    let was = serving.send_replace(Serving { leaf, trusted });
    if was.trusted && !trusted {
        tracing::warn!("the webhook's certificate is not in the caBundle anymore");
    }
    Ok(())
}

/// Keeps the caBundle of the webhook configuration `name`: whenever that changes, and with Secret and clock. The object
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
        let writing = write_bundle(&api, &store, &name, current.as_ref(), &metrics);
        match tokio::time::timeout(LOOK, writing).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => tracing::warn!(%error, "can't write the webhook's caBundle"),
            Err(_) => tracing::warn!("can't write the webhook's caBundle in time"),
        }
        pause = RETRY;
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
    metrics.ca_not_after(authorities.not_after());
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
