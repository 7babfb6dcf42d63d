//! Which topics there are, and who leads their partitions.

use std::sync::Arc;

use kafka_protocol::{
    error::{ParseResponseErrorCode as _, ResponseError},
    messages::{
        TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Client, KafkaError, Partition, Topic};
use crate::Resolve;

// === impl Client ===

impl<R: Resolve> Client<R> {
    /// The topics of these names, in their order: `None` where there is none, an error where one can't be told of.
    /// Never makes a topic.
    pub async fn topics(
        &mut self,
        names: &[Arc<str>],
    ) -> Result<Vec<Result<Option<Topic>, KafkaError>>, KafkaError> {
        let asked =
            names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))));
        let answer = self.metadata(asked.collect()).await?;
        let told = |name: &Arc<str>| {
            let is =
                |one: &&MetadataResponseTopic| one.name.as_ref().is_some_and(|it| it.as_str() == &**name);
            answer.topics.iter().find(is).map_or(Ok(None), |told| topic(name, told))
        };
        Ok(names.iter().map(told).collect())
    }
}

fn topic(name: &Arc<str>, told: &MetadataResponseTopic) -> Result<Option<Topic>, KafkaError> {
    match told.error_code.err() {
        None => {}
        Some(ResponseError::UnknownTopicOrPartition) => return Ok(None),
        Some(error) => return Err(KafkaError::of(error, &format!("topic {name}"), None)),
    }
    let mut partitions: Vec<_> = told.partitions.iter().map(partition).collect();
    partitions.sort_by_key(|partition| partition.number);
    Ok(Some(Topic { name: Arc::clone(name), id: id(told.topic_id), partitions }))
}

fn partition(told: &MetadataResponsePartition) -> Partition {
    Partition {
        number: told.partition_index,
        leader: Some(told.leader_id.0).filter(|leader| *leader >= 0),
        leader_epoch: Some(told.leader_epoch).filter(|epoch| *epoch >= 0),
    }
}

/// What older brokers send instead of no identity is one of zeros.
pub(super) fn id(told: Uuid) -> Option<Uuid> {
    Some(told).filter(|id| !id.is_nil())
}

pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
