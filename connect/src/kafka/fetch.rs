//! Reading: one long question to each leader, and whichever answers first.

use std::{collections::HashMap, sync::Arc, time::Duration};

use freshet_crds::redis_url::HostPort;
use kafka_protocol::messages::{
    BrokerId, FetchRequest, FetchResponse,
    fetch_request::{FetchPartition, FetchTopic},
};
use tokio::time::Instant;

use super::{
    Client, Cursor, Fetched, KafkaError, Outcome, TopicPartition,
    offsets::READ_COMMITTED,
    outcome::{failed, outcomes},
    topics::topic_name,
    way::Way,
    wire::Connection,
};
use crate::Resolve;

/// Without topic ids, the first that tells of truncated logs.
const BY_NAME: i16 = 12;
/// With topic ids.
const BY_ID: i16 = 13;
/// The newest that we know how to use; what is newer is for brokers among each other.
const NEWEST: i16 = 17;

/// A fetch that came home.
pub(super) struct Errand {
    node: i32,
    /// `None` if it broke.
    connection: Option<Connection>,
    fetched: Vec<Fetched>,
}

/// What a fetch asks.
struct Question {
    cursors: Vec<Cursor>,
    asked: Instant,
    wait: Duration,
    max_bytes: i32,
}

// === impl Client ===

impl<R: Resolve> Client<R> {
    /// Asks the leaders of all cursors at once, each by one question, and answers as soon as one of them does: what
    /// the others say comes with later calls, unless their cursors have moved meanwhile. Without cursors, or with some
    /// that no broker leads, it answers at once: whoever has only such ones waits before the next call.
    ///
    /// One that is still on its way with older cursors is waited for before it is asked with new ones.
    ///
    /// A broker answers when it has records, or after `wait`; not at all `wait` and `within` later. It sends at most
    /// `max_bytes`, but at least one batch, however large, and begins with another partition each time. Failures come
    /// at once: whoever gets one waits before asking again.
    pub async fn fetch(&mut self, cursors: &[Cursor], wait: Duration, max_bytes: u32) -> Vec<Fetched> {
        loop {
            let mut fetched = self.set_out(cursors, wait, max_bytes);
            while let Some(home) = self.errands.try_join_next_with_id() {
                self.come_home(home, cursors, &mut fetched);
            }
            if !fetched.is_empty() {
                return fetched;
            }
            let Some(home) = self.errands.join_next_with_id().await else { return fetched };
            self.come_home(home, cursors, &mut fetched);
            if !fetched.is_empty() {
                return fetched;
            }
        }
    }

    /// Sends a question to every leader that none is on its way to. What can't be asked is answered at once.
    fn set_out(&mut self, cursors: &[Cursor], wait: Duration, max_bytes: u32) -> Vec<Fetched> {
        let asked = Instant::now();
        let told = |cursor: &Cursor, outcome| Fetched { cursor: cursor.clone(), outcome, asked };
        let mut nowhere = Vec::new();
        let mut by_leader = HashMap::<i32, Vec<Cursor>>::new();
        for cursor in cursors {
            match cursor.of.partition.leader.filter(|leader| self.broker(*leader).is_some()) {
                Some(leader) => by_leader.entry(leader).or_default().push(cursor.clone()),
                None => nowhere.push(told(cursor, Outcome::LeaderMoved)),
            }
        }
        let max_bytes = i32::try_from(max_bytes).unwrap_or(i32::MAX);
        for (node, mut cursors) in by_leader {
            if self.under_way.contains_key(&node) {
                continue;
            }
            let Some(at) = self.broker(node).cloned() else { continue };
            // One that is first gets its batch even if that is larger than all that was asked for.
            self.turn = self.turn.wrapping_add(1);
            let first = self.turn % cursors.len();
            cursors.rotate_left(first);
            let connection = self.take_idle(node);
            let question = Question { cursors, asked, wait, max_bytes };
            let errand = run(Arc::clone(&self.way), node, at, connection, question);
            self.under_way.insert(node, self.errands.spawn(errand).id());
        }
        nowhere
    }

