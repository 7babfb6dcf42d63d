//! `freshet-operator run`: what runs in every replica, what only with the Lease, and how all of it ends.
//!
//! ```text
//! every replica:  watch bindings ─► store ─► webhook       keep the leaf ─► TLS       health and metrics
//! with the Lease: watch bindings, pods, ConfigMaps ─► reconcile ─► ConfigMap, status      keep the caBundle
//! ```

use std::{future::pending, io, net::SocketAddr, sync::Arc, time::Duration};

use futures::StreamExt as _;
use kube::{
    Api, Client, Config,
    runtime::{
        WatchStreamExt as _, reflector,
        reflector::store::Writer,
        watcher::{self, watcher},
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::{JoinError, JoinSet},
};

use crate::{
    args::Run,
    binding::{self, Guarded},
    ca::{SecretStore, Serving, keep_bundle, keep_leaf},
    events::{self, Events},
    health::Health,
    injection::Defaults,
    lease::keep_lease,
    metrics::Metrics,
    serve::{listen, serve},
    webhook::{self, Bindings, Webhook},
};

/// Our version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long the webhook goes on after being told to end: until no API server sends anything here anymore, which a
/// Service's endpoints take a moment to tell.
const LINGER: Duration = Duration::from_secs(5);

/// Why the operator stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No cluster is configured.
    #[error("no cluster: {0}")]
    NoCluster(#[from] kube::config::InferConfigError),
    /// The client can't be made.
    #[error("the client: {0}")]
    Client(#[from] kube::Error),
    /// The system refuses something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An address is taken.
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// TLS can't be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A part that should run for good has ended.
    #[error("a part of the operator has ended: {0}")]
    Part(String),
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(settings: Run) -> Result<(), RunError> {
    let Run {
        namespace,
        pod_name,
        lease,
        ca_secret,
        webhook_listen,
        webhook_hosts,
        webhook_configuration,
        health_listen,
        sidecar_image,
        sidecar_image_pull_policy,
        sidecar_image_pull_secrets,
        log: _,
        log_format: _,
    } = settings;
    tracing::info!(version = VERSION, namespace, pod_name, sidecar_image, "starting");
    let defaults = Defaults {
        version: VERSION.into(),
        image: sidecar_image,
        pull_policy: sidecar_image_pull_policy.as_str().into(),
        pull_secrets: sidecar_image_pull_secrets.into_iter().filter(|name| !name.is_empty()).collect(),
    };
    let listening =
        |address| async move { listen(address).await.map_err(|error| RunError::Listen(address, error)) };
    let (webhook_listener, health_listener) =
        (listening(webhook_listen).await?, listening(health_listen).await?);
    let client = Client::try_from(Config::infer().await?)?;
    let metrics = Arc::new(Metrics::new(VERSION));
    let (events, waiting) = Events::new(Arc::clone(&metrics));
    let store = SecretStore::new(client.clone(), &namespace, &ca_secret);
    let (serving, is_serving) = watch::channel(Serving::default());
    let (listed, is_listed) = watch::channel(false);
    let (leading, is_leading) = watch::channel(false);
    // Two stages: first the Lease is given up and the webhook lingers, then everything ends.
    let (stopping, is_stopping) = watch::channel(false);
    let (ending, is_ending) = watch::channel(false);

    let mut parts = JoinSet::new();
    let (watched, writer) = reflector::store();
    parts.spawn(named("bindings", watch_bindings(client.clone(), writer, listed)));
    let leaf = keep_leaf(
        client.clone(),
        store.clone(),
        webhook_configuration.clone(),
        webhook_hosts,
        serving,
        Arc::clone(&metrics),
    );
    parts.spawn(named("leaf", leaf));
    parts.spawn(named("events", events::publish(client.clone(), pod_name.clone(), waiting)));
    let leader = Leader {
        client: client.clone(),
        defaults: defaults.clone(),
        events: events.clone(),
        metrics: Arc::clone(&metrics),
        store,
        configuration: webhook_configuration,
    };
    parts.spawn(named("leader", leader.run(is_leading)));

    let mut servers = JoinSet::new();
    let tls = webhook::acceptor(is_serving.clone())?;
    let bindings = Bindings { watched, client: client.clone() };
    let webhook = Arc::new(Webhook { bindings, defaults, events, metrics: Arc::clone(&metrics) });
    let answer = move |request| Arc::clone(&webhook).answer(request);
    servers.spawn(named("webhook", serve(webhook_listener, Some(tls), answer, is_ending.clone())));
    let health = Health { serving: is_serving, listed: is_listed, stopping: is_stopping.clone(), metrics };
    let answer = move |request| std::future::ready(health.answer(&request));
    servers.spawn(named("health", serve(health_listener, None, answer, is_ending)));
    // A set of its own, because it ends before the others.
    let mut holding = JoinSet::new();
    let keeping = keep_lease(client, namespace, lease, pod_name, leading, is_stopping);
    holding.spawn(named("lease", keeping));

    let ended = |ended: Result<&'static str, JoinError>| {
        Err(RunError::Part(ended.map_or_else(|error| error.to_string(), str::to_owned)))
    };
    let stopped = tokio::select! {
        signal = terminated() => signal.map_err(RunError::from),
        Some(part) = parts.join_next() => ended(part),
        Some(part) = servers.join_next() => ended(part),
        Some(part) = holding.join_next() => ended(part),
    };
    tracing::info!("stopping");
    stopping.send_replace(true);
    while let Some(ended) = holding.join_next().await {
        if let Err(error) = ended {
            tracing::warn!(%error, "the Lease's part has failed");
        }
    }
    if stopped.is_ok() {
        tokio::time::sleep(LINGER).await;
    }
    ending.send_replace(true);
    while servers.join_next().await.is_some() {}
    tracing::info!("stopped");
    stopped
}

/// A part that isn't expected to end; its name is its result.
async fn named(name: &'static str, part: impl Future<Output = ()>) -> &'static str {
    part.await;
    name
}

async fn terminated() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Keeps the webhook's store of bindings current.
async fn watch_bindings(client: Client, writer: Writer<Guarded>, listed: watch::Sender<bool>) {
    let bindings = writer.as_reader();
    let changes = watcher(Api::<Guarded>::all(client), watcher::Config::default());
    let changes = reflector::reflector(writer, changes).default_backoff();
    let following = changes.for_each(|change| {
        if let Err(error) = change {
            tracing::warn!(%error, "can't watch bindings");
        }
        std::future::ready(())
    });
    let listing = async {
        if bindings.wait_until_ready().await.is_ok() {
            listed.send_replace(true);
        }
        pending::<()>().await;
    };
    tokio::select! {
        () = following => {}
        () = listing => {}
    }
}

/// What only one replica does at a time.
struct Leader {
    client: Client,
    defaults: Defaults,
    events: Events,
    metrics: Arc<Metrics>,
    store: SecretStore,
    configuration: String,
}

impl Leader {
    /// Writes while we hold the Lease. Losing it drops everything at once; the process goes on, since its webhook is
    /// needed all the same.
    async fn run(self, leading: watch::Receiver<bool>) {
        while_leading(leading, &self.metrics, || Box::pin(self.lead())).await;
    }

    async fn lead(&self) {
        let (client, metrics) = (self.client.clone(), Arc::clone(&self.metrics));
        let bundle =
            keep_bundle(client.clone(), self.store.clone(), self.configuration.clone(), Arc::clone(&metrics));
        let reconciling = binding::run(client, self.defaults.clone(), self.events.clone(), metrics);
        tokio::select! {
            () = bundle => {}
            () = reconciling => {}
        }
    }
}

/// Leads whenever `leading` is true. Ends only if leading does while we hold the Lease: whoever leads has to do
/// everything, or let another replica.
async fn while_leading<L: Future<Output = ()>>(
    mut leading: watch::Receiver<bool>,
    metrics: &Metrics,
    lead: impl Fn() -> L,
) {
    while leading.wait_for(|leading| *leading).await.is_ok() {
        metrics.leader.set(1);
        let told = tokio::select! {
            () = lead() => None,
            lost = leading.wait_for(|leading| !*leading) => Some(lost.is_ok()),
        };
        metrics.retire();
        match told {
            Some(true) => {}
            // Nobody keeps the Lease anymore, so nobody may write.
            Some(false) => break,
            None => return,
        }
    }
    pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    use super::*;

    /// What ends while we lead ends the process, which gives the Lease up; losing the Lease doesn't.
    #[tokio::test(start_paused = true)]
    async fn a_leader_that_does_not_do_everything_is_none() {
        let metrics = Metrics::new("1");
        let (lease, leading) = watch::channel(true);
        let terms = AtomicU32::new(0);
        let lead = || async {
            // Lost the first time, ended by itself the second time.
            if terms.fetch_add(1, Ordering::Relaxed) == 0 {
                lease.send_replace(false);
                tokio::time::sleep(Duration::from_secs(1)).await;
                lease.send_replace(true);
            }
        };
        let ended = while_leading(leading, &metrics, lead);
        let losing = async {
            lease.subscribe().wait_for(|leading| !*leading).await.unwrap();
            tokio::time::sleep(Duration::from_mins(1)).await;
            lease.send_replace(true);
            pending::<()>().await;
        };
        let within = Duration::from_mins(5);
        tokio::select! {
            ended = tokio::time::timeout(within, ended) => ended.unwrap(),
            () = losing => {}
        }
        assert_eq!(terms.load(Ordering::Relaxed), 2);
        assert_eq!(metrics.leader.get(), 0);
    }
}
