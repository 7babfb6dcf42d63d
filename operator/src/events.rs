//! Kubernetes Events, published from a bounded queue so that nobody waits for them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;

use crate::{metrics::Metrics, ours};

/// Events that may wait. They come one per pod at most; a rollout of more in a moment says the same thing each time.
const QUEUE: usize = 256;

/// A warning about an object.
#[derive(Clone, Debug)]
pub struct Warning {
    /// The object it is about.
    pub about: ObjectReference,
    /// Another object that plays a part.
    pub related: Option<ObjectReference>,
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
    let reporter = Reporter { controller: ours::MANAGER.into(), instance: Some(instance) };
    let recorder = Recorder::new(client, reporter);
    while let Some(warning) = queue.recv().await {
        let event = Event {
            type_: EventType::Warning,
            reason: warning.reason.clone(),
            note: Some(shortened(warning.message)),
            action: warning.action.into(),
            secondary: warning.related,
        };
        if let Err(error) = recorder.publish(&event, &warning.about).await {
            tracing::warn!(%error, reason = warning.reason, "can't publish an Event");
        }
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
