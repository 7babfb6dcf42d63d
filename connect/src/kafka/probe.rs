//! A look at a source, for whoever has just written it.

use std::{sync::Arc, time::Duration};

use kafka_protocol::{
    error::ParseResponseErrorCode as _,
    messages::{
        DescribeConfigsRequest,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
    },
    protocol::StrBytes,
};

use super::{Client, Cursor, End, KafkaError, Outcome, Target, Topic};
use crate::Resolve;

/// The resource type of topics.
const TOPIC: i8 = 2;
const CLEANUP: &str = "cleanup.policy";

/// What a look at a source has shown; that it came to be says that a broker was reached and lets us in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The identity of the cluster.
    pub cluster: Option<String>,
    /// The topics that were asked for, in their order.
    pub topics: Vec<(Arc<str>, Found)>,
}

/// What there is of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is none of that name.
    Absent,
    /// It can't be read from, at least not all of it.
    Unreadable(KafkaError),
    /// Every partition has answered its leader's end.
    Readable {
        /// How many partitions it has.
        partitions: usize,
        /// Whether older records of a key are removed when there is a newer one; `None` if we may not know.
        compacted: Option<bool>,
    },
}

/// Connects, and looks whether these topics are there and can be read from. `within` is how long each answer may take.
pub async fn probe(
    target: &Target,
    names: &impl Resolve,
    topics: &[Arc<str>],
    within: Duration,
) -> Result<Probe, KafkaError> {
    let mut client = Client::connect(target, names, within).await?;
    let compacted = client.compacted(topics).await?;
    let mut found = Vec::new();
    for ((name, topic), compacted) in topics.iter().zip(client.topics(topics).await?).zip(compacted) {
        let state = match topic {
            Ok(None) => Found::Absent,
            Err(error) => Found::Unreadable(error),
            Ok(Some(topic)) => match client.read_end(&topic).await {
                Ok(()) => Found::Readable { partitions: topic.partitions.len(), compacted },
                Err(error) => Found::Unreadable(error),
            },
        };
        found.push((Arc::clone(name), state));
    }
    Ok(Probe { cluster: client.cluster().map(str::to_owned), topics: found })
}

// === impl Client ===

impl<R: Resolve> Client<R> {
    /// Whether these topics are compacted, in their order: their `cleanup.policy` names `compact`. `None` where there
    /// is no such topic, or where we may not know (`DescribeConfigs` on the topic).
    pub async fn compacted(&mut self, topics: &[Arc<str>]) -> Result<Vec<Option<bool>>, KafkaError> {
        let resource = |name: &Arc<str>| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(StrBytes::from_string((**name).to_owned()))
                .with_configuration_keys(Some(vec![StrBytes::from_static_str(CLEANUP)]))
        };
        let question =
            DescribeConfigsRequest::default().with_resources(topics.iter().map(resource).collect());
        let answer = self.ask_any(&question, 1..=4).await?;
        let told = |name: &Arc<str>| {
            let is = |one: &&DescribeConfigsResult| one.resource_name.as_str() == &**name;
            answer.results.iter().find(is).and_then(compacts)
        };
        Ok(topics.iter().map(told).collect())
    }

    /// Reads nothing, at the end of every partition: being told of a topic is another right than reading it.
    async fn read_end(&mut self, topic: &Topic) -> Result<(), KafkaError> {
        let of: Vec<_> = topic.topic_partitions().collect();
        let ends = self.offsets(&of, End::Latest).await;
        let mut cursors = Vec::new();
        for (of, end) in of.into_iter().zip(ends) {
            cursors.push(Cursor { of, offset: end?.offset, last_epoch: None });
        }
        while !cursors.is_empty() {
            for fetched in self.fetch(&cursors, Duration::ZERO, 1).await {
                let of = fetched.cursor.of.to_string();
                match fetched.outcome {
                    // Out of range: it was emptied this moment.
                    Outcome::Ok(_) | Outcome::OutOfRange => {}
                    Outcome::Failed(error) => return Err(error),
                    Outcome::UnknownTopic => return Err(KafkaError::UnknownTopic(of)),
                    Outcome::LeaderMoved | Outcome::Diverging { .. } => return Err(KafkaError::NoLeader(of)),
                }
                cursors.retain(|cursor| *cursor != fetched.cursor);
            }
        }
        Ok(())
    }
}

fn compacts(told: &DescribeConfigsResult) -> Option<bool> {
    if told.error_code.is_err() {
        return None;
    }
    let is = |one: &&DescribeConfigsResourceResult| one.name.as_str() == CLEANUP;
    let policy = told.configs.iter().find(is)?.value.as_ref()?;
    Some(policy.split(',').any(|word| word.trim() == "compact"))
}
