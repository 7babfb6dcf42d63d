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

use super::{Context, Guarded, ReconcileError, pace::paced, reconcile, wants};
use crate::{
    errors::is_conflict,
    events::Events,
    fleet::{FleetStore, watch_fleet},
    injection::Defaults,
    metrics::Metrics,
    ours, retention, survey,
};

/// The least time between two looks at a namespace because of its pods.
const PAUSE: Duration = Duration::from_secs(1);
/// Bindings reconciled at the same time: a source that doesn't answer holds up its own binding only.
const CONCURRENCY: u16 = 16;
/// Namespaces that wait for being looked at; the watches wait with them.
const TOUCHED: usize = 1024;

/// Reconciles all bindings until dropped. Only for the Lease's holder.
pub async fn run(client: Client, defaults: Defaults, events: Events, metrics: Arc<Metrics>) {
    let fleet = FleetStore::new();
    let (touch, touched) = mpsc::channel(TOUCHED);
    let watching = watch_fleet(client.clone(), fleet.clone(), events.clone(), touch.clone());
    let reconciling = async {
        // Before all pods are known, every count would be too low.
        fleet.until_whole().await;
        let touching = (touch, touched);
        reconcile_all(client, defaults, fleet.clone(), events, metrics, touching).await;
    };
    // Each runs for good: a leader of which one has ended would do nothing and say nothing.
    tokio::select! {
        () = watching => {}
        () = reconciling => {}
    }
}

async fn reconcile_all(
    client: Client,
    defaults: Defaults,
    fleet: FleetStore,
    events: Events,
    metrics: Arc<Metrics>,
    (touch, touched): (mpsc::Sender<String>, mpsc::Receiver<String>),
) {
    let (bindings, writer) = reflector::store();
    let context = Arc::new(Context::new(client.clone(), bindings.clone(), defaults, fleet, events, metrics));
    let changes = watcher(Api::<Guarded>::all(client.clone()), watcher::Config::default());
    let changes = reflector::reflector(writer, changes).default_backoff().touched_objects();
    let changes = changes.map_ok(|binding| ObjectRef::from(&binding));
    let rendered = watcher::Config::default().labels(&format!("{}={}", ours::MANAGED_BY, ours::MANAGER));
    let rendered = watcher(Api::<PartialObjectMeta<ConfigMap>>::all(client), rendered);
    let rendered = rendered.default_backoff().touched_objects();
    let rendered = rendered.try_filter_map(|config_map| async move { Ok(owner(&config_map)) });
    let queue = stream::select(stream::select(changes, rendered), in_touched(touched, bindings.clone()));
    let there = bindings.clone();
    // One that is being deleted isn't reconciled anymore.
    let stays = |binding: &Guarded| binding.meta().deletion_timestamp.is_none();
    let by_uid = || {
        let staying = there.state_filter(stays);
        staying.iter().filter_map(|binding| Some((binding.uid()?, wants::there(binding)))).collect()
    };
    let trimming = retention::keep(&context.ledger, by_uid, &context.metrics);
    let surveying = survey::keep(&context.survey, &touch, &context.metrics);
    let mut done = pin!(applier(
        |object, context| reconcile(object, context).boxed(),
        error_policy,
        Arc::clone(&context),
        bindings,
        queue,
        config(),
    ));
    let reconciling = async {
        while let Some(done) = done.next().await {
            match done {
                Ok((binding, _)) => tracing::debug!(%binding, "reconciled"),
                // It was removed, and nothing else would make its pods be counted no more.
                Err(controller::Error::ObjectNotFound(_)) => context.count_what_is_left(),
                Err(error) => tracing::warn!(%error, "can't reconcile"),
            }
        }
    };
    tokio::select! {
        () = reconciling => {}
        () = trimming => {}
        () = surveying => {}
    }
}

/// Without kube's debounce: it puts a run off with each new request, so that pods that come and go faster than it
/// lasts would keep their bindings from ever being looked at.
fn config() -> controller::Config {
    controller::Config::default().debounce(Duration::ZERO).concurrency(CONCURRENCY)
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
    paced(touched, PAUSE)
        .map(move |namespace| {
            let there = bindings.state_filter(|binding| binding.namespace().as_deref() == Some(&namespace));
            let refs = there.iter().map(|binding| Ok(ObjectRef::from(binding.as_ref())));
            stream::iter(refs.collect::<Vec<_>>())
        })
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicU32, Ordering},
    };

    use freshet_crds::manifest;
    use kube::{core::DeserializeGuard, runtime::watcher::Event};

    use super::*;

    /// A Job's pods come and go some ten times a second; its binding is looked at all the same, and not each time.
    #[tokio::test(start_paused = true)]
    async fn pods_that_come_and_go_do_not_starve_their_binding() {
        let (bindings, mut writer) = reflector::store();
        let mut binding = manifest::read(include_str!("../../../crds/tests/shop.yaml")).unwrap().object;
        binding.metadata.namespace = Some("shop".into());
        for event in [Event::Init, Event::InitApply(DeserializeGuard(Ok(binding))), Event::InitDone] {
            writer.apply_watcher_event(&event);
        }
        let (touch, touched) = mpsc::channel(TOUCHED);
        let churn = async {
            for _ in 0..600 {
                touch.send("shop".to_owned()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let runs = Arc::new(AtomicU32::new(0));
        let reconcile = |_: Arc<Guarded>, runs: Arc<AtomicU32>| {
            runs.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok::<_, Infallible>(Action::await_change()))
        };
        let queue = in_touched(touched, bindings.clone());
        let never = |_: Arc<Guarded>, error: &Infallible, _: Arc<AtomicU32>| match *error {};
        let reconciling = applier(reconcile, never, Arc::clone(&runs), bindings, queue, config());
        tokio::select! {
            () = churn => {}
            () = reconciling.for_each(|_| std::future::ready(())) => {}
        }
        let runs = runs.load(Ordering::Relaxed);
        assert!((55..=62).contains(&runs), "{runs} runs in a minute");
    }
}
