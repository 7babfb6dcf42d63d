//! What a Debezium Server writes to.

use crate::{Pipeline, settings::List};

mod jet_stream;
mod kafka;
mod redis;

pub use jet_stream::JetStreamServer;
pub(crate) use jet_stream::subjects;
pub use kafka::{KafkaServer, KafkaTls};
pub use redis::RedisServer;

/// Why a password stands in no file.
const NO_FILE: &str = "From the environment: no file holds it.";

/// What a Debezium Server writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Streams of a Redis, where it remembers its position, too.
    Redis(RedisServer),
    /// Topics of a Kafka.
    Kafka(KafkaServer),
    /// A stream of NATS JetStream, whose subjects are the topics.
    JetStream(JetStreamServer),
}

// === impl Sink ===

impl Sink {
    /// The Redis, where it is one.
    #[must_use]
    pub fn redis(&self) -> Option<&RedisServer> {
        match self {
            Self::Redis(redis) => Some(redis),
            Self::Kafka(_) | Self::JetStream(_) => None,
        }
    }

    /// Its name, as people write it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Redis(_) => "Redis",
            Self::Kafka(_) => "Kafka",
            Self::JetStream(_) => "NATS JetStream",
        }
    }

    /// The settings that say where it is.
    pub(crate) fn places(&self, list: &mut List) {
        match self {
            Self::Redis(redis) => redis.places(list),
            Self::Kafka(kafka) => kafka.places(list),
            Self::JetStream(nats) => nats.places(list),
        }
    }
}

// === impl Pipeline ===

impl Pipeline {
    /// The settings of the sink that don't depend on where it is.
    pub(crate) fn sink(&self, list: &mut List) {
        match &self.sink {
            Sink::Redis(_) => self.redis(list),
            Sink::Kafka(_) => Self::kafka(list),
            Sink::JetStream(nats) => nats.behaviour(list),
        }
    }

    /// The commands by which topics or the stream are made, once, by whoever runs the server. Redis needs none.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        match &self.sink {
            Sink::Redis(_) => Vec::new(),
            Sink::Kafka(_) => self.topics_made(),
            Sink::JetStream(nats) => vec![nats.made(&self.prefix)],
        }
    }
}
