//! The wire types of a `kafka`.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BasicAuthSecretRef, Tls};

/// The topics of Kafka that Debezium writes, on Kafka Connect or as Debezium Server. Sidecars read all partitions, belong
/// to no group and commit nothing.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.topicPrefix) != has(self.topic)")
        .message(crate::refusals::ONE_KAFKA_LAYOUT)
)]
pub struct Kafka {
    /// Brokers of the cluster, each `host[:port]`, port 9092 unless given. The first that answers names all others.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 259)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new(format!("self.all(b, b.matches('^{}$'))", crate::host_port::host_port_rule()))
            .message(crate::refusals::BROKER_FORM)
    )]
    pub brokers: Vec<String>,
    /// Debezium's `topic.prefix`: there is one topic per table, named `<topicPrefix>.<table>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9._-]+$')").message(crate::refusals::TOPIC_PREFIX_FORM)
    )]
    pub topic_prefix: Option<String>,
    /// The one topic that all events are routed into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9._-]+$') && !(self in ['.', '..'])")
            .message(crate::refusals::TOPIC_FORM)
    )]
    pub topic: Option<String>,
    /// With it, even empty, connections are encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How sidecars and operator say who they are. Default: they don't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
}

/// A user, and how its password is shown to brokers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: SaslMechanism,
    /// The Secret with user and password.
    pub secret_ref: BasicAuthSecretRef,
}

/// How a password is shown to brokers.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// PLAIN: as it is. Without `tls` anybody on the way can read it.
    Plain,
    /// SCRAM-SHA-256: only that it is known.
    ScramSha256,
    /// SCRAM-SHA-512: likewise.
    ScramSha512,
}
