//! Adds what is published to the one topic, by key: with several partitions each has its part of a batch, and a large part is
//! added by several calls.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use freshet_connect::{
    System,
    kafka::{Client, KafkaError, NewRecord, ProduceError, Topic as Told, partition_of},
};
use freshet_crds::binding::KafkaSpec;
use tokio::time::Instant;

use super::{REPLY, access};
use crate::{
    clock::millis,
    envelope::write::apart,
    mounts::Mounts,
    publishing::Envelope,
    source::transport::{Outlet, WriteError, Writer},
};

/// A topic.
pub(in crate::source) struct Topic {
    name: Arc<str>,
    kafka: KafkaSpec,
    mounts: Mounts,
}

/// For how long the topic is taken to have the partitions that it had: where it has more, keys go elsewhere, and starts order
/// what is said of them.
const LATELY: Duration = Duration::from_secs(10);

/// Most bytes of what is added by one call, unless one message alone has more: the broker takes all of it as one batch of
/// records, and none above its `message.max.bytes` (1 MiB by default).
const CALL: usize = 512 << 10;

/// Connections that write.
pub(in crate::source) struct Adding {
    client: Client<System>,
    name: Arc<str>,
    /// The topic as it was told last, and when.
    told: Option<(Told, Instant)>,
}

/// What is added to a partition at once.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    partition: i32,
    /// The place of its first message among all.
    first: usize,
    size: usize,
    records: Vec<NewRecord>,
}

impl Topic {
    pub(in crate::source) fn new(name: &str, kafka: KafkaSpec, mounts: Mounts) -> Self {
        Self { name: name.into(), kafka, mounts }
    }
}

impl Outlet for Topic {
    type Writer = Adding;

    async fn open(&self) -> Result<Adding, WriteError> {
        let target = access::kafka(&self.kafka, &self.mounts)
            .map_err(|error| WriteError::Unavailable(error.to_string()))?;
        let client = Client::connect(&target, &System, REPLY).await.map_err(|error| not_written(&error))?;
        Ok(Adding { client, name: Arc::clone(&self.name), told: None })
    }
}

impl Writer for Adding {
    /// Before it uses a connection the client looks.
    fn is_open(&self) -> bool {
        true
    }

    async fn write(&mut self, messages: &[Envelope], done: &mut usize) -> Result<(), WriteError> {
        let topic = self.topic().await?;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp_ms = i64::try_from(millis(wall)).unwrap_or(i64::MAX);
        let records = messages.iter().map(|message| {
            let record = record(message, timestamp_ms);
            (partition(&topic, record.key.as_ref()), record)
        });
        let mut calls = calls(records).into_iter().peekable();
        while let Some(call) = calls.next() {
            let number = call.partition;
            let to = topic.topic_partitions().find(|to| to.partition.number == number);
            let to =
                to.ok_or_else(|| WriteError::Unavailable(format!("no partition {number} is told of")))?;
            self.client.produce(&to, &call.records).await.map_err(meaning)?;
            // All before the next one's first message is in those that were made.
            *done = calls.peek().map_or(messages.len(), |next| next.first);
        }
        Ok(())
    }
}

impl Adding {
    async fn topic(&mut self) -> Result<Told, WriteError> {
        if let Some((topic, at)) = &self.told
            && at.elapsed() < LATELY
        {
            return Ok(topic.clone());
        }
        let told = self
            .client
            .topics(std::slice::from_ref(&self.name))
            .await
            .map_err(|error| not_written(&error))?;
        let topic = told.into_iter().next().transpose().map_err(|error| not_written(&error))?.flatten();
        let topic =
            topic.ok_or_else(|| WriteError::Unavailable(format!("there is no topic {}", self.name)))?;
        self.told = Some((topic.clone(), Instant::now()));
        Ok(topic)
    }
}

/// Where a key belongs; what has none goes to the first partition.
fn partition(topic: &Told, key: Option<&Bytes>) -> i32 {
    let count = u32::try_from(topic.partitions.len()).ok().and_then(NonZeroU32::new);
    key.zip(count).map_or(0, |(key, count)| partition_of(key, count))
}

/// What is added by which call: the order of each partition's records is kept, and calls are in the order of their first
/// messages, so that what is there soon is all from the first on.
fn calls(records: impl Iterator<Item = (i32, NewRecord)>) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    // Each partition's last one.
    let mut last = BTreeMap::new();
    for (first, (partition, record)) in records.enumerate() {
        let size = size(&record);
        let found = last.get(&partition).and_then(|at: &usize| calls.get_mut(*at));
        if let Some(call) = found.filter(|call| call.size + size <= CALL) {
            call.size += size;
            call.records.push(record);
        } else {
            last.insert(partition, calls.len());
            calls.push(Call { partition, first, size, records: vec![record] });
        }
    }
    calls
}

fn size(record: &NewRecord) -> usize {
    let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter().map(|(name, value)| name.len() + of(value));
    of(&record.key) + of(&record.value) + headers.sum::<usize>()
}

fn record(message: &Envelope, timestamp_ms: i64) -> NewRecord {
    let parts = apart(message);
    let headers =
        parts.headers.into_iter().map(|(name, text)| (name.to_owned(), Some(text.into()))).collect();
    NewRecord { key: parts.key, value: parts.value, headers, timestamp_ms }
}

fn meaning(error: ProduceError) -> WriteError {
    match error {
        ProduceError::NotWritten(error) => not_written(&error),
        ProduceError::Unknown(error) => WriteError::Unknown(error.to_string()),
    }
}

/// What keeps Kafka from taking it, and for how long.
fn not_written(error: &KafkaError) -> WriteError {
    let text = error.to_string();
    match error {
        KafkaError::NotPermitted(_) | KafkaError::Says(_) | KafkaError::Malformed(_) => {
            WriteError::Refused(text)
        }
        _ => WriteError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests;
