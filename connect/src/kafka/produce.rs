//! Writing.

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    error::{ParseResponseErrorCode as _, ResponseError},
    messages::{
        ProduceRequest, ProduceResponse,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::StrBytes,
    records::{
        Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record as Written,
        RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    },
};
use std::time::Duration;

use super::{Client, KafkaError, ProduceError, TopicPartition, error::brief, topics::topic_name};
use crate::Resolve;

/// All replicas in sync have it.
const ALL: i16 = -1;

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// Its key: [`super::partition_of`] tells where it belongs.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers; of several with the same name, the last one counts.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// When it was made; Unix time in milliseconds.
    pub timestamp_ms: i64,
}

// === impl Client ===

impl<R: Resolve> Client<R> {
    /// Appends records to a partition, all or none of them, and answers with the offset of the first once every
    /// replica in sync has them. Tried once: if the outcome is unknown, writing them again may write them twice.
    ///
    /// Waits at most `within` of [`Client::connect`], after a connection is there.
    pub async fn produce(&mut self, to: &TopicPartition, records: &[NewRecord]) -> Result<i64, ProduceError> {
        let not_written = ProduceError::NotWritten;
        let leader = to.partition.leader.ok_or_else(|| not_written(KafkaError::NoLeader(to.to_string())))?;
        let batch = batch(records).map_err(not_written)?;
        let mut connection = self.leader(leader).await.map_err(not_written)?;
        // From 13 on a topic is named by its id alone.
        let version = connection.version::<ProduceRequest>(8..=12).map_err(not_written)?;
        // The broker gives up before we do, so that it is it who says so.
        let patience = self.way.within * 3 / 4;
        let partition =
            PartitionProduceData::default().with_index(to.partition.number).with_records(Some(batch));
        let topic =
            TopicProduceData::default().with_name(topic_name(&to.topic)).with_partition_data(vec![partition]);
        let question = ProduceRequest::default()
            .with_acks(ALL)
            .with_timeout_ms(i32::try_from(patience.as_millis()).unwrap_or(i32::MAX))
            .with_topic_data(vec![topic]);
        let asked = connection.ask(&question, version, Duration::ZERO).await;
        let answer = asked.map_err(ProduceError::Unknown)?;
        connection.throttled(answer.throttle_time_ms);
        self.keep(leader, connection);
        offset(&answer, to)
    }
}

fn batch(records: &[NewRecord]) -> Result<Bytes, KafkaError> {
    let written: Vec<_> = records.iter().zip(0..).map(|(record, place)| written(record, place)).collect();
    if written.is_empty() {
        return Err(KafkaError::Malformed("no records to write".into()));
    }
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &written, &options)
        .map_err(|error| KafkaError::Malformed(brief(&error.to_string())))?;
    Ok(bytes.freeze())
}

fn written(record: &NewRecord, place: i32) -> Written {
    let header = |(name, value): &(String, _)| (StrBytes::from_string(name.clone()), Option::clone(value));
    Written {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(place),
        // One before the offset throughout, so that it is all one batch that begins with none.
        sequence: place - 1,
        timestamp: record.timestamp_ms,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.iter().map(header).collect(),
    }
}

fn offset(answer: &ProduceResponse, to: &TopicPartition) -> Result<i64, ProduceError> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    let told = partitions.into_iter().find(|told| told.index == to.partition.number);
    let told =
        told.ok_or_else(|| ProduceError::Unknown(KafkaError::Malformed(format!("an answer without {to}"))))?;
    let Some(error) = told.error_code.err() else { return Ok(told.base_offset) };
    let says = told.error_message.as_ref().map(StrBytes::as_str);
    let meaning = KafkaError::of(error, &to.to_string(), says);
    Err(if is_before_writing(error) {
        ProduceError::NotWritten(meaning)
    } else {
        ProduceError::Unknown(meaning)
    })
}

/// Whether a broker only says so of records that it has not appended. A leader that is deposed while it waits for
/// replicas says that it isn't the leader, after it has appended; its successor may have them.
fn is_before_writing(error: ResponseError) -> bool {
    use ResponseError as E;
    matches!(
        error,
        E::CorruptMessage
            | E::UnknownTopicOrPartition
            | E::InvalidTopicException
            | E::MessageTooLarge
            | E::RecordListTooLarge
            | E::NotEnoughReplicas
            | E::InvalidRequiredAcks
            | E::InvalidTimestamp
            | E::InvalidRecord
            | E::UnsupportedForMessageFormat
            | E::PolicyViolation
            | E::TopicAuthorizationFailed
            | E::ClusterAuthorizationFailed
            | E::ThrottlingQuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};

    use super::*;
    use crate::kafka::{Partition, batch::read};

    fn answer(code: i16) -> Result<i64, ProduceError> {
        let partition = Partition { number: 2, leader: Some(1), leader_epoch: None };
        let to = TopicPartition { topic: "values".into(), id: None, partition };
        let told =
            PartitionProduceResponse::default().with_index(2).with_error_code(code).with_base_offset(7);
        let topic = TopicProduceResponse::default().with_partition_responses(vec![told]);
        offset(&ProduceResponse::default().with_responses(vec![topic]), &to)
    }

    #[test]
    fn only_what_is_certain_is_told_as_certain() {
        assert_eq!(answer(0), Ok(7));
        let not_written = |code| matches!(answer(code), Err(ProduceError::NotWritten(_)));
        // Message too large, not enough replicas, not permitted.
        for code in [10, 19, 29] {
            assert!(not_written(code), "{code}");
        }
        // Unknown error, not the leader (any more), timed out, not enough replicas after it was appended.
        for code in [-1, 6, 7, 20] {
            assert!(!not_written(code), "{code}");
        }
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let one = NewRecord {
            key: Some(Bytes::from_static(b"k")),
            value: None,
            headers: vec![("kind".into(), Some(Bytes::from_static(b"delete"))), ("none".into(), None)],
            timestamp_ms: 2_000,
        };
        // Older than the one before it.
        let two = NewRecord { timestamp_ms: 1_000, headers: vec![], ..one.clone() };
        let back = read(batch(&[one.clone(), two.clone()]).unwrap(), 0, vec![]).unwrap();
        assert_eq!(back.next_offset, 2);
        for (record, written) in back.records.iter().zip([one, two]) {
            assert_eq!((&record.key, &record.value), (&written.key, &written.value));
            assert_eq!((&record.headers, record.timestamp_ms), (&written.headers, written.timestamp_ms));
        }
        batch(&[]).unwrap_err();
    }
}
