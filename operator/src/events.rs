//! Kubernetes Events, published from a bounded queue so that nobody waits for them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{sync::mpsc, time::Instant};

use crate::{errors::is_not_found, metrics::Metrics, ours};

/// Events that may wait. They come at most one per pod and thing to say; of a rollout of more in a moment some are
/// lost, and counted.
const QUEUE: usize = 256;
/// The same words about the same object within this time are one Event with a count.
const SERIES: Duration = Duration::from_mins(6);
/// So many Events are remembered for that.
const REMEMBERED: usize = 1024;

/// How long publishing one may take: the others wait behind it.
const CALLS: Duration = Duration::from_secs(10);

/// A warning about an object.
#[derive(Clone, Debug)]
pub struct Warning {
    /// The object it is about.
    pub about: ObjectReference,
    /// One word.
    pub reason: String,
    /// What was being done, in one word.
    pub action: &'static str,
    /// What happened and what to do about it.
    pub message: String,
}

/// Takes warnings for publication.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Warning>,
    metrics: Arc<Metrics>,
}

// === impl Events ===

impl Events {
    /// A queue; what is put there comes out at the other end, for [`publish`].
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Warning>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { queue, metrics }, receiver)
    }

    /// Publishes it soon, or drops it if too many wait.
    pub fn warn(&self, warning: Warning) {
        if self.queue.try_send(warning).is_err() {
            self.metrics.events_dropped.inc();
        }
    }
}

/// Publishes what is put into the queue, until that is closed.
pub async fn publish(client: Client, instance: String, mut queue: mpsc::Receiver<Warning>) {
    let mut series = HashMap::new();
    while let Some(warning) = queue.recv().await {
        let reason = warning.reason.clone();
        match tokio::time::timeout(CALLS, publish_one(&client, &instance, warning, &mut series)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, reason, "can't publish an Event"),
            Err(_) => tracing::warn!(reason, "can't publish an Event in time"),
        }
    }
}

/// An Event that was published: how often, and when last.
#[derive(Clone, Debug)]
struct Published {
    name: String,
    count: i32,
    at: Instant,
}

async fn publish_one(
    client: &Client,
    instance: &str,
    warning: Warning,
    series: &mut HashMap<[u8; 32], Published>,
) -> Result<(), kube::Error> {
    let namespace = warning.about.namespace.clone().unwrap_or_else(|| "default".into());
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let key = key(&warning);
    series.retain(|_, published| published.at.elapsed() < SERIES);
    if let Some(published) = series.get_mut(&key) {
        (published.count, published.at) = (published.count.saturating_add(1), Instant::now());
        let now = EventSeries { count: published.count, last_observed_time: MicroTime(Timestamp::now()) };
        let patch = Patch::Merge(json!({ "series": now }));
        match api.patch(&published.name, &PatchParams::default(), &patch).await {
            // It has expired, or someone removed it.
            Err(error) if is_not_found(&error) => {}
            done => return done.map(drop),
        }
    }
    let event = event(warning, &namespace, instance, Timestamp::now());
    let name = event.metadata.name.clone().unwrap_or_default();
    api.create(&PostParams::default(), &event).await?;
    if series.len() >= REMEMBERED {
        let oldest = series.iter().min_by_key(|(_, published)| published.at).map(|(key, _)| *key);
        oldest.and_then(|key| series.remove(&key));
    }
    series.insert(key, Published { name, count: 1, at: Instant::now() });
    Ok(())
}

/// The same for the same words about the same object.
fn key(warning: &Warning) -> [u8; 32] {
    let Warning { about, reason, action, message } = warning;
    Sha256::digest(json!([about, reason, action, message]).to_string()).into()
}

fn event(warning: Warning, namespace: &str, instance: &str, now: Timestamp) -> Event {
    let Warning { about, reason, action, message } = warning;
    // A pod that is being made may have but the beginning of a name, which ends in a dash; an Event's can't.
    let stem = about.name.as_deref().unwrap_or_default();
    let stem = stem[..stem.floor_char_boundary(200)].trim_end_matches(['-', '.']);
    let stem = if stem.is_empty() { ours::MANAGER } else { stem };
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{stem}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("Warning".into()),
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(ours::MANAGER.into()),
        reporting_instance: Some(instance.to_owned()),
        regarding: Some(about),
        reason: Some(reason),
        action: Some(action.into()),
        note: Some(shortened(message)),
        ..Event::default()
    }
}

/// Kubernetes refuses longer notes.
fn shortened(mut text: String) -> String {
    const LIMIT: usize = 1000;
    if text.len() > LIMIT {
        text.truncate(text.floor_char_boundary(LIMIT));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(name: &str, message: &str) -> Warning {
        let about = ObjectReference { name: Some(name.into()), ..ObjectReference::default() };
        Warning { about, reason: "R".into(), action: "A", message: message.into() }
    }

    /// An API server that takes what is asked and never answers holds up no more than the one Event.
    #[tokio::test(start_paused = true)]
    async fn one_that_is_not_answered_is_given_up() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let client = Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
        let (events, queue) = Events::new(Arc::new(Metrics::new("1")));
        for name in ["one", "two"] {
            events.warn(warning(name, "m"));
        }
        drop(events);
        let publishing = publish(client, "i".into(), queue);
        tokio::time::timeout(CALLS * 3, publishing).await.unwrap();
    }

    #[test]
    fn an_event_has_a_name_that_kubernetes_takes() {
        let name = |about: &str| {
            let event = event(warning(about, "m"), "default", "i", Timestamp::UNIX_EPOCH);
            event.metadata.name.unwrap()
        };
        assert_eq!(name("web"), "web.0");
        assert_eq!(name("web-"), "web.0");
        assert_eq!(name(""), "freshet-operator.0");
        assert_eq!(name(&"a".repeat(253)).len(), 202);
    }

    #[test]
    fn only_the_same_words_about_the_same_object_are_one_event() {
        assert_eq!(key(&warning("a", "m")), key(&warning("a", "m")));
        assert_ne!(key(&warning("a", "m")), key(&warning("a", "n")));
        assert_ne!(key(&warning("a", "m")), key(&warning("b", "m")));
    }
}
