//! The wire types of `spec.sources`: where changes come from, of one kind each, and what the kinds have in common.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use std::collections::BTreeSet;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{CaFrom, ClientCertificateFrom, ConfigMapKeyRef, SecretKeyRef, names};

pub mod file;
pub mod kafka;
pub mod nats;
pub mod nats_jet_stream;
pub mod postgres_notify;
pub mod redis_pub_sub;
pub mod redis_stream;

pub use file::File;
pub use kafka::{Kafka, Sasl, SaslMechanism};
pub use nats::Nats;
pub use nats_jet_stream::NatsJetStream;
pub use postgres_notify::PostgresNotify;
pub use redis_pub_sub::RedisPubSub;
pub use redis_stream::RedisStream;

/// One place that changes come from, of exactly one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.redisStream), has(self.redisPubSub), has(self.natsJetStream), has(self.nats), has(self.kafka), has(self.postgresNotify)].exists_one(kind, kind)")
        .message(crate::refusals::ONE_KIND)
)]
pub struct Source {
    /// The name by which caches and positions refer to this source.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
            .message(crate::refusals::SOURCE_NAME_FORM)
    )]
    pub name: String,
    /// The Redis Streams that Debezium Server writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_stream: Option<RedisStream>,
    /// A channel of Redis Pub/Sub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_pub_sub: Option<RedisPubSub>,
    /// The stream of NATS JetStream that Debezium Server writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_jet_stream: Option<NatsJetStream>,
    /// A subject of NATS, without JetStream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<Nats>,
    /// The topics of Kafka that Debezium writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<Kafka>,
    /// A channel of PostgreSQL's `NOTIFY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres_notify: Option<PostgresNotify>,
    /// A file of recorded entries. Not part of the CRD: it is for bindings that a sidecar is given by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub file: Option<File>,
}

// === impl Source ===

impl Source {
    /// Debezium's topic prefix, where there is a stream or topic per table.
    pub(crate) fn topic_prefix(&self) -> Option<&String> {
        let of_redis = self.redis_stream.as_ref().and_then(|redis| redis.topic_prefix.as_ref());
        let of_kafka = || self.kafka.as_ref().and_then(|kafka| kafka.topic_prefix.as_ref());
        let of_file = || self.file.as_ref().and_then(|file| file.topic_prefix.as_ref());
        of_redis.or_else(of_kafka).or_else(of_file)
    }

    /// Whether what was sent once can't be read again.
    pub(crate) fn keeps_nothing(&self) -> bool {
        self.redis_pub_sub.is_some() || self.nats.is_some() || self.postgres_notify.is_some()
    }

    /// Whether no row comes by it, but only what rows have changed.
    pub(crate) fn is_without_images(&self) -> bool {
        self.redis_pub_sub.is_some() || self.postgres_notify.is_some()
    }

    /// Whether nothing comes by it that tells how far the database is.
    pub(crate) fn is_without_heartbeats(&self) -> bool {
        self.redis_pub_sub.is_some()
    }

    /// Whether its events carry no key.
    pub(crate) fn is_without_keys(&self) -> bool {
        self.nats_jet_stream.is_some() || self.nats.is_some()
    }

    /// The keys of Secrets that it is read with.
    #[must_use]
    pub fn secret_keys(&self) -> BTreeSet<SecretKeyRef> {
        let mut keys = BTreeSet::new();
        for (ca, client) in self.certificates() {
            keys.extend(ca.and_then(|from| from.secret_key_ref.clone()));
            let client = client.map(|from| &from.secret_ref.name);
            keys.extend(
                client.into_iter().flat_map(|name| both(name, [names::TLS_CERTIFICATE, names::TLS_KEY])),
            );
        }
        let urls = [
            self.redis_stream.as_ref().and_then(|it| it.url_from.as_ref()),
            self.redis_pub_sub.as_ref().and_then(|it| it.url_from.as_ref()),
            self.nats_jet_stream.as_ref().and_then(|it| it.url_from.as_ref()),
            self.nats.as_ref().and_then(|it| it.url_from.as_ref()),
            self.postgres_notify.as_ref().and_then(|it| it.url_from.as_ref()),
        ];
        keys.extend(urls.into_iter().flatten().map(|from| from.secret_key_ref.clone()));
        let of_stream = self.nats_jet_stream.iter().flat_map(|nats| &nats.credentials_from);
        let credentials = of_stream.chain(self.nats.iter().flat_map(|nats| &nats.credentials_from));
        keys.extend(credentials.map(|from| from.secret_key_ref.clone()));
        let sasl = self.kafka.iter().flat_map(|kafka| &kafka.sasl);
        keys.extend(sasl.flat_map(|sasl| both(&sasl.secret_ref.name, [names::USERNAME, names::PASSWORD])));
        keys
    }

