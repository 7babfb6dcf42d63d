//! Whether a binding's sources can be reached, and are what its caches need: asked by connections of the operator's own,
//! made as sidecars make theirs.

use std::{collections::BTreeSet, time::Duration};

pub use access::Access;
use freshet_connect::{ConnectError, Link, kafka::KafkaError, nats::NatsError, postgres::PostgresError};
use freshet_crds::binding::{UnfitNatsUrl, UnfitPostgresUrl};
use names::InNamespace;

/// How long one source has to answer everything.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// How long one server may take to let us in; less than [`DEADLINE`], so that it is told which one didn't.
const ONE_SERVER: Duration = Duration::from_secs(3);

/// A source to be probed. Its `Debug` keeps passwords and keys to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The source's name in the binding.
    pub name: String,
    /// Where it is, with credentials and certificates.
    pub access: Access,
    /// The streams that the sidecars will follow; of a Kafka, the topics.
    pub streams: BTreeSet<String>,
    /// The tables that caches name.
    pub tables: BTreeSet<String>,
    /// What caches take of it.
    pub uses: Uses,
}

/// What caches take of a source's changes. Each takes what those before it take, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Uses {
    /// Which rows have changed.
    #[default]
    Keys,
    /// Rows as they are after a change: `onChange: Hydrate`.
    Values,
    /// What the stream still has of the past: `warmStart`.
    History,
}

/// A source that answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The streams that aren't there yet: Debezium makes them with their first event.
    pub absent: Vec<String>,
    /// What keeps entries from staying as long as caches need them.
    pub flaws: Vec<Flaw>,
}

/// Something by which a server doesn't keep what caches need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Redis removes whole streams when its memory is full, by this `maxmemory-policy`.
    Evicting(String),
    /// Only one server of NATS has this stream, in its memory.
    Forgetful(String),
    /// Of the messages of a subject this stream keeps so many.
    FewPerSubject(String, u64),
    /// Older records of a key are removed from this topic.
    Compacted(String),
    /// It can't be told whether they are.
    PerhapsCompacted(String),
    /// No trigger tells of this table's changes.
    Untold(String),
    /// This topic has several partitions, and nothing tells the order of what is in different ones.
    Divided(String, usize),
}

/// Why a source can't be used. No text of it carries a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// The Secret isn't there.
    #[error("there is no Secret {0}")]
    NoSecret(String),
    /// The Secret has no such key, or not as text.
    #[error("Secret {0} has no key {1} with a text")]
    NoSecretKey(String, String),
    /// The ConfigMap isn't there.
    #[error("there is no ConfigMap {0}")]
    NoConfigMap(String),
    /// The ConfigMap has no such key.
    #[error("ConfigMap {0} has no key {1}")]
    NoConfigMapKey(String, String),
    /// The URL of a NATS can't be used.
    #[error(transparent)]
    NatsUrl(#[from] UnfitNatsUrl),
    /// The URL of a PostgreSQL can't be used.
    #[error(transparent)]
    PostgresUrl(#[from] UnfitPostgresUrl),
    /// It is in the sidecar's own file system.
    #[error("a file is for sidecars that are given their binding by hand: in a cluster a source is a server")]
    File,
    /// No answer to everything in time.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Timeout,
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A Kafka can't be used.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A NATS, or its JetStream, can't be used.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// A PostgreSQL can't be listened to.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// A stream of NATS that isn't kept for all who read it.
    #[error(
        "{0} keeps messages only until somebody has consumed them (workqueue or interest): sidecars read all of a \
         stream, each for itself, which needs the retention `limits`"
    )]
    Consumed(String),
    /// A key with a stream's name holds something else.
    #[error("{0} is not a stream")]
    NotAStream(String),
    /// It is a replica.
    #[error(
        "this Redis is a replica: what it misses of its master's messages it never sends; name the master, or its Sentinels"
    )]
    Replica,
    /// It is older than 7.0.
    #[error("Redis is older than 7.0: streams don't count their entries")]
    TooOld,
}

/// Connects as a sidecar of a pod in `namespace` would, and asks for the streams.
pub async fn probe(target: &Target, namespace: &str) -> Result<Reached, Unreachable> {
    let names = InNamespace(namespace.to_owned());
    let asked = async {
        match &target.access {
            Access::Redis(redis) => redis_stream::ask(redis, &target.streams, &names).await,
            Access::RedisChannel(redis) => redis_pub_sub::ask(redis, &target.streams, &names).await,
            Access::NatsSubject(nats) => nats_subject::ask(nats, &target.streams, &names).await,
            Access::Nats(nats) => nats_jet_stream::ask(nats, &target.streams, &names).await,
            Access::Postgres(postgres) => postgres_notify::ask(postgres, target, &names).await,
            Access::Kafka(kafka) => kafka::ask(kafka, &target.streams, target.uses, &names).await,
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.unwrap_or(Err(Unreachable::Timeout))
}

/// Connects to a Redis as a sidecar of a pod in `namespace` would.
pub(crate) async fn connect(redis: &freshet_connect::Target, namespace: &str) -> Result<Link, ConnectError> {
    freshet_connect::connect(redis, &InNamespace(namespace.to_owned()), ONE_SERVER).await
}

mod access;
mod kafka;
mod names;
mod nats_jet_stream;
mod nats_subject;
mod postgres_notify;
mod redis_pub_sub;
mod redis_stream;
#[cfg(test)]
mod tests;
