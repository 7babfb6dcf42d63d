//! What tests do to topics.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kafka_protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::metadata_response::{MetadataResponse, MetadataResponseTopic};

use super::super::until;
use super::Kafka;
use super::connection::{Connection, succeeded, text, topic};

/// How long Kafka may take for a change of topics.
const CHANGE: Duration = Duration::from_secs(30);
const CHANGE_MS: i32 = 30_000;

/// In ListOffsets, the place before the first record.
const EARLIEST: i64 = -2;
/// In ListOffsets, the place behind the last record.
const LATEST: i64 = -1;

impl Kafka {
    /// Makes a topic and waits until its partitions can be written to: `&[("cleanup.policy", "compact")]`.
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let settings = settings.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let wanted = CreatableTopic::default()
            .with_name(topic(name))
            .with_num_partitions(partitions)
            // As `default.replication.factor` says: 1 unless it is set.
            .with_replication_factor(-1)
            .with_configs(settings.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(CHANGE_MS);
        let answer = self.connection()?.ask(7, &request)?;
        let made = answer.topics.first().context("no answer")?;
        succeeded(made.error_code, made.error_message.as_ref())
            .with_context(|| format!("making the topic {name}"))?;
        self.await_partitions(name, partitions)
    }

    /// Deletes a topic and waits until it is unknown.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let state = DeleteTopicState::default().with_name(Some(topic(name)));
        let request = DeleteTopicsRequest::default().with_topics(vec![state]).with_timeout_ms(CHANGE_MS);
        let answer = self.connection()?.ask(6, &request)?;
        let deleted = answer.responses.first().context("no answer")?;
        succeeded(deleted.error_code, deleted.error_message.as_ref())
            .with_context(|| format!("deleting the topic {name}"))?;
        until(&format!("the topic {name} is gone"), CHANGE, || match self.topic(name)? {
            None => Ok(()),
            Some(_) => bail!("it is there"),
        })
    }

    /// Gives a topic more partitions, and waits until all can be written to.
    pub fn set_partitions(&self, name: &str, partitions: i32) -> Result<()> {
        let wanted = CreatePartitionsTopic::default().with_name(topic(name)).with_count(partitions);
        let wanted = wanted.with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![wanted]).with_timeout_ms(CHANGE_MS);
        let answer = self.connection()?.ask(3, &request)?;
        let made = answer.results.first().context("no answer")?;
        succeeded(made.error_code, made.error_message.as_ref())
            .with_context(|| format!("giving the topic {name} {partitions} partitions"))?;
        self.await_partitions(name, partitions)
    }

    /// Deletes the records of a partition before this offset.
    pub fn delete_records_before(&self, name: &str, partition: i32, offset: i64) -> Result<()> {
        let wanted = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
        let wanted = DeleteRecordsTopic::default().with_name(topic(name)).with_partitions(vec![wanted]);
        let request = DeleteRecordsRequest::default().with_topics(vec![wanted]).with_timeout_ms(CHANGE_MS);
        let answer = self.connection()?.ask(2, &request)?;
        let done = answer.topics.first().and_then(|topic| topic.partitions.first()).context("no answer")?;
        succeeded(done.error_code, None)
            .with_context(|| format!("deleting the records of {name} {partition} before {offset}"))
    }

    /// The offsets of the first record of a partition and of the next one that will be written.
    pub fn offsets(&self, name: &str, partition: i32) -> Result<(i64, i64)> {
        let mut connection = self.connection()?;
        let mut offset = |place| {
            let wanted = ListOffsetsPartition::default()
                .with_partition_index(partition)
                .with_current_leader_epoch(-1)
                .with_timestamp(place);
            let wanted = ListOffsetsTopic::default().with_name(topic(name)).with_partitions(vec![wanted]);
            let request =
                ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![wanted]);
            let answer = connection.ask(6, &request)?;
            let found = answer.topics.first().and_then(|topic| topic.partitions.first());
            let found = found.context("no answer")?;
            succeeded(found.error_code, None)
                .with_context(|| format!("asking for the offsets of {name} {partition}"))?;
            Ok::<_, anyhow::Error>(found.offset)
        };
        Ok((offset(EARLIEST)?, offset(LATEST)?))
    }

    /// The names of all topics but Kafka's own, sorted.
    pub fn topics(&self) -> Result<Vec<String>> {
        let answer = metadata(&mut self.connection()?, None)?;
        let own = answer.topics.iter().filter(|topic| !topic.is_internal);
        let mut names: Vec<_> =
            own.filter_map(|topic| topic.name.as_ref()).map(|name| name.to_string()).collect();
        names.sort();
        Ok(names)
    }

    /// How many partitions a topic has; `None` is no such topic.
    pub fn partitions(&self, name: &str) -> Result<Option<i32>> {
        let count = |topic: MetadataResponseTopic| Ok(i32::try_from(topic.partitions.len())?);
        self.topic(name)?.map(count).transpose()
    }

    /// The number of the broker that leads a partition: 1, or 2 of one that joins.
    pub fn leader(&self, name: &str, partition: i32) -> Result<i32> {
        let topic = self.topic(name)?.context("no such topic")?;
        let found = topic.partitions.iter().find(|one| one.partition_index == partition);
        let found = found.context("no such partition")?;
        succeeded(found.error_code, None)?;
        Ok(found.leader_id.0)
    }

    /// Lets a user, who is told by [`super::KafkaBuilder::authorizes`] what to do, describe and read the topics with
    /// this prefix, or also write them.
    pub fn allow(&self, user: &str, topic_prefix: &str, write: bool) -> Result<()> {
        // The protocol's numbers: operations READ, WRITE, DESCRIBE; a topic; a prefix; ALLOW.
        let operations = if write { &[3, 4, 8][..] } else { &[3, 8] };
        let rules = operations.iter().map(|operation| {
            AclCreation::default()
                .with_resource_type(2)
                .with_resource_name(text(topic_prefix))
                .with_resource_pattern_type(4)
                .with_principal(text(&format!("User:{user}")))
                .with_host(text("*"))
                .with_operation(*operation)
                .with_permission_type(3)
        });
        let request = CreateAclsRequest::default().with_creations(rules.collect());
        let answer = self.connection()?.ask(3, &request)?;
        ensure!(answer.results.len() == operations.len(), "{} answers", answer.results.len());
        answer.results.iter().try_for_each(|result| {
            succeeded(result.error_code, result.error_message.as_ref())
                .with_context(|| format!("allowing {user} the topics {topic_prefix}…"))
        })
    }

    fn topic(&self, name: &str) -> Result<Option<MetadataResponseTopic>> {
        let answer = metadata(&mut self.connection()?, Some(name))?;
        let found = answer.topics.into_iter().next().context("no answer")?;
        // UNKNOWN_TOPIC_OR_PARTITION.
        if found.error_code == 3 {
            return Ok(None);
        }
        succeeded(found.error_code, None).with_context(|| format!("asking for the topic {name}"))?;
        Ok(Some(found))
    }

    fn await_partitions(&self, name: &str, wanted: i32) -> Result<()> {
        until(&format!("the topic {name} has {wanted} partitions with leaders"), CHANGE, || {
            let topic = self.topic(name)?.context("no such topic")?;
            let led = topic.partitions.iter().filter(|partition| partition.error_code == 0).count();
            ensure!(i32::try_from(led)? == wanted, "{led} of {} have", topic.partitions.len());
            // What is told of a partition may be ahead of the broker's own doing.
            let own = topic.partitions.iter().filter(|partition| partition.leader_id.0 == self.how.node());
            own.map(|partition| partition.partition_index)
                .try_for_each(|partition| self.offsets(name, partition).map(drop))
        })
    }
}

/// Fails until the broker with this number knows of itself.
pub(super) fn is_broker(connection: &mut Connection, node: i32) -> Result<()> {
    let answer = metadata(connection, None)?;
    ensure!(answer.brokers.iter().any(|broker| broker.node_id.0 == node), "not a broker yet");
    Ok(())
}

/// What is known of one topic, or of all. Makes none.
pub(super) fn metadata(connection: &mut Connection, name: Option<&str>) -> Result<MetadataResponse> {
    let wanted = name.map(|name| vec![MetadataRequestTopic::default().with_name(Some(topic(name)))]);
    connection.ask(12, &MetadataRequest::default().with_topics(wanted).with_allow_auto_topic_creation(false))
}