    /// The keys of ConfigMaps that it is read with.
    #[must_use]
    pub fn config_map_keys(&self) -> BTreeSet<ConfigMapKeyRef> {
        let authorities = self.certificates().filter_map(|(ca, _)| ca);
        authorities.filter_map(|from| from.config_map_key_ref.clone()).collect()
    }

    /// Where the certificates of each kind are.
    fn certificates(&self) -> impl Iterator<Item = (Option<&CaFrom>, Option<&ClientCertificateFrom>)> {
        let kafka = self.kafka.as_ref().and_then(|kafka| kafka.tls.as_ref());
        let postgres = self.postgres_notify.as_ref().and_then(|postgres| postgres.tls.as_ref());
        let kinds = [
            self.redis_stream.as_ref().map(|it| (it.ca_from.as_ref(), it.client_certificate_from.as_ref())),
            self.redis_pub_sub.as_ref().map(|it| (it.ca_from.as_ref(), it.client_certificate_from.as_ref())),
            self.nats_jet_stream
                .as_ref()
                .map(|it| (it.ca_from.as_ref(), it.client_certificate_from.as_ref())),
            self.nats.as_ref().map(|it| (it.ca_from.as_ref(), it.client_certificate_from.as_ref())),
            kafka.map(|it| (it.ca_from.as_ref(), it.client_certificate_from.as_ref())),
            postgres.map(|it| (it.ca_from.as_ref(), it.client_certificate_from.as_ref())),
        ];
        kinds.into_iter().flatten()
    }
}

/// Two keys of one Secret.
fn both(name: &str, keys: [&str; 2]) -> [SecretKeyRef; 2] {
    keys.map(|key| SecretKeyRef { name: name.to_owned(), key: key.to_owned() })
}

/// Whether `source` has a stream or topic per table, as the CRD's rules ask it: what [`Source::topic_prefix`] says.
fn has_prefix(source: &str) -> String {
    format!(
        "((has({source}.redisStream) && has({source}.redisStream.topicPrefix)) || \
         (has({source}.kafka) && has({source}.kafka.topicPrefix)))"
    )
}

/// The CRD's rule of how many parts a table's name has.
pub(crate) fn parts_rule() -> String {
    // By caches first: the API server counts what a rule may cost at most, and their tables are to be counted once.
    format!(
        "self.caches.all(c, ((!has(c.table) || !c.table.matches('[.].*[.]')) && \
         (!has(c.dependsOn) || !c.dependsOn.exists(t, t.matches('[.].*[.]'))) && \
         (!has(c.mayDependOn) || !c.mayDependOn.exists(t, t.matches('[.].*[.]')))) || \
         self.sources.all(s, !{} || (has(c.source) && c.source != s.name)))",
        has_prefix("s")
    )
}

/// The CRD's rule that no cache of some kind has a source of some kind, each said as a condition on `c` and on `s`.
fn never(cache: &str, source: &str) -> String {
    format!(
        "!self.caches.exists(c, {cache} && \
         self.sources.exists(s, (!has(c.source) || c.source == s.name) && {source}))"
    )
}

/// The CRD's rule of what can be read from its first entry on.
pub(crate) fn warm_rule() -> String {
    never("has(c.warmStart) && c.warmStart", &has_prefix("s"))
}

/// The CRD's rule of what can be read again: what [`Source::keeps_nothing`] says.
pub(crate) fn kept_rule() -> String {
    never("has(c.warmStart) && c.warmStart", "(has(s.redisPubSub) || has(s.nats) || has(s.postgresNotify))")
}

/// The CRD's rule of where rows come by: what [`Source::is_without_images`] says.
pub(crate) fn images_rule() -> String {
    never("c.onChange == 'Hydrate'", "(has(s.redisPubSub) || has(s.postgresNotify))")
}

/// The CRD's rule of where heartbeats come by: what [`Source::is_without_heartbeats`] says.
pub(crate) fn heartbeats_rule() -> String {
    let of_tables = "!has(c.upstream) && !(has(c.published) && c.published)";
    format!("!has(self.freshness) || {}", never(of_tables, "has(s.redisPubSub)"))
}

/// The CRD's rule of where applications publish to.
pub(crate) fn published_rule() -> String {
    never("has(c.published) && c.published", &has_prefix("s"))
}

/// The CRD's rule of rows whose events carry no key: what [`Source::is_without_keys`] says.
pub(crate) fn key_rule() -> String {
    never("has(c.table) && !has(c.key)", "(has(s.natsJetStream) || has(s.nats))")
}
