//! A small client of Kafka: for one reader of given partitions, or one writer, without groups and commits.
//!
//! It tells everything that continuity is judged by in the same answer as the records: topic ids, leader epochs, where
//! a log begins and how far it is stable. It never tries anything again by itself: each answer, each failure, is the
//! caller's to judge, who alone knows what may be repeated. Nothing runs while nobody asks, except for the fetches
//! that are on their way.
//!
//! Kafka 2.7 or newer: from there on, brokers tell of truncated logs; from 2.8 on, of topics made anew.

use std::{fmt, sync::Arc};

use freshet_crds::redis_url::HostPort;
use uuid::Uuid;

use crate::tls::Certificates;

mod batch;
mod client;
mod compression;
mod error;
mod fetch;
mod offsets;
mod outcome;
mod partitioner;
mod probe;
mod produce;
mod record;
mod topics;
mod way;
mod wire;

pub use client::Client;
pub use error::{KafkaError, ProduceError};
pub use offsets::{Edge, End};
pub use outcome::{Cursor, Fetched, Outcome, Stretch};
pub use partitioner::partition_of;
pub use probe::{Found, Probe, probe};
pub use produce::NewRecord;
pub use record::Record;

/// Where to connect to. Its `Debug` keeps passwords and keys to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Brokers of which any one leads to the others; at least one.
    pub brokers: Vec<HostPort>,
    /// The certificates of both sides; `None` means without TLS.
    pub tls: Option<Certificates>,
    /// Who we are; `None` means nobody in particular, or whom the certificate names.
    pub sasl: Option<Sasl>,
}

/// Who we are, by SASL. Its `Debug` keeps the password to itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// By which exchange that is shown.
    pub mechanism: Mechanism,
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

/// A mechanism of SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// The password as it is: only with TLS is it kept from others.
    Plain,
    /// SCRAM-SHA-256, which shows that both sides know the password.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its identity, another one if it is made anew under the same name; `None` before Kafka 2.8.
    pub id: Option<Uuid>,
    /// Its partitions by their numbers, which begin at 0; there may come more of them, never fewer.
    pub partitions: Vec<Partition>,
}

/// A partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 0.
    pub number: i32,
    /// The broker that leads it; `None` while none does.
    pub leader: Option<i32>,
    /// Rises with every election; `None` where the broker doesn't know.
    pub leader_epoch: Option<i32>,
}

/// A partition with the topic that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's identity.
    pub id: Option<Uuid>,
    /// The partition.
    pub partition: Partition,
}

// === impl Sasl ===

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .field("password", &"…")
            .finish()
    }
}

// === impl Topic ===

impl Topic {
    /// Its partitions, each with what it is of.
    pub fn topic_partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.partitions.iter().map(|partition| TopicPartition {
            topic: Arc::clone(&self.name),
            id: self.id,
            partition: *partition,
        })
    }
}

// === impl TopicPartition ===

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_kept_back() {
        let sasl = Sasl { mechanism: Mechanism::Plain, username: "freshet".into(), password: "hush".into() };
        let target = Target { brokers: vec![], tls: None, sasl: Some(sasl) };
        let shown = format!("{target:?}");
        assert!(shown.contains("freshet") && !shown.contains("hush"), "{shown}");
    }
}
