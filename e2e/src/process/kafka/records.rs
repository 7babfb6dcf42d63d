//! What tests write to partitions, and read from them.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use kafka_protocol::messages::end_txn_request::EndTxnRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use kafka_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::messages::{InitProducerIdResponse, ProducerId, TransactionalId};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record as Encoded,
    RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::super::until;
use super::Kafka;
use super::connection::{Connection, succeeded, text, topic};

/// All replicas that are in sync have it.
const ALL: i16 = -1;
const ANSWER_MS: i32 = 30_000;
/// How much is read at once, in bytes.
const BLOCK: i32 = 8 << 20;
/// How long Kafka may take until it coordinates transactions.
const COORDINATOR: std::time::Duration = std::time::Duration::from_secs(30);

/// What a producer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The key's bytes.
    pub key: Option<Vec<u8>>,
    /// The value's bytes; without them it is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names, each at most once, and what they have.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// How much is written at once, in bytes.
const WRITTEN_AT_ONCE: usize = 512 << 10;

/// A message as a partition has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it is in its partition.
    pub offset: i64,
    /// When its producer says that it was made, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// What the producer said.
    pub message: Message,
}

/// Who writes.
#[derive(Clone, Copy)]
struct Producer {
    id: i64,
    epoch: i16,
    transactional: bool,
}

impl Message {
    /// A key and a value.
    #[must_use]
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), headers: Vec::new() }
    }

    /// A key without a value.
    #[must_use]
    pub fn tombstone(key: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }
}

impl Kafka {
    /// Writes messages to a partition, and returns the offset of the first of them.
    pub fn produce(&self, name: &str, partition: i32, messages: &[Message]) -> Result<i64> {
        let nobody = Producer { id: NO_PRODUCER_ID, epoch: NO_PRODUCER_EPOCH, transactional: false };
        write(&mut self.connection()?, None, nobody, name, partition, messages)
    }

    /// Writes the same message to a partition so many times.
    pub fn produce_many(&self, name: &str, partition: i32, message: &Message, count: usize) -> Result<()> {
        let of = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let size = of(&message.key) + of(&message.value) + 256;
        let block = (WRITTEN_AT_ONCE / size).clamp(1, count.max(1));
        let messages = vec![message.clone(); block];
        for from in (0..count).step_by(block) {
            self.produce(name, partition, &messages[..block.min(count - from)])?;
        }
        Ok(())
    }

    /// Writes messages to a partition in a transaction, which then commits or aborts; returns the offset of the first of
    /// them. Behind the last follows Kafka's own mark of the end, which takes an offset, too.
    pub fn produce_in_transaction(
        &self,
        name: &str,
        partition: i32,
        messages: &[Message],
        commit: bool,
    ) -> Result<i64> {
        let mut connection = self.connection()?;
        let id = TransactionalId(text("freshet-tests"));
        let coordinator =
            FindCoordinatorRequest::default().with_key_type(1).with_coordinator_keys(vec![id.0.clone()]);
        let start: InitProducerIdResponse = until("Kafka coordinates transactions", COORDINATOR, || {
            // The first one that asks makes the topic of transactions.
            let answer = connection.ask(4, &coordinator)?;
            let found = answer.coordinators.first().context("no answer")?;
            succeeded(found.error_code, found.error_message.as_ref())?;
            let start = InitProducerIdRequest::default()
                .with_transactional_id(Some(id.clone()))
                .with_transaction_timeout_ms(60_000)
                .with_producer_id(ProducerId(NO_PRODUCER_ID))
                .with_producer_epoch(NO_PRODUCER_EPOCH);
            let answer = connection.ask(4, &start)?;
            succeeded(answer.error_code, None)?;
            Ok(answer)
        })?;
        let partitions =
            AddPartitionsToTxnTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
        let partition_of = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id.clone())
            .with_v3_and_below_producer_id(start.producer_id)
            .with_v3_and_below_producer_epoch(start.producer_epoch)
            .with_v3_and_below_topics(vec![partitions]);
        // While the transaction before it is being completed, another can't begin.
        until("the transaction has begun", COORDINATOR, || {
            let answer = connection.ask(3, &partition_of)?;
            let topics = answer.results_by_topic_v3_and_below.first();
            let begun = topics.and_then(|topic| topic.results_by_partition.first()).context("no answer")?;
            succeeded(begun.partition_error_code, None)
        })?;
        let producer = Producer { id: start.producer_id.0, epoch: start.producer_epoch, transactional: true };
        let first = write(&mut connection, Some(id.clone()), producer, name, partition, messages)?;
        let end = EndTxnRequest::default()
            .with_transactional_id(id)
            .with_producer_id(start.producer_id)
            .with_producer_epoch(start.producer_epoch)
            .with_committed(commit);
        succeeded(connection.ask(3, &end)?.error_code, None).context("ending the transaction")?;
        Ok(first)
    }

    /// All records that a partition has, of open and of aborted transactions as well, without Kafka's own marks.
    pub fn records(&self, name: &str, partition: i32) -> Result<Vec<Record>> {
        self.records_from(name, partition, 0)
    }

    /// [`Kafka::records`] from this offset on.
    pub fn records_from(&self, name: &str, partition: i32, first: i64) -> Result<Vec<Record>> {
        let (start, end) = self.offsets(name, partition)?;
        let mut next = first.max(start);
        let mut connection = self.connection()?;
        let mut records = Vec::new();
        while next < end {
            let wanted = FetchPartition::default()
                .with_partition(partition)
                .with_current_leader_epoch(-1)
                .with_fetch_offset(next)
                .with_last_fetched_epoch(-1)
                .with_log_start_offset(-1)
                .with_partition_max_bytes(BLOCK);
            let wanted = FetchTopic::default().with_topic(topic(name)).with_partitions(vec![wanted]);
            let request = FetchRequest::default()
                .with_replica_id((-1).into())
                .with_max_wait_ms(ANSWER_MS)
                .with_min_bytes(1)
                .with_max_bytes(BLOCK)
                .with_session_epoch(-1)
                .with_topics(vec![wanted]);
            let answer = connection.ask(12, &request)?;
            let found = answer.responses.first().and_then(|topic| topic.partitions.first());
            let found = found.context("no answer")?;
            succeeded(found.error_code, None).with_context(|| format!("reading {name} {partition}"))?;
            let before = next;
            let mut bytes = whole(found.records.clone().unwrap_or_default());
            for batch in RecordBatchDecoder::decode_all(&mut bytes)? {
                for record in batch.records {
                    // A batch is sent whole though only its end was asked for.
                    if record.offset >= before {
                        next = next.max(record.offset + 1);
                        records.extend((!record.control).then(|| decoded(record)));
                    }
                }
            }
            anyhow::ensure!(next > before, "{name} {partition} has nothing at {before}, and ends at {end}");
        }
        Ok(records)
    }
}

