//! Where a Debezium Server writes, and how it is told.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use freshet_debezium::{self as generator, JetStreamServer, KafkaServer, RedisServer};

use super::super::{Kafka, Nats, Redis};

/// What a Debezium Server writes to. A `&Redis`, `&Kafka` or `&Nats` becomes one.
#[derive(Clone, Copy, Debug)]
pub enum Sink<'a> {
    /// Streams of a Redis, where its offsets are kept, too.
    Redis(&'a Redis),
    /// Topics of a Kafka, which must be there already or make themselves. Offsets are in a file.
    Kafka(&'a Kafka),
    /// The stream [`Sink::STREAM`] of a NATS with JetStream, which Debezium makes. Offsets are in a file.
    JetStream(&'a Nats),
}

impl<'a> From<&'a Redis> for Sink<'a> {
    fn from(redis: &'a Redis) -> Self {
        Self::Redis(redis)
    }
}

impl<'a> From<&'a Kafka> for Sink<'a> {
    fn from(kafka: &'a Kafka) -> Self {
        Self::Kafka(kafka)
    }
}

impl<'a> From<&'a Nats> for Sink<'a> {
    fn from(nats: &'a Nats) -> Self {
        Self::JetStream(nats)
    }
}

impl Sink<'_> {
    /// The stream of JetStream, as Debezium calls it by default.
    pub const STREAM: &'static str = "DebeziumStream";

    /// What of the generator's own settings is another here: `prefix` is the topics'. Tests have no operator of NATS who
    /// makes streams.
    pub(super) fn replace_behaviour(self, properties: &mut BTreeMap<String, String>, prefix: &str) {
        if !matches!(self, Self::JetStream(_)) {
            return;
        }
        let settings = [
            ("create-stream", "true".to_owned()),
            // Schema changes, everything else, and heartbeats.
            ("subjects", format!("{prefix},{prefix}.>,__debezium-heartbeat.{prefix}")),
            // Its default is memory, which a restart of the server empties.
            ("storage", "file".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (format!("debezium.sink.nats-jetstream.{name}"), value));
        properties.extend(settings);
    }

    /// The same for the generator.
    pub(super) fn generated(self) -> generator::Sink {
        match self {
            Self::Redis(redis) => generator::Sink::Redis(RedisServer {
                address: redis.address(),
                cluster: false,
                database: None,
                tls: false,
                credentials: redis.password().map(|password| ("default".to_owned(), password.to_owned())),
            }),
            Self::Kafka(kafka) => generator::Sink::Kafka(KafkaServer::at(&kafka.brokers())),
            Self::JetStream(nats) => {
                generator::Sink::JetStream(JetStreamServer::at(&nats.url_with_credentials(), Self::STREAM))
            }
        }
    }

    /// Adds what a server wants of clients that the generator leaves to the environment. What TLS needs is written into
    /// `folder`.
    pub(super) fn replace_place(
        self,
        properties: &mut BTreeMap<String, String>,
        folder: &Path,
    ) -> Result<()> {
        match self {
            Self::Redis(_) => {}
            Self::Kafka(kafka) => {
                let own = kafka.client_properties(folder)?;
                let own = own
                    .into_iter()
                    .map(|(name, value)| (format!("debezium.sink.kafka.producer.{name}"), value));
                properties.extend(own);
            }
            Self::JetStream(nats) => ensure!(
                !nats.url().starts_with("tls"),
                "Debezium's sink takes TLS from a Java keystore alone"
            ),
        }
        Ok(())
    }

    /// What must be there before Debezium starts.
    pub(super) fn prepare(self, folder: &Path) -> Result<()> {
        if !matches!(self, Self::Redis(_)) {
            // The volume of what it remembers.
            fs::create_dir(folder.join("data"))?;
        }
        Ok(())
    }
}
