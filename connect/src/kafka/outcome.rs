//! What a broker's answer to a fetch means. Pure.

use std::collections::HashMap;

use kafka_protocol::{
    error::{ParseResponseErrorCode as _, ResponseError},
    messages::{
        FetchResponse,
        fetch_response::{FetchableTopicResponse, PartitionData},
    },
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    KafkaError, Record, TopicPartition,
    batch::{self, Aborted},
    topics::id,
};

/// A place in a partition from which to read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The partition, with its leader and that one's epoch as far as they are known.
    pub of: TopicPartition,
    /// The offset of the first record that is wanted.
    pub offset: i64,
    /// The leader epoch of what was read before `offset`; with it, a log that was truncated is noticed.
    pub last_epoch: Option<i32>,
}

/// What came of one cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What was asked.
    pub cursor: Cursor,
    /// What was answered.
    pub outcome: Outcome,
    /// When it was asked: the answer is of a moment between then and now.
    pub asked: Instant,
}

/// What a broker answers to a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A stretch of the log, which may be empty.
    Ok(Stretch),
    /// The log begins behind the cursor, or ends before it: [`Client::offsets`](super::Client::offsets) tells which.
    OutOfRange,
    /// The log was truncated and has gone on otherwise: what it has in common with what was read ends here.
    Diverging {
        /// The newest leader epoch that both have.
        epoch: i32,
        /// The offset where that ends.
        end_offset: i64,
    },
    /// The topic is gone, or was made anew: [`Client::topics`](super::Client::topics) tells, by the topic's id.
    UnknownTopic,
    /// Another broker leads, or none right now: [`Client::topics`](super::Client::topics) tells. To be asked a little later.
    LeaderMoved,
    /// No answer, or one that can't be used.
    Failed(KafkaError),
}

/// A stretch of a partition's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The records, by their offsets, without those of transactions that were aborted.
    pub records: Vec<Record>,
    /// Where to read on: behind the last record, and behind what holds none for readers.
    pub next_offset: i64,
    /// The leader epoch before `next_offset`; that of the cursor, if nothing was read.
    pub last_epoch: Option<i32>,
    /// Behind the last record that is stable: where the log ends for readers of committed records.
    pub last_stable_offset: i64,
    /// Behind the last record that all replicas in sync have.
    pub high_watermark: i64,
    /// The offset of the first record that is still there.
    pub log_start_offset: i64,
}

/// What an answer means for each cursor.
pub(super) fn outcomes(cursors: Vec<Cursor>, asked: Instant, answer: FetchResponse) -> Vec<Fetched> {
    if let Some(error) = answer.error_code.err() {
        // Without a session, about no partition alone.
        return failed(cursors, asked, &KafkaError::of(error, "fetch", None));
    }
    let mut told = HashMap::new();
    for topic in answer.responses {
        let (id, name) = named(&topic);
        for partition in topic.partitions {
            told.insert((id, name.clone(), partition.partition_index), partition);
        }
    }
    let outcome = |cursor: &Cursor| {
        let number = cursor.of.partition.number;
        let by_id = cursor.of.id.and_then(|id| told.remove(&(Some(id), String::new(), number)));
        let data = by_id.or_else(|| told.remove(&(None, cursor.of.topic.as_ref().to_owned(), number)));
        match data {
            Some(data) => outcome(cursor, data),
            // A session would leave out what hasn't changed.
            None => Outcome::Failed(KafkaError::Malformed(format!("an answer without {}", cursor.of))),
        }
    };
    let outcomes: Vec<_> = cursors.iter().map(outcome).collect();
    cursors.into_iter().zip(outcomes).map(|(cursor, outcome)| Fetched { cursor, outcome, asked }).collect()
}

fn named(topic: &FetchableTopicResponse) -> (Option<Uuid>, String) {
    (id(topic.topic_id), topic.topic.as_str().to_owned())
}

/// The same failure for all of them.
pub(super) fn failed(cursors: Vec<Cursor>, asked: Instant, error: &KafkaError) -> Vec<Fetched> {
    let fetched = |cursor| Fetched { cursor, outcome: Outcome::Failed(error.clone()), asked };
    cursors.into_iter().map(fetched).collect()
}

