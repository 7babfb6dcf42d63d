//! What makes a binding be reconciled: itself, its ConfigMap, the pods of its namespace, and time.

use std::{pin::pin, sync::Arc, time::Duration};

use freshet_crds::CacheBinding;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _, applier,
        controller::{self, Action},
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use tokio::sync::mpsc;

use super::{Context, Guarded, ReconcileError, reconcile};
use crate::{
    errors::is_conflict,
    events::Events,
    fleet::{FleetStore, watch_fleet},
    injection::Defaults,
    metrics::Metrics,
    ours,
};

/// Requests for one binding within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// Bindings reconciled at the same time: a source that doesn't answer holds up its own binding only.
const CONCURRENCY: u16 = 16;
/// Namespaces that wait for being looked at; the watches wait with them.
const TOUCHED: usize = 1024;

/// Reconciles all bindings until dropped. Only for the Lease's holder.
pub async fn run(client: Client, defaults: Defaults, events: Events, metrics: Arc<Metrics>) {
    let fleet = FleetStore::new();
    let (touch, touched) = mpsc::channel(TOUCHED);
    let watching = watch_fleet(client.clone(), fleet.clone(), touch);
    let reconciling = async {
        // Before all pods are known, every count would be too low.
        fleet.until_whole().await;
        reconcile_all(client, defaults, fleet.clone(), events, metrics, touched).await;
    };
    tokio::join!(watching, reconciling);
}

async fn reconcile_all(
    client: Client,
    defaults: Defaults,
    fleet: FleetStore,
    events: Events,
    metrics: Arc<Metrics>,
    touched: mpsc::Receiver<String>,
) {
    let (bindings, writer) = reflector::store();
    let context = Context::new(client.clone(), bindings.clone(), defaults, fleet, events, metrics);
    let changes = watcher(Api::<Guarded>::all(client.clone()), watcher::Config::default());
    let changes = reflector::reflector(writer, changes).default_backoff().touched_objects();
    let changes = changes.map_ok(|binding| ObjectRef::from(&binding));
    let rendered = watcher::Config::default().labels(&format!("{}={}", ours::MANAGED_BY, ours::MANAGER));
    let rendered = watcher(Api::<PartialObjectMeta<ConfigMap>>::all(client), rendered);
    let rendered = rendered.default_backoff().touched_objects();
    let rendered = rendered.try_filter_map(|config_map| async move { Ok(owner(&config_map)) });
    let queue = stream::select(stream::select(changes, rendered), in_touched(touched, bindings.clone()));
    let config = controller::Config::default().debounce(DEBOUNCE).concurrency(CONCURRENCY);
    let mut done = pin!(applier(
        |object, context| reconcile(object, context).boxed(),
        error_policy,
        Arc::new(context),
        bindings,
        queue,
        config,
    ));
    while let Some(done) = done.next().await {
        match done {
            Ok((binding, _)) => tracing::debug!(%binding, "reconciled"),
            // It was removed while its turn came.
            Err(controller::Error::ObjectNotFound(_)) => {}
            Err(error) => tracing::warn!(%error, "can't reconcile"),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "this is how the applier calls it")]
fn error_policy(_: Arc<Guarded>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let (reason, pause) = match error {
        ReconcileError::Api(error) if is_conflict(error) => ("conflict", Duration::from_millis(500)),
        ReconcileError::Api(_) => ("api", Duration::from_secs(10)),
        ReconcileError::Timeout => ("timeout", Duration::from_secs(10)),
    };
    context.metrics.reconcile_failure(reason);
    Action::requeue(pause)
}

/// The binding that a ConfigMap was rendered for.
fn owner(config_map: &PartialObjectMeta<ConfigMap>) -> Option<ObjectRef<Guarded>> {
    let owner = config_map.owner_references().iter().find(|owner| owner.kind == CacheBinding::kind(&()))?;
    Some(ObjectRef::new(&owner.name).within(&config_map.namespace()?))
}

/// All bindings of the namespaces in which pods have changed.
fn in_touched(
    touched: mpsc::Receiver<String>,
    bindings: Store<Guarded>,
) -> impl Stream<Item = Result<ObjectRef<Guarded>, watcher::Error>> {
    stream::unfold(touched, |mut touched| async { Some((touched.recv().await?, touched)) })
        .map(move |namespace| {
            let there = bindings.state_filter(|binding| binding.namespace().as_deref() == Some(&namespace));
            let refs = there.iter().map(|binding| Ok(ObjectRef::from(binding.as_ref())));
            stream::iter(refs.collect::<Vec<_>>())
        })
        .flatten()
}
