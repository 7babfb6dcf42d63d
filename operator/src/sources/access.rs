//! Where sources are, with everything that was read for them.

use freshet_connect::{kafka, nats, postgres};

/// Where a source is, with credentials and certificates. Its `Debug` keeps passwords and keys to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A Redis.
    Redis(freshet_connect::Target),
    /// A Redis with a channel.
    RedisChannel(freshet_connect::Target),
    /// A NATS with JetStream.
    Nats(nats::Target),
    /// A NATS with a subject.
    NatsSubject(nats::Target),
    /// A Kafka.
    Kafka(kafka::Target),
    /// A PostgreSQL with a channel.
    Postgres(postgres::Target),
}

// === impl Access ===

impl Access {
    /// The Redis with streams, where it is one.
    #[must_use]
    pub fn redis(&self) -> Option<&freshet_connect::Target> {
        match self {
            Self::Redis(redis) => Some(redis),
            Self::RedisChannel(_)
            | Self::Nats(_)
            | Self::NatsSubject(_)
            | Self::Kafka(_)
            | Self::Postgres(_) => None,
        }
    }
}