fn outcome(cursor: &Cursor, data: PartitionData) -> Outcome {
    match data.error_code.err() {
        None => {}
        Some(ResponseError::OffsetOutOfRange) => return Outcome::OutOfRange,
        Some(error) => {
            return match KafkaError::of(error, &cursor.of.to_string(), None) {
                KafkaError::UnknownTopic(_) => Outcome::UnknownTopic,
                KafkaError::NoLeader(_) => Outcome::LeaderMoved,
                error => Outcome::Failed(error),
            };
        }
    }
    let diverging = &data.diverging_epoch;
    if diverging.end_offset >= 0 {
        return Outcome::Diverging { epoch: diverging.epoch, end_offset: diverging.end_offset };
    }
    let aborted = data.aborted_transactions.unwrap_or_default();
    let aborted = aborted
        .iter()
        .map(|one| Aborted { producer: one.producer_id.0, first_offset: one.first_offset })
        .collect();
    match batch::read(data.records.unwrap_or_default(), cursor.offset, aborted) {
        Err(why) => {
            let at = format!("{} at offset {}: {why}", cursor.of, cursor.offset);
            Outcome::Failed(KafkaError::Malformed(at))
        }
        Ok(read) => Outcome::Ok(Stretch {
            records: read.records,
            next_offset: read.next_offset,
            last_epoch: read.last_epoch.or(cursor.last_epoch),
            last_stable_offset: data.last_stable_offset,
            high_watermark: data.high_watermark,
            log_start_offset: data.log_start_offset,
        }),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::fetch_response::EpochEndOffset;

    use super::*;
    use crate::kafka::{Partition, topics::topic_name};

    const ID: Uuid = Uuid::from_u128(7);

    fn cursor(number: i32) -> Cursor {
        let partition = Partition { number, leader: Some(1), leader_epoch: Some(2) };
        let of = TopicPartition { topic: "shop".into(), id: Some(ID), partition };
        Cursor { of, offset: 5, last_epoch: Some(2) }
    }

    fn answer(data: PartitionData) -> Outcome {
        let topic = FetchableTopicResponse::default().with_topic_id(ID).with_partitions(vec![data]);
        let answer = FetchResponse::default().with_responses(vec![topic]);
        outcomes(vec![cursor(0)], Instant::now(), answer).remove(0).outcome
    }

    #[test]
    fn every_error_has_its_meaning() {
        let of = |code| answer(PartitionData::default().with_error_code(code));
        assert_eq!(of(1), Outcome::OutOfRange);
        // Unknown topic or partition, unknown topic id, inconsistent topic id.
        for code in [3, 100, 103] {
            assert_eq!(of(code), Outcome::UnknownTopic, "{code}");
        }
        // Leader not available, not the leader, storage error, fenced and unknown leader epoch.
        for code in [5, 6, 56, 74, 75] {
            assert_eq!(of(code), Outcome::LeaderMoved, "{code}");
        }
        let denied = KafkaError::NotPermitted("shop[0]".into());
        assert_eq!(of(29), Outcome::Failed(denied));
        assert!(matches!(of(2), Outcome::Failed(KafkaError::Says(says)) if says.contains("CorruptMessage")));
    }

    #[test]
    fn a_truncated_log_is_told_before_its_records() {
        let diverging = EpochEndOffset::default().with_epoch(1).with_end_offset(3);
        let data = PartitionData::default().with_diverging_epoch(diverging);
        assert_eq!(answer(data), Outcome::Diverging { epoch: 1, end_offset: 3 });
        // From the very beginning on.
        let diverging = EpochEndOffset::default().with_epoch(0).with_end_offset(0);
        let data = PartitionData::default().with_diverging_epoch(diverging);
        assert_eq!(answer(data), Outcome::Diverging { epoch: 0, end_offset: 0 });
    }

    #[test]
    fn without_records_the_cursor_stays() {
        let data = PartitionData::default()
            .with_high_watermark(9)
            .with_last_stable_offset(5)
            .with_log_start_offset(2)
            .with_records(None);
        let stretch = Stretch {
            records: vec![],
            next_offset: 5,
            last_epoch: Some(2),
            last_stable_offset: 5,
            high_watermark: 9,
            log_start_offset: 2,
        };
        assert_eq!(answer(data), Outcome::Ok(stretch));
    }

    #[test]
    fn no_cursor_is_left_without_an_answer() {
        let named = FetchableTopicResponse::default()
            .with_topic(topic_name("shop"))
            .with_partitions(vec![PartitionData::default().with_partition_index(1).with_error_code(1)]);
        let answer = FetchResponse::default().with_responses(vec![named]);
        let fetched = outcomes(vec![cursor(0), cursor(1)], Instant::now(), answer);
        assert!(matches!(&fetched[0].outcome, Outcome::Failed(KafkaError::Malformed(_))), "{fetched:?}");
        assert_eq!(fetched[1].outcome, Outcome::OutOfRange, "by its name, as before Kafka 2.8");
        let denied = FetchResponse::default().with_error_code(29);
        let failed = outcomes(vec![cursor(0)], Instant::now(), denied);
        assert!(matches!(&failed[0].outcome, Outcome::Failed(KafkaError::NotPermitted(_))), "{failed:?}");
    }
}
