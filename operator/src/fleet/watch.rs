//! The two watches that feed the index.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use freshet_crds::names;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use tokio::sync::{mpsc, watch};

use super::{Change, Fleet, Half, Pod, Tally, mistaken::Mistaken};
use crate::{events::Events, injection::Injected};

/// Finished pods don't count, and the API server leaves them out.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// The index, shared between the watches and those who count.
#[derive(Clone)]
pub struct FleetStore {
    fleet: Arc<Mutex<Fleet>>,
    /// Whether each half has been listed once.
    whole: watch::Sender<[bool; 2]>,
}

// === impl FleetStore ===

impl FleetStore {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self { fleet: Arc::default(), whole: watch::Sender::default() }
    }

    /// Counts the pods of a binding; see [`Fleet::tally`].
    #[must_use]
    pub fn tally(&self, namespace: &str, binding: &str, only: bool, now: Option<&Injected>) -> Tally {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner).tally(namespace, binding, only, now)
    }

    /// The sidecars of a binding; see [`Fleet::sidecars`].
    #[must_use]
    pub fn sidecars(&self, namespace: &str, binding: &str) -> BTreeMap<String, SocketAddr> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner).sidecars(namespace, binding)
    }

    /// Waits until both halves have been listed once: before that, counts would be too low.
    pub async fn until_whole(&self) {
        // It can't be closed: we hold the sender.
        let _ = self.whole.subscribe().wait_for(|whole| *whole == [true, true]).await;
    }

    fn apply(&self, half: Half, change: Change) -> std::collections::BTreeSet<String> {
        if matches!(change, Change::Whole) {
            self.whole.send_modify(|whole| whole[half as usize] = true);
        }
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner).apply(half, change)
    }
}

impl Default for FleetStore {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps the index current and sends the namespaces in which something changed. Pods with a mistaken annotation get an
/// Event. Runs until dropped.
pub async fn watch_fleet(client: Client, store: FleetStore, events: Events, touched: mpsc::Sender<String>) {
    let labelled = watcher::Config::default().labels(names::BINDING).fields(UNFINISHED);
    let labelled = watcher::watcher(Api::<core::Pod>::all(client.clone()), labelled);
    let others = watcher::Config::default().labels(&format!("!{}", names::BINDING)).fields(UNFINISHED);
    let others = watcher::watcher(Api::<PartialObjectMeta<core::Pod>>::all(client), others);
    let mut mistaken = Mistaken::default();
    let others = others.inspect_ok(|event| mistaken.look(event, &events));
    tokio::join!(
        follow(labelled, Half::Labelled, Pod::labelled, &store, &touched),
        follow(others, Half::Others, |pod| Pod::other(&pod.metadata), &store, &touched),
    );
}

async fn follow<K: Resource>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    half: Half,
    read: impl Fn(&K) -> Option<Pod>,
    store: &FleetStore,
    touched: &mpsc::Sender<String>,
) {
    let names = |pod: &K| (pod.namespace().unwrap_or_default(), pod.name_any());
    let mut events = std::pin::pin!(events.default_backoff());
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(Event::Init) => Change::Begin,
            Ok(Event::InitApply(pod)) => {
                let (namespace, name) = names(&pod);
                Change::Listed(namespace, name, read(&pod))
            }
            Ok(Event::InitDone) => Change::Whole,
            Ok(Event::Apply(pod)) => {
                let (namespace, name) = names(&pod);
                Change::Pod(namespace, name, read(&pod))
            }
            Ok(Event::Delete(pod)) => {
                let (namespace, name) = names(&pod);
                Change::Pod(namespace, name, None)
            }
            Err(error) => {
                tracing::warn!(%error, ?half, "can't watch pods");
                continue;
            }
        };
        for namespace in store.apply(half, change) {
            if touched.send(namespace).await.is_err() {
                return;
            }
        }
    }
}