    /// Keeps the connection, and of what was answered what is still wanted.
    fn come_home(
        &mut self,
        home: Result<(tokio::task::Id, Errand), tokio::task::JoinError>,
        cursors: &[Cursor],
        fetched: &mut Vec<Fetched>,
    ) {
        let errand = match home {
            Ok((_, errand)) => errand,
            Err(error) => return self.lose(error.id(), cursors, fetched),
        };
        self.under_way.remove(&errand.node);
        if let Some(connection) = errand.connection {
            self.keep(errand.node, connection);
        }
        fetched.extend(errand.fetched.into_iter().filter(|one| cursors.contains(&one.cursor)));
    }

    /// A fetch that never comes home, which only a fault in the program explains, is told like a lost connection.
    fn lose(&mut self, lost: tokio::task::Id, cursors: &[Cursor], fetched: &mut Vec<Fetched>) {
        let node = self.under_way.iter().find(|(_, id)| **id == lost).map(|(node, _)| *node);
        self.under_way.retain(|_, id| *id != lost);
        let of_it = cursors.iter().filter(|cursor| node.is_some() && cursor.of.partition.leader == node);
        let error = KafkaError::Malformed("the fetch was cut off".into());
        fetched.extend(failed(of_it.cloned().collect(), Instant::now(), &error));
    }
}

async fn run<R: Resolve>(
    way: Arc<Way<R>>,
    node: i32,
    at: HostPort,
    connection: Option<Connection>,
    question: Question,
) -> Errand {
    let asked = async {
        let mut connection = match connection {
            Some(connection) => connection,
            None => way.open(&at).await?,
        };
        let answer = ask(&mut connection, &question).await?;
        Ok((connection, answer))
    };
    match asked.await {
        Ok((connection, answer)) => {
            let fetched = outcomes(question.cursors, question.asked, answer);
            Errand { node, connection: Some(connection), fetched }
        }
        Err(error) => {
            Errand { node, connection: None, fetched: failed(question.cursors, question.asked, &error) }
        }
    }
}

async fn ask(connection: &mut Connection, question: &Question) -> Result<FetchResponse, KafkaError> {
    let newest = connection.version::<FetchRequest>(BY_NAME..=NEWEST)?;
    let by_id = newest >= BY_ID && question.cursors.iter().all(|cursor| cursor.of.id.is_some());
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(i32::try_from(question.wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(1)
        .with_max_bytes(question.max_bytes)
        .with_isolation_level(READ_COMMITTED)
        // No session: each question stands for itself.
        .with_session_epoch(-1)
        .with_topics(topics(question, by_id));
    let version = if by_id { newest } else { BY_NAME };
    let answer = connection.ask(&request, version, question.wait).await?;
    connection.throttled(answer.throttle_time_ms);
    Ok(answer)
}

/// The cursors by topics, in their order, which is the one that brokers fill an answer in.
fn topics(question: &Question, by_id: bool) -> Vec<FetchTopic> {
    let mut topics = Vec::<(&TopicPartition, Vec<FetchPartition>)>::new();
    for cursor in &question.cursors {
        let partition = FetchPartition::default()
            .with_partition(cursor.of.partition.number)
            .with_current_leader_epoch(cursor.of.partition.leader_epoch.unwrap_or(-1))
            .with_fetch_offset(cursor.offset)
            .with_last_fetched_epoch(cursor.last_epoch.unwrap_or(-1))
            .with_partition_max_bytes(question.max_bytes);
        match topics.last_mut().filter(|(of, _)| of.is_of_same_topic(&cursor.of)) {
            Some((_, partitions)) => partitions.push(partition),
            None => topics.push((&cursor.of, vec![partition])),
        }
    }
    let topic = |(of, partitions): (&TopicPartition, _)| {
        let topic = FetchTopic::default().with_partitions(partitions);
        if by_id {
            topic.with_topic_id(of.id.unwrap_or_default())
        } else {
            topic.with_topic(topic_name(&of.topic))
        }
    };
    topics.into_iter().map(topic).collect()
}

// === impl TopicPartition ===

impl TopicPartition {
    fn is_of_same_topic(&self, other: &Self) -> bool {
        self.topic == other.topic && self.id == other.id
    }
}
