//! What a Kafka says of the topics.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use freshet_connect::{
    Resolve,
    kafka::{self, Found},
};

use super::{Flaw, Reached, Unreachable, Uses};

/// How long one broker may take to answer; less than half of all, so that another one can be asked after it.
const ONE_BROKER: Duration = Duration::from_secs(2);

/// Asks for the topics: whether they are there, can be read, and are what caches need that use them so.
pub(super) async fn ask(
    target: &kafka::Target,
    topics: &BTreeSet<String>,
    uses: Uses,
    names: &impl Resolve,
) -> Result<Reached, Unreachable> {
    let topics: Vec<Arc<str>> = topics.iter().map(|topic| topic.as_str().into()).collect();
    let probe = kafka::probe(target, names, &topics, ONE_BROKER).await?;
    let mut reached = Reached::default();
    for (topic, found) in probe.topics {
        let topic = String::from(&*topic);
        match found {
            Found::Absent => reached.absent.push(topic),
            Found::Unreadable(error) => return Err(error.into()),
            Found::Readable { partitions, compacted } => {
                reached.flaws.extend(flaws(&topic, partitions, compacted, uses));
            }
        }
    }
    Ok(reached)
}

/// What is wrong with a topic for caches that use it so.
pub(super) fn flaws(
    topic: &str,
    partitions: usize,
    compacted: Option<bool>,
    uses: Uses,
) -> impl Iterator<Item = Flaw> {
    let compacted = match compacted {
        Some(true) if uses >= Uses::Values => Some(Flaw::Compacted(topic.to_owned())),
        None if uses >= Uses::History => Some(Flaw::PerhapsCompacted(topic.to_owned())),
        _ => None,
    };
    let divided =
        (uses >= Uses::History && partitions > 1).then(|| Flaw::Divided(topic.to_owned(), partitions));
    divided.into_iter().chain(compacted)
}
