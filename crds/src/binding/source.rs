//! Where changes come from: one type for what all sources have, and one for each transport.

use std::time::Duration;

use crate::{
    ConfigMapKeyRef, SaslMechanism, SecretKeyRef,
    host_port::HostPort,
    nats_url::{self, InvalidNatsUrl, NatsLogin, NatsUrl},
    postgres_url::{InvalidPostgresUrl, PostgresUrl},
    redis_url::{self, InvalidUrl, RedisUrl},
};

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// Its name.
    pub name: String,
    /// Which streams to follow there.
    pub layout: StreamLayout,
    /// What brings the changes, and how to reach it.
    pub transport: TransportSpec,
}

/// How Debezium's topics map to streams. Where nothing routes them elsewhere, Kafka's topics are those streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamLayout {
    /// One stream per table, under Debezium's topic prefix.
    PerTable {
        /// Debezium's `topic.prefix`.
        prefix: String,
    },
    /// Everything in one stream.
    Routed {
        /// The stream's name.
        stream: String,
    },
}

/// What brings a source's changes, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportSpec {
    /// Redis Streams.
    RedisStream(RedisSpec),
    /// A channel of Redis Pub/Sub, whose layout is [`StreamLayout::Routed`].
    RedisPubSub(RedisSpec),
    /// A stream of NATS JetStream, whose layout is [`StreamLayout::Routed`].
    NatsJetStream(NatsSpec),
    /// A subject of NATS, whose layout is [`StreamLayout::Routed`].
    Nats(NatsSpec),
    /// Topics of Kafka.
    Kafka(KafkaSpec),
    /// A channel of PostgreSQL's `NOTIFY`, whose layout is [`StreamLayout::Routed`].
    PostgresNotify(PostgresSpec),
    /// A file of recorded entries.
    File(FileSpec),
}

/// A Redis with streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSpec {
    /// Where it is.
    pub url: UrlSpec<RedisUrl>,
    /// The certificates on both sides, where the connection is encrypted.
    pub tls: TlsSpec,
    /// How old entries get before the operator removes them; of no concern to sidecars, which aren't told.
    pub retention: Option<Duration>,
}

/// A NATS with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsSpec {
    /// Where it is.
    pub url: UrlSpec<NatsUrl>,
    /// The certificates on both sides, where the connection is encrypted.
    pub tls: TlsSpec,
    /// Where a user's JWT and seed are, as `nsc` writes them.
    pub credentials: Option<SecretKeyRef>,
    /// The subject under which is added what applications publish; `None`: nothing is.
    pub publish_subject: Option<String>,
}

/// A Kafka with topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSpec {
    /// Brokers that are asked for all others; at least one, each once.
    pub brokers: Vec<HostPort>,
    /// The certificates on both sides; `None`: connections aren't encrypted.
    pub tls: Option<TlsSpec>,
    /// How we say who we are; `None`: we don't.
    pub sasl: Option<SaslSpec>,
}

/// A PostgreSQL with a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSpec {
    /// Where it is.
    pub url: UrlSpec<PostgresUrl>,
    /// The certificates on both sides; `None`: connections aren't encrypted.
    pub tls: Option<TlsSpec>,
}

/// A file of recorded entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Its path; `-` is standard input. Never empty.
    pub path: String,
}

/// A user of Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaslSpec {
    /// How its password is shown.
    pub mechanism: SaslMechanism,
    /// The Secret of type `kubernetes.io/basic-auth` with user and password.
    pub secret: String,
}

/// A URL, or where to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UrlSpec<U> {
    /// The URL itself, free of credentials.
    Plain(U),
    /// It is in a Secret.
    Secret(SecretKeyRef),
}

/// Where certificates are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSpec {
    /// Those of the authorities that the server's must come from; without it those that browsers trust.
    pub ca: Option<CaSpec>,
    /// The Secret of type `kubernetes.io/tls` with our own.
    pub client_certificate: Option<String>,
}

/// Where certificates of authorities are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaSpec {
    /// In a Secret.
    Secret(SecretKeyRef),
    /// In a ConfigMap.
    ConfigMap(ConfigMapKeyRef),
}

/// Why the URL of a Redis can't be used for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitUrl {
    /// It is none.
    #[error("the URL can't be used: {0}")]
    Invalid(#[from] InvalidUrl),
    /// Certificates are given for a connection that isn't encrypted.
    #[error("{}", redis_url::CERTIFICATES_NEED_TLS)]
    NeedsTls,
    /// A Cluster with a stream per table.
    #[error("{}", redis_url::CLUSTER_NEEDS_STREAM)]
    NeedsStream,
    /// A Cluster with a channel.
    #[error("{}", redis_url::CLUSTER_LOSES)]
    Loses,
}