/// The batches that are there to their ends: a large answer stops wherever its bytes are used up.
fn whole(mut bytes: Bytes) -> Bytes {
    // A batch begins with its offset and the length of what follows.
    const HEAD: usize = 12;
    let mut end = 0;
    while let Some(&[_, _, _, _, _, _, _, _, a, b, c, d]) = bytes.get(end..end + HEAD) {
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let next = (end + HEAD).saturating_add(length);
        if next > bytes.len() {
            break;
        }
        end = next;
    }
    bytes.truncate(end);
    bytes
}

fn write(
    connection: &mut Connection,
    transaction: Option<TransactionalId>,
    producer: Producer,
    name: &str,
    partition: i32,
    messages: &[Message],
) -> Result<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis())?;
    let records = (0..).zip(messages).map(|(index, message)| encoded(message, index, now, producer));
    let records: Vec<_> = records.collect();
    let mut batch = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut batch, &records, &options)?;
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch.freeze()));
    let data = TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_transactional_id(transaction)
        .with_acks(ALL)
        .with_timeout_ms(ANSWER_MS)
        .with_topic_data(vec![data]);
    let answer = connection.ask(9, &request)?;
    let written = answer.responses.first().and_then(|topic| topic.partition_responses.first());
    let written = written.context("no answer")?;
    succeeded(written.error_code, written.error_message.as_ref())
        .with_context(|| format!("writing to {name} {partition}"))?;
    Ok(written.base_offset)
}

fn encoded(message: &Message, index: i32, timestamp: i64, producer: Producer) -> Encoded {
    let bytes = |bytes: &Vec<u8>| Bytes::from(bytes.clone());
    Encoded {
        transactional: producer.transactional,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(index),
        sequence: index,
        timestamp,
        key: message.key.as_ref().map(bytes),
        value: message.value.as_ref().map(bytes),
        headers: message
            .headers
            .iter()
            .map(|(name, value)| (text(name), value.as_ref().map(bytes)))
            .collect(),
    }
}

fn decoded(record: Encoded) -> Record {
    let bytes = |bytes: Bytes| bytes.to_vec();
    let headers = record.headers.into_iter().map(|(name, value)| (name.to_string(), value.map(bytes)));
    let message =
        Message { key: record.key.map(bytes), value: record.value.map(bytes), headers: headers.collect() };
    Record { offset: record.offset, timestamp_ms: record.timestamp, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_was_cut_off_is_left_out() {
        let batch = |length: u8| [&[0; 11], [length].as_slice(), &vec![7; length.into()]].concat();
        let two = [batch(3), batch(5)].concat();
        for (cut, left) in [(0, 32), (1, 15), (17, 15), (18, 0), (31, 0)] {
            assert_eq!(
                whole(Bytes::copy_from_slice(&two[..32 - cut])).len(),
                left,
                "{cut} bytes are missing"
            );
        }
    }
}
