//! Kafka: one broker, and a topic with one partition for each database.
//!
//! A client of Kafka goes where the broker says it is. So each proxy has a listener of its own behind it, which names
//! that proxy to whoever comes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Carries, Entry, Keeps, Newest, Ways};
use crate::process::debezium::{Settings, Sink};
use crate::process::kafka::Record;
use crate::process::{Child, Kafka};
use crate::torture::shape::Source;

/// The one partition.
pub(crate) const PARTITION: i32 = 0;

/// How long records stay: for the disk's sake, and longer than anybody is stopped.
const TOPIC: &[(&str, &str)] = &[("retention.ms", "600000"), ("segment.ms", "120000")];

/// Asks which requests the broker knows, which every Kafka answers.
const API_VERSIONS: &[u8] = &[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255];

/// The broker and its topics.
pub(crate) struct Topics {
    kafka: Kafka,
}

impl Topics {
    /// Starts a broker with a listener behind each proxy, and makes a topic for each database.
    pub(super) fn start(sidecars: usize, sources: &[Source]) -> Result<(Self, Ways)> {
        // Nobody comes by them before it is known where they lead.
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let ways = Ways::to(nowhere, sidecars, sources.len())?;
        let proxies = || ways.links.iter().chain(&ways.sinks);
        let builder = proxies()
            .fold(Kafka::builder().cleans_every(Duration::from_secs(30)), |builder, proxy| {
                builder.also_advertised(proxy.address())
            });
        let topics = Self { kafka: builder.start()? };
        for (index, proxy) in proxies().enumerate() {
            proxy.point_to(topics.kafka.behind(index).context("a listener for each proxy")?);
        }
        sources.iter().try_for_each(|source| topics.make(*source))?;
        Ok((topics, ways))
    }

    /// The broker.
    pub(crate) fn kafka(&self) -> &Kafka {
        &self.kafka
    }

    /// Makes a database's topic.
    pub(crate) fn make(&self, source: Source) -> Result<()> {
        self.kafka.create_topic(&format!("{}.cdc", source.name()), 1, TOPIC)
    }

    /// Starts the broker again, and then once more without what was written meanwhile.
    pub(crate) fn restart_without(
        &mut self,
        meanwhile: impl FnOnce(&Newest<'_>) -> Result<()>,
    ) -> Result<()> {
        self.kafka.restart_without(|kafka| {
            meanwhile(&|stream| newest(kafka, stream, None, 1)?.pop().context("an empty topic"))
        })
    }
}

impl Carries for Topics {
    fn first_word(&self) -> &'static [u8] {
        API_VERSIONS
    }

    fn process(&mut self) -> Option<&mut Child> {
        Some(self.kafka.process())
    }

    fn restart(&mut self) -> Result<()> {
        self.kafka.restart()
    }
}

impl Keeps for Topics {
    fn sink(&self) -> Sink<'_> {
        (&self.kafka).into()
    }

    fn settings(&self, settings: Settings, _: Source, sink: SocketAddr) -> Settings {
        let producer = |name: &str| format!("debezium.sink.kafka.producer.{name}");
        settings
            .set(&producer("bootstrap.servers"), &sink.to_string())
            // A connection that is dead would be waited for half a minute.
            .set(&producer("request.timeout.ms"), "6000")
            .set(&producer("reconnect.backoff.max.ms"), "500")
    }

    fn added(&self, stream: &str) -> Result<u64> {
        Ok(u64::try_from(self.kafka.offsets(stream, PARTITION)?.1)?)
    }

    fn after(&self, stream: &str, mark: &str) -> Result<Vec<Entry>> {
        let first = mark.parse::<i64>().context("an offset")? + 1;
        Ok(self.kafka.records_from(stream, PARTITION, first)?.iter().map(entry).collect())
    }

    fn newest(&self, stream: &str, before: Option<&str>, most: usize) -> Result<Vec<Entry>> {
        newest(&self.kafka, stream, before, most)
    }
}

fn newest(kafka: &Kafka, stream: &str, before: Option<&str>, most: usize) -> Result<Vec<Entry>> {
    let end = match before {
        Some(mark) => mark.parse().context("an offset")?,
        None => kafka.offsets(stream, PARTITION)?.1,
    };
    let first = end.saturating_sub_unsigned(most as u64).max(0);
    let read = kafka.records_from(stream, PARTITION, first)?;
    Ok(read.iter().rev().filter(|record| record.offset < end).map(entry).collect())
}

fn entry(record: &Record) -> Entry {
    let message = &record.message;
    let headers = message.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default()));
    Entry::new(record.offset.to_string(), message.key.as_deref(), message.value.as_deref(), headers)
}
