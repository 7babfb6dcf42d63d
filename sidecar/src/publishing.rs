//! What the application of this pod publishes through its sidecar: numbered, written to the source, and seen to come back.
//!
//! A request is put on its source's [`Desk`]. Whoever writes to the source ([`crate::source`]) takes one after the other, has
//! the [`Outbox`] number what it says, and writes that. When the outcome isn't known the same is written again, with the same
//! numbers, before anything else: receivers take a number that is left out for a loss, and pass over one that comes twice.

use freshet_crds::binding::{SourceSpec, TransportSpec};

pub mod desk;
pub mod outbox;
pub mod saying;

pub use desk::{Desk, Order, Outcome, Receipt};
pub use outbox::{Batch, Due, Outbox};
pub use saying::{Body, Envelope, Says};

/// Why nothing can be published to a source through a sidecar, as its binding is; `None` where it can be.
#[must_use]
pub fn hindrance(source: &SourceSpec) -> Option<&'static str> {
    match &source.transport {
        TransportSpec::File(_) => Some("a file is only read"),
        TransportSpec::Nats(_) if has_wildcards(source) => {
            Some("its subject has wildcards: only a subject without any can be published under")
        }
        TransportSpec::NatsJetStream(nats) if nats.publish_subject.is_none() => {
            Some("its natsJetStream needs a publishSubject: a subject that the stream captures")
        }
        // Of such a source no cache is published.
        _ if source.layout.stream().is_none() => Some("it has a stream for each table"),
        TransportSpec::RedisStream(_)
        | TransportSpec::RedisPubSub(_)
        | TransportSpec::NatsJetStream(_)
        | TransportSpec::Nats(_)
        | TransportSpec::Kafka(_)
        | TransportSpec::PostgresNotify(_) => None,
    }
}

/// Whether a source's subject stands for several.
fn has_wildcards(source: &SourceSpec) -> bool {
    source.layout.stream().is_some_and(|subject| subject.split('.').any(|part| matches!(part, "*" | ">")))
}
