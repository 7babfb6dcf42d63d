//! The transports' real servers, and how the same is published over each.

use std::io::Write as _;

use anyhow::Result;
use freshet_e2e::process::kafka::Message;
use freshet_e2e::process::{Kafka, Nats, Postgres, Redis};
use tempfile::NamedTempFile;

/// What a message is published to, whatever the transport calls it.
const BUS: &str = "bus";
/// The stream of NATS that has it.
const STREAM: &str = "Bus";

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stream of Redis.
    RedisStream,
    /// A channel of Redis.
    RedisPubSub,
    /// A stream of NATS.
    NatsJetStream,
    /// A subject of NATS.
    Nats,
    /// A topic of Kafka.
    Kafka,
    /// A channel of PostgreSQL.
    PostgresNotify,
    /// A file, without any server.
    File,
}

/// Its server.
pub(super) enum Server {
    Stream(Redis),
    Channel(Redis),
    JetStream(Nats),
    Subject(Nats),
    Topic(Box<Kafka>),
    Notify(Postgres),
    Lines(NamedTempFile),
}

impl Kind {
    /// All of them; the first is what the others are compared with.
    pub const ALL: [Self; 7] = [
        Self::RedisStream,
        Self::RedisPubSub,
        Self::NatsJetStream,
        Self::Nats,
        Self::Kafka,
        Self::PostgresNotify,
        Self::File,
    ];

    /// What a binding calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RedisStream => "redisStream",
            Self::RedisPubSub => "redisPubSub",
            Self::NatsJetStream => "natsJetStream",
            Self::Nats => "nats",
            Self::Kafka => "kafka",
            Self::PostgresNotify => "postgresNotify",
            Self::File => "file",
        }
    }

    /// Starts its server.
    pub(super) fn start(self) -> Result<Server> {
        Ok(match self {
            Self::RedisStream => Server::Stream(Redis::start()?),
            Self::RedisPubSub => Server::Channel(Redis::start()?),
            Self::NatsJetStream => {
                let nats = Nats::builder().jetstream().start()?;
                nats.create_stream(STREAM, &[BUS])?;
                Server::JetStream(nats)
            }
            Self::Nats => Server::Subject(Nats::start()?),
            Self::Kafka => {
                let kafka = Kafka::start()?;
                kafka.create_topic(BUS, 1, &[])?;
                Server::Topic(Box::new(kafka))
            }
            Self::PostgresNotify => {
                let postgres = Postgres::start()?;
                postgres.execute("CREATE ROLE freshet LOGIN")?;
                Server::Notify(postgres)
            }
            Self::File => Server::Lines(NamedTempFile::new()?),
        })
    }
}

impl Server {
    /// The source of a binding.
    pub(super) fn source(&self) -> String {
        match self {
            Self::Stream(redis) => format!("redisStream: {{url: '{}', stream: {BUS}}}", redis.url()),
            Self::Channel(redis) => format!("redisPubSub: {{url: '{}', channel: {BUS}}}", redis.url()),
            Self::JetStream(nats) => format!("natsJetStream: {{url: '{}', stream: {STREAM}}}", nats.url()),
            Self::Subject(nats) => format!("nats: {{url: '{}', subject: {BUS}}}", nats.url()),
            Self::Topic(kafka) => format!("kafka: {{brokers: ['{}'], topic: {BUS}}}", kafka.address()),
            Self::Notify(postgres) => {
                let port = postgres.port();
                format!("postgresNotify: {{url: 'postgres://127.0.0.1:{port}/postgres', channel: {BUS}}}")
            }
            Self::Lines(file) => format!("file: {{path: '{}', stream: {BUS}}}", file.path().display()),
        }
    }

    /// Publishes a value of the cache `values` so many times.
    pub(super) fn publish(&self, key: &str, text: &str, start_ms: u64, count: usize) -> Result<()> {
        const TTL_MS: u64 = 3_600_000;
        let whole = || {
            serde_json::json!({
                "freshet": 1, "kind": "value", "cache": "values", "key": key, "text": text, "start": start_ms, "ttl": TTL_MS,
            })
            .to_string()
        };
        match self {
            Self::Stream(redis) => redis.xadd_many(BUS, "freshet", &whole(), count),
            Self::Channel(redis) => redis.publish_many(BUS, &whole(), count),
            Self::JetStream(nats) => nats.store_many(BUS, whole().as_bytes(), count),
            Self::Subject(nats) => nats.publish_many(BUS, whole().as_bytes(), count),
            Self::Topic(kafka) => {
                let headers = [
                    ("freshet", "1".to_owned()),
                    ("freshet-kind", "value".to_owned()),
                    ("freshet-cache", "values".to_owned()),
                    ("freshet-start", start_ms.to_string()),
                    ("freshet-ttl", TTL_MS.to_string()),
                    ("content-type", "text/plain; charset=utf-8".to_owned()),
                ];
                let headers = headers.map(|(name, text)| (name.to_owned(), Some(text.into_bytes())));
                let message =
                    Message { key: Some(key.into()), value: Some(text.into()), headers: headers.into() };
                kafka.produce_many(BUS, 0, &message, count)
            }
            Self::Notify(postgres) => postgres.notify_many(BUS, &whole(), count),
            Self::Lines(file) => {
                let line = format!("{}\n", serde_json::json!({"fields": [["freshet", whole()]]}));
                Ok(file.as_file().write_all(line.repeat(count).as_bytes())?)
            }
        }
    }
}
