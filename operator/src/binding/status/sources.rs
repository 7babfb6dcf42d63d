//! The condition `SourcesReachable`: the operator reached all sources.

use freshet_connect::{ConnectError, Unusable, kafka::KafkaError, nats::NatsError, postgres::PostgresError};

use super::{Outcome, Reason, Verdict};
use crate::sources::Unreachable;

pub(super) fn sources(outcome: &Outcome<'_>) -> Verdict {
    if outcome.accepted.is_err() {
        let message = "sources are looked at once the binding is accepted";
        return Verdict { holds: None, reason: Reason::NotAccepted, message: message.into() };
    }
    let failed: Vec<_> =
        outcome.sources.iter().filter_map(|(name, said)| Some((name, said.as_ref().err()?))).collect();
    if let Some((_, first)) = failed.first() {
        let messages: Vec<_> = failed.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        return Verdict::new(false, meaning(first), messages.join("; "));
    }
    let absent =
        outcome.sources.iter().filter_map(|(_, said)| said.as_ref().ok()).flat_map(|said| &said.absent);
    let absent: Vec<_> = absent.map(String::as_str).collect();
    let message = if outcome.sources.is_empty() {
        "no cache needs a source".into()
    } else if absent.is_empty() {
        "all sources and streams are there".into()
    } else {
        format!("all sources are there; no event yet in {}", absent.join(", "))
    };
    Verdict::new(true, Reason::Reached, message)
}

fn meaning(error: &Unreachable) -> Reason {
    match error {
        Unreachable::NoSecret(_) | Unreachable::NoSecretKey(..) => Reason::SecretMissing,
        Unreachable::NoConfigMap(_) | Unreachable::NoConfigMapKey(..) => Reason::ConfigMapMissing,
        Unreachable::Timeout => Reason::Unreachable,
        Unreachable::Connect(error) => no_connection(error),
        Unreachable::NatsUrl(_) | Unreachable::PostgresUrl(_) => Reason::InvalidUrl,
        Unreachable::Kafka(error) => of_kafka(error),
        Unreachable::Nats(error) => of_nats(error),
        Unreachable::Postgres(error) => of_postgres(error),
        Unreachable::NotAStream(_)
        | Unreachable::TooOld
        | Unreachable::Replica
        | Unreachable::Consumed(_)
        | Unreachable::File => Reason::Unusable,
    }
}

fn of_kafka(error: &KafkaError) -> Reason {
    match error {
        KafkaError::Connect(error) => no_connection(error),
        KafkaError::NoBroker(_) | KafkaError::Closed(_) => Reason::Unreachable,
        KafkaError::NotTls(_) => Reason::TlsFailed,
        KafkaError::Refused(..)
        | KafkaError::NoMechanism { .. }
        | KafkaError::NoSasl(_)
        | KafkaError::Unusable(_) => Reason::CredentialsRefused,
        KafkaError::NotPermitted(_) => Reason::NotPermitted,
        KafkaError::NoLeader(_) => Reason::NoMaster,
        KafkaError::NotKafka(..)
        | KafkaError::TooOld { .. }
        | KafkaError::TooFewReplicas(_)
        | KafkaError::UnknownTopic(_)
        | KafkaError::Malformed(_)
        | KafkaError::Says(_) => Reason::Unusable,
    }
}

fn of_nats(error: &NatsError) -> Reason {
    match error {
        NatsError::Connect(error) => no_connection(error),
        NatsError::NotPermitted(_) => Reason::NotPermitted,
        NatsError::Lost(_) | NatsError::Dropped(_) => Reason::Unreachable,
        NatsError::NoJetStream(_) | NatsError::NoSubject(_) | NatsError::Says(_) => Reason::Unusable,
    }
}

fn of_postgres(error: &PostgresError) -> Reason {
    match error {
        PostgresError::Connect(error) => no_connection(error),
        PostgresError::HasNoTls(_) => Reason::TlsFailed,
        PostgresError::NoEntry(..) | PostgresError::NoPassword(_) => Reason::CredentialsRefused,
        PostgresError::NotPermitted(_) => Reason::NotPermitted,
        PostgresError::Standby(_) => Reason::NoMaster,
        PostgresError::NotPostgres(_)
        | PostgresError::NoDatabase(..)
        | PostgresError::Pooled(_)
        | PostgresError::Flooded(_)
        | PostgresError::Says(_) => Reason::Unusable,
    }
}

fn no_connection(error: &ConnectError) -> Reason {
    match error {
        ConnectError::Url(_) => Reason::InvalidUrl,
        ConnectError::NoAddress(_)
        | ConnectError::Timeout(_)
        | ConnectError::NoConnection(..)
        | ConnectError::Closed(_)
        | ConnectError::Redis(Unusable::Lost(_)) => Reason::Unreachable,
        ConnectError::BadAuthorities(_) | ConnectError::BadClientCertificate(_) => Reason::CertificateInvalid,
        ConnectError::Untrusted(..) => Reason::Untrusted,
        ConnectError::ClientRefused(..) => Reason::ClientCertificateRefused,
        ConnectError::NotTls(_)
        | ConnectError::HasNoTls(_)
        | ConnectError::WantsTls(_)
        | ConnectError::Tls(..) => Reason::TlsFailed,
        ConnectError::NoMaster(_) | ConnectError::NoNode(_) => Reason::NoMaster,
        ConnectError::Refused(_)
        | ConnectError::BadCredentials
        | ConnectError::Redis(Unusable::Refused(_)) => Reason::CredentialsRefused,
        ConnectError::Redis(Unusable::NotPermitted(_)) => Reason::NotPermitted,
        ConnectError::NotRedis(_) | ConnectError::NotNats(_) | ConnectError::Redis(Unusable::Other(_)) => {
            Reason::Unusable
        }
    }
}
