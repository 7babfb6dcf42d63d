//! Topics of a Kafka.

use anyhow::{Context as _, Result};
use freshet_e2e::process::debezium::Sink;
use freshet_e2e::process::kafka::{Kafka, Message, VERSION};
use serde::Serialize;

use super::{Entry, Server};

/// A Kafka whose topics have so many partitions.
pub(super) struct Topics<const PARTITIONS: u8> {
    kafka: Kafka,
}

impl<const PARTITIONS: u8> Server for Topics<PARTITIONS> {
    type Entry = TopicRecord;

    fn start() -> Result<Self> {
        let partitions = PARTITIONS.to_string();
        let kafka = Kafka::builder().auto_create_topics().set("num.partitions", &partitions).start()?;
        Ok(Self { kafka })
    }

    fn sink(&self) -> Sink<'_> {
        Sink::Kafka(&self.kafka)
    }

    fn version(&self) -> Result<(&'static str, String)> {
        Ok(("kafka", VERSION.to_owned()))
    }

    /// In the order of their times; within a partition, of the log.
    fn entries(&self) -> Result<Vec<TopicRecord>> {
        let mut all = Vec::new();
        for topic in self.kafka.topics()? {
            for partition in 0..i32::from(PARTITIONS) {
                for record in self.kafka.records(&topic, partition)? {
                    let Message { key, value, headers } = record.message;
                    all.push(TopicRecord {
                        topic: topic.clone(),
                        partition,
                        offset: record.offset,
                        timestamp: record.timestamp_ms,
                        key: text(key)?,
                        headers: headers
                            .into_iter()
                            .map(|(name, value)| Ok((name, text(value)?)))
                            .collect::<Result<_>>()?,
                        value: text(value)?,
                    });
                }
            }
        }
        // Stable: a partition's records of one millisecond stay in order.
        all.sort_by_key(|record| record.timestamp);
        Ok(all)
    }
}

/// One record of a topic.
#[derive(Serialize)]
pub(super) struct TopicRecord {
    topic: String,
    partition: i32,
    offset: i64,
    /// Milliseconds since 1970.
    timestamp: i64,
    key: Option<String>,
    headers: Vec<(String, Option<String>)>,
    /// `null` is a tombstone.
    value: Option<String>,
}

impl Entry for TopicRecord {
    fn holds(&self, text: &str) -> bool {
        [&self.key, &self.value].into_iter().flatten().any(|part| part.contains(text))
    }
}

/// The bytes as the text that they are with the JSON converter.
fn text(bytes: Option<Vec<u8>>) -> Result<Option<String>> {
    bytes.map(String::from_utf8).transpose().context("not text")
}
