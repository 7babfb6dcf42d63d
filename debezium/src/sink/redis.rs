//! The sink of Redis Streams.

use freshet_crds::{
    binding::UrlSpec,
    redis_url::{Place, RedisUrl},
};

use super::NO_FILE;
use crate::{Format, Heartbeat, Part, Pipeline, settings::List};

/// The Redis that is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisServer {
    /// `host:port`, in a Cluster several with commas between.
    pub address: String,
    /// Whether it is a Cluster.
    pub cluster: bool,
    /// The database's number, if it isn't 0.
    pub database: Option<u16>,
    /// Whether it is reached by TLS.
    pub tls: bool,
    /// The user and the password, or where they are taken from.
    pub credentials: Option<(String, String)>,
}

// === impl Pipeline ===

impl Pipeline {
    pub(super) fn redis(&self, list: &mut List) {
        list.add(Part::Sink, "debezium.sink.type", "redis", "Changes become entries of Redis Streams.");
        list.add(
            Part::Sink,
            "debezium.sink.redis.buffer.fill.rate",
            "1000",
            "How many entries' room it wants below maxmemory before it writes; its 30000 stall a small Redis.",
        );
        let format = match self.format {
            Format::Compact => "compact",
            Format::Extended => "extended",
        };
        list.add(
            Part::Entries,
            "debezium.sink.redis.message.format",
            format,
            "extended: headers travel along, and with them the other key of a changed primary key.",
        );
        let skip = matches!(self.heartbeat, Heartbeat::Off | Heartbeat::Database);
        list.add(
            Part::Heartbeats,
            "debezium.sink.redis.skip.heartbeat.messages",
            if skip { "true" } else { "false" },
            "Skipped by default; they tell \"nothing has changed\" from \"nothing arrives\".",
        );
    }
}

// === impl RedisServer ===

impl RedisServer {
    pub(super) fn places(&self, list: &mut List) {
        let sink = self;
        list.add(
            Part::Sink,
            "debezium.sink.redis.address",
            &sink.address,
            "The Redis that the binding's source names.",
        );
        if sink.cluster {
            list.add(
                Part::Sink,
                "debezium.sink.redis.cluster.enabled",
                "true",
                "A Cluster: any of these nodes tells which one has the stream.",
            );
        }
        if let Some(number) = sink.database {
            list.add(
                Part::Sink,
                "debezium.sink.redis.db.index",
                &number.to_string(),
                "Its database, as in the binding's URL.",
            );
        }
        if let Some((user, password)) = &sink.credentials {
            list.add(
                Part::Sink,
                "debezium.sink.redis.user",
                user,
                "From the environment; without REDIS_USER it is Redis's default user.",
            );
            list.add(Part::Sink, "debezium.sink.redis.password", password, NO_FILE);
        }
        if sink.tls {
            list.add(
                Part::Sink,
                "debezium.sink.redis.ssl.enabled",
                "true",
                "As rediss:// says. A CA of your own: debezium.sink.redis.ssl.truststore.path, .type and .password.",
            );
        }
    }

    /// One of which nothing is known but that it asks for credentials.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            address: "${REDIS_ADDRESS}".into(),
            cluster: false,
            database: None,
            tls: false,
            // A password without a user is that of the user `default`.
            credentials: Some(("${REDIS_USER:default}".into(), "${REDIS_PASSWORD}".into())),
        }
    }

    /// The one that a binding's source is read from. Of a URL in a Secret, or one with Sentinels, whom Debezium doesn't
    /// know, nothing is known but, of the latter, whether it is TLS.
    #[must_use]
    pub fn of(url: &UrlSpec<RedisUrl>) -> Self {
        let UrlSpec::Plain(url) = url else { return Self::unknown() };
        match &url.place {
            Place::Server(at) => Self {
                address: at.to_string(),
                cluster: false,
                database: Some(url.database).filter(|number| *number > 0),
                tls: url.tls,
                credentials: None,
            },
            Place::Cluster(nodes) => Self {
                address: nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
                cluster: true,
                database: None,
                tls: url.tls,
                credentials: None,
            },
            Place::Sentinel { .. } => Self { tls: url.tls, ..Self::unknown() },
        }
    }
}