/// Why the URL of a NATS can't be used for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitNatsUrl {
    /// It is none.
    #[error("the URL can't be used: {0}")]
    Invalid(#[from] InvalidNatsUrl),
    /// Certificates are given for a connection that isn't encrypted.
    #[error("{}", nats_url::CERTIFICATES_NEED_TLS)]
    NeedsTls,
    /// Credentials in two places.
    #[error("credentials are either in the URL or in credentialsFrom: remove one of them")]
    TwoLogins,
}

/// Why the URL of a PostgreSQL can't be used for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the URL can't be used: {0}")]
pub struct UnfitPostgresUrl(#[from] pub InvalidPostgresUrl);

// === impl StreamLayout ===

impl StreamLayout {
    /// The one stream that everything is in; `None`: there is one per table.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        match self {
            Self::Routed { stream } => Some(stream),
            Self::PerTable { .. } => None,
        }
    }
}

// === impl TransportSpec ===

impl TransportSpec {
    /// The Redis with streams, where it is one: what only those have asks here.
    #[must_use]
    pub fn redis_stream(&self) -> Option<&RedisSpec> {
        match self {
            Self::RedisStream(redis) => Some(redis),
            Self::RedisPubSub(_)
            | Self::NatsJetStream(_)
            | Self::Nats(_)
            | Self::Kafka(_)
            | Self::PostgresNotify(_)
            | Self::File(_) => None,
        }
    }

    /// What the binding calls it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RedisStream(_) => "redisStream",
            Self::RedisPubSub(_) => "redisPubSub",
            Self::NatsJetStream(_) => "natsJetStream",
            Self::Nats(_) => "nats",
            Self::Kafka(_) => "kafka",
            Self::PostgresNotify(_) => "postgresNotify",
            Self::File(_) => "file",
        }
    }
}

// === impl RedisSpec ===

impl RedisSpec {
    /// The URL as it is to be used: the one given, or `text`, which was read from the Secret. What it means must go
    /// with the certificates, and with the source's layout.
    pub fn url(&self, layout: &StreamLayout, text: impl FnOnce() -> String) -> Result<RedisUrl, UnfitUrl> {
        let url = self.any_url(text)?;
        if url.is_cluster() && layout.stream().is_none() {
            return Err(UnfitUrl::NeedsStream);
        }
        Ok(url)
    }

    /// The URL of a Redis with a channel, as [`Self::url`] is of one with streams.
    pub fn url_of_channel(&self, text: impl FnOnce() -> String) -> Result<RedisUrl, UnfitUrl> {
        let url = self.any_url(text)?;
        if url.is_cluster() { Err(UnfitUrl::Loses) } else { Ok(url) }
    }

    fn any_url(&self, text: impl FnOnce() -> String) -> Result<RedisUrl, UnfitUrl> {
        let url = match &self.url {
            UrlSpec::Plain(url) => url.clone(),
            UrlSpec::Secret(_) => text().trim().parse()?,
        };
        if !url.tls && self.tls != TlsSpec::default() {
            return Err(UnfitUrl::NeedsTls);
        }
        Ok(url)
    }
}

// === impl NatsSpec ===

impl NatsSpec {
    /// The URL as it is to be used: the one given, or `text`, which was read from the Secret. What it means must go
    /// with the certificates and the other credentials.
    pub fn url(&self, text: impl FnOnce() -> String) -> Result<NatsUrl, UnfitNatsUrl> {
        let url = match &self.url {
            UrlSpec::Plain(url) => url.clone(),
            UrlSpec::Secret(_) => text().trim().parse()?,
        };
        if !url.tls && self.tls != TlsSpec::default() {
            return Err(UnfitNatsUrl::NeedsTls);
        }
        if url.login != NatsLogin::None && self.credentials.is_some() {
            return Err(UnfitNatsUrl::TwoLogins);
        }
        Ok(url)
    }
}

// === impl PostgresSpec ===

impl PostgresSpec {
    /// The URL as it is to be used: the one given, or `text`, which was read from the Secret.
    pub fn url(&self, text: impl FnOnce() -> String) -> Result<PostgresUrl, UnfitPostgresUrl> {
        match &self.url {
            UrlSpec::Plain(url) => Ok(url.clone()),
            UrlSpec::Secret(_) => Ok(text().trim().parse::<PostgresUrl>()?),
        }
    }
}
