//! Where the logs of partitions begin and end.

use std::{collections::BTreeMap, time::Duration};

use kafka_protocol::{
    error::ParseResponseErrorCode as _,
    messages::{
        BrokerId, ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        list_offsets_response::ListOffsetsPartitionResponse,
    },
};

use super::{Client, KafkaError, TopicPartition, topics::topic_name};
use crate::Resolve;

/// Reads committed records only.
pub(super) const READ_COMMITTED: i8 = 1;

/// An end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first record that is still there.
    Earliest,
    /// Behind the last record that is stable: what belongs to a transaction that is still open, and what is behind
    /// its begin, isn't yet.
    Latest,
}

/// Where an end of a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The offset of the first record, or the one that the next record will have.
    pub offset: i64,
    /// The leader epoch there, if the broker knows one.
    pub leader_epoch: Option<i32>,
}

// === impl Client ===

impl<R: Resolve> Client<R> {
    /// Where the logs of these partitions begin or end, in their order. One broker after the other is asked.
    pub async fn offsets(&mut self, of: &[TopicPartition], end: End) -> Vec<Result<Edge, KafkaError>> {
        let mut by_leader = BTreeMap::<i32, Vec<&TopicPartition>>::new();
        for one in of {
            if let Some(leader) = one.partition.leader {
                by_leader.entry(leader).or_default().push(one);
            }
        }
        let mut answers = BTreeMap::new();
        for (leader, of) in by_leader {
            answers.insert(leader, self.ask_offsets(leader, &of, end).await);
        }
        of.iter()
            .map(|one| match one.partition.leader.and_then(|leader| answers.get(&leader)) {
                None => Err(KafkaError::NoLeader(one.to_string())),
                Some(Err(error)) => Err(error.clone()),
                Some(Ok(answer)) => edge(answer, one),
            })
            .collect()
    }

    async fn ask_offsets(
        &mut self,
        leader: i32,
        of: &[&TopicPartition],
        end: End,
    ) -> Result<ListOffsetsResponse, KafkaError> {
        let mut topics = BTreeMap::<&str, Vec<ListOffsetsPartition>>::new();
        for one in of {
            topics.entry(&one.topic).or_default().push(
                ListOffsetsPartition::default()
                    .with_partition_index(one.partition.number)
                    .with_current_leader_epoch(one.partition.leader_epoch.unwrap_or(-1))
                    .with_timestamp(match end {
                        End::Latest => -1,
                        End::Earliest => -2,
                    }),
            );
        }
        let topic = |(name, partitions): (&str, _)| {
            ListOffsetsTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        };
        let question = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(READ_COMMITTED)
            .with_topics(topics.into_iter().map(topic).collect());
        let mut connection = self.leader(leader).await?;
        let version = connection.version::<ListOffsetsRequest>(4..=8)?;
        let answer = connection.ask(&question, version, Duration::ZERO).await?;
        connection.throttled(answer.throttle_time_ms);
        self.keep(leader, connection);
        Ok(answer)
    }
}

fn edge(answer: &ListOffsetsResponse, of: &TopicPartition) -> Result<Edge, KafkaError> {
    let topic = answer.topics.iter().find(|topic| topic.name.as_str() == &*of.topic);
    let is = |one: &&ListOffsetsPartitionResponse| one.partition_index == of.partition.number;
    let told = topic.and_then(|topic| topic.partitions.iter().find(is));
    let told = told.ok_or_else(|| KafkaError::Malformed(format!("an answer without {of}")))?;
    match told.error_code.err() {
        None => Ok(Edge {
            offset: told.offset,
            leader_epoch: Some(told.leader_epoch).filter(|epoch| *epoch >= 0),
        }),
        Some(error) => Err(KafkaError::of(error, &of.to_string(), None)),
    }
}
