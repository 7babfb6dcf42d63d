//! Where a source is, from its binding and from what is mounted for it. All that is mounted is read each time, since it
//! changes.

use freshet_connect::{Target, kafka, nats, postgres};
use freshet_crds::{
    SaslMechanism,
    binding::{
        KafkaSpec, NatsSpec, PostgresSpec, RedisSpec, SaslSpec, StreamLayout, UnfitNatsUrl, UnfitPostgresUrl,
        UnfitUrl,
    },
    names,
};

use crate::mounts::{Mounts, Unreadable};

/// Why nobody knows where a source is. No text of it carries a credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error(transparent)]
    Mount(#[from] Unreadable),
    #[error(transparent)]
    Redis(#[from] UnfitUrl),
    #[error(transparent)]
    Nats(#[from] UnfitNatsUrl),
    #[error(transparent)]
    Postgres(#[from] UnfitPostgresUrl),
}

/// A Redis.
pub(super) fn redis(
    redis: &RedisSpec,
    layout: &StreamLayout,
    mounts: &Mounts,
) -> Result<Target, AccessError> {
    let text = mounts.url(&redis.url)?;
    let url = redis.url(layout, || text)?;
    let certificates = mounts.certificates(&redis.tls)?;
    Ok(Target { url, certificates, stream: layout.stream().map(str::to_owned) })
}

/// A Redis with a channel.
pub(super) fn redis_channel(redis: &RedisSpec, mounts: &Mounts) -> Result<Target, AccessError> {
    let text = mounts.url(&redis.url)?;
    let url = redis.url_of_channel(|| text)?;
    Ok(Target { url, certificates: mounts.certificates(&redis.tls)?, stream: None })
}

/// A NATS.
pub(super) fn nats(nats: &NatsSpec, mounts: &Mounts) -> Result<nats::Target, AccessError> {
    let text = mounts.url(&nats.url)?;
    let url = nats.url(|| text)?;
    let certificates = mounts.certificates(&nats.tls)?;
    let credentials = match &nats.credentials {
        None => None,
        Some(from) => Some(mounts.text("credentialsFrom", &from.name, &from.key)?),
    };
    Ok(nats::Target { url, certificates, credentials })
}

/// A PostgreSQL.
pub(super) fn postgres(postgres: &PostgresSpec, mounts: &Mounts) -> Result<postgres::Target, AccessError> {
    let text = mounts.url(&postgres.url)?;
    let url = postgres.url(|| text)?;
    let tls = postgres.tls.as_ref().map(|tls| mounts.certificates(tls)).transpose()?;
    Ok(postgres::Target { url, tls })
}

/// A Kafka.
pub(super) fn kafka(kafka: &KafkaSpec, mounts: &Mounts) -> Result<kafka::Target, AccessError> {
    let tls = kafka.tls.as_ref().map(|tls| mounts.certificates(tls)).transpose()?;
    let sasl = kafka.sasl.as_ref().map(|sasl| login(sasl, mounts)).transpose()?;
    Ok(kafka::Target { brokers: kafka.brokers.clone(), tls, sasl })
}

fn login(sasl: &SaslSpec, mounts: &Mounts) -> Result<kafka::Sasl, AccessError> {
    let mechanism = match sasl.mechanism {
        SaslMechanism::Plain => kafka::Mechanism::Plain,
        SaslMechanism::ScramSha256 => kafka::Mechanism::ScramSha256,
        SaslMechanism::ScramSha512 => kafka::Mechanism::ScramSha512,
    };
    let text = |key| mounts.text("sasl", &sasl.secret, key);
    Ok(kafka::Sasl { mechanism, username: text(names::USERNAME)?, password: text(names::PASSWORD)? })
}
