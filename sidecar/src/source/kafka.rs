//! Reads topics of Kafka, as Debezium's connectors and Debezium Server's sink fill them.
//!
//! Reading is plain fetches of every partition, each from its leader: no consumer group, nothing committed. Offsets may skip
//! numbers, so that nothing counts what was added: what a broker has not deleted it sends, and what it has deleted shows in
//! where its log begins. Records that an unclean election has lost are noticed by the leader epoch of what was read last.
//!
//! A topic or partition that has come into being is read from the next check on. What was read before may tell of records in it:
//! nothing counts as read to its end unless the topics were asked for after it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use freshet_connect::{
    System,
    kafka::{Client, Cursor, End, KafkaError, Topic, TopicPartition},
};
use freshet_crds::binding::KafkaSpec;
use tokio::time::Instant;

use self::{
    doubts::Doubts,
    place::next,
    progress::{Log, Progress},
    witness::Witness,
};
use super::{
    access,
    transport::{ReadError, Reader, Stream, Transport, within},
};
use crate::{
    continuity::{ServerIdentity, StreamState},
    mounts::Mounts,
    position::Place,
    record::{Reading, Record},
    tail::{Parts, Survey},
};

mod doubts;
mod look_back;
pub(super) mod outlet;
mod place;
mod progress;
pub(super) mod record;
mod rounds;
mod witness;

/// How long any answer may take beyond its own waiting.
const REPLY: Duration = Duration::from_secs(2);

/// How often reads ask whether topics have come, apart from the checks.
const OFTEN: Duration = Duration::from_millis(100);

/// A source's Kafka.
pub(super) struct Kafka {
    spec: KafkaSpec,
    mounts: Mounts,
    witness: Arc<Mutex<Witness>>,
}

/// Connections to its brokers.
pub(super) struct Connection {
    client: Client<System>,
    /// The topics that are to be read.
    names: Vec<Arc<str>>,
    /// Those of them that are there, by name, as they were last told.
    topics: BTreeMap<String, Topic>,
    /// When that was.
    told: Instant,
    /// How logs were last told, by stream.
    logs: HashMap<String, Log>,
    /// By stream, the leader epoch in which the leader has said how far its log is stable: one that has just been elected
    /// may not know that, which no fetch tells.
    vouched: HashMap<String, i32>,
    doubts: Doubts,
    /// When the last check ended.
    checked: Instant,
    witness: Arc<Mutex<Witness>>,
}

impl Kafka {
    pub(super) fn new(spec: KafkaSpec, mounts: Mounts) -> Self {
        Self { spec, mounts, witness: Arc::default() }
    }
}

impl Transport for Kafka {
    type Reader = Connection;

    /// Each partition takes its records by itself.
    const HAS_ONE_ORDER: bool = false;

    async fn open(&self, _topics: &[&str]) -> Result<Connection, ReadError> {
        let target = access::kafka(&self.spec, &self.mounts).map_err(ReadError::failed)?;
        let client = Client::connect(&target, &System, REPLY).await.map_err(ReadError::failed)?;
        Ok(Connection {
            client,
            names: Vec::new(),
            topics: BTreeMap::new(),
            told: Instant::now(),
            logs: HashMap::new(),
            vouched: HashMap::new(),
            doubts: Doubts::default(),
            checked: Instant::now(),
            witness: Arc::clone(&self.witness),
        })
    }
}

impl Reader for Connection {
    async fn parts(&mut self, topics: &[&str]) -> Result<Parts, ReadError> {
        self.names = topics.iter().copied().map(Arc::from).collect();
        let mut found = BTreeMap::new();
        for topic in self.ask_topics().await? {
            if let Some(topic) = topic.map_err(ReadError::failed)? {
                found.insert((*topic.name).to_owned(), topic);
            }
        }
        self.topics = found;
        let count = |topic: &Topic| u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        Ok(Parts(self.topics.iter().map(|(name, topic)| (name.clone(), count(topic))).collect()))
    }

    async fn survey(
        &mut self,
        streams: &[Stream<'_>],
        _count: usize,
    ) -> Result<(Survey, Reading), ReadError> {
        let history = self.client.cluster().unwrap_or_default().to_owned();
        let server = ServerIdentity { history, connection: None };
        let (mut states, reading) = if streams.iter().any(|stream| stream.place.is_some()) {
            self.check(streams).await?
        } else {
            (self.ends(streams).await?, Reading::default())
        };
        let absent = streams.iter().filter(|stream| self.partition(stream.name).is_none());
        states.extend(absent.map(|stream| (stream.name.to_owned(), None)));
        Ok((Survey { server, link: None, states }, reading))
    }

    /// Brokers are told how many bytes to send, and not how many records.
    async fn read(
        &mut self,
        streams: &[Stream<'_>],
        _count: usize,
        wait: Duration,
    ) -> Result<Reading, ReadError> {
        let began = Instant::now();
        let until = began + progress::wait(self.checked, wait, began);
        let mut parts = self.begin(streams);
        loop {
            let has_come = self.round(&mut parts, began, until, until + 2 * REPLY).await?;
            if has_come || Instant::now() >= until {
                break;
            }
        }
        let is_whole = |part: &Progress<'_>| part.is_at_end && self.is_vouched(part.stream);
        let mut at_end = !parts.is_empty() && parts.iter().all(is_whole);
        if at_end && self.topics.len() < self.names.len() {
            // What was read may tell of records in a topic that came with them.
            at_end = self.told.elapsed() >= OFTEN && self.has_no_others().await?;
        }
        Ok(self.reading(parts, at_end))
    }

    async fn look_back(
        &mut self,
        stream: &str,
        until: Place,
        count: usize,
    ) -> Result<Vec<Record>, ReadError> {
        within(2 * REPLY, look_back::look_back(self, stream, next(until), count)).await
    }
}

impl Connection {
    /// Where logs begin and end, of streams that have no place yet: all of them are asked.
    async fn ends(
        &mut self,
        streams: &[Stream<'_>],
    ) -> Result<Vec<(String, Option<StreamState>)>, ReadError> {
        let of: Vec<_> =
            streams.iter().filter_map(|stream| Some((stream.name, self.partition(stream.name)?))).collect();
        let partitions: Vec<_> = of.iter().map(|(_, of)| of.clone()).collect();
        let names: Vec<_> = self.topics.values().map(|topic| Arc::clone(&topic.name)).collect();
        let asked = async {
            // Behind the end nothing can be before the begin, if that is asked first.
            let starts = self.client.offsets(&partitions, End::Earliest).await;
            let ends = self.client.offsets(&partitions, End::Latest).await;
            let compacted = self.client.compacted(&names).await?;
            let edges = starts.into_iter().zip(ends);
            let logs = edges.map(|(start, end)| Ok(Log { start: start?.offset, end: end?.offset }));
            Ok((logs.collect::<Result<Vec<_>, KafkaError>>()?, compacted))
        };
        let asked = async { asked.await.map_err(|error: KafkaError| ReadError::failed(error)) };
        let (logs, compacted) = within(2 * REPLY, asked).await?;
        let cluster = self.client.cluster().unwrap_or_default();
        self.witness.lock().unwrap_or_else(PoisonError::into_inner).attend(cluster);
        let mut states = Vec::with_capacity(of.len());
        for ((stream, of), log) in of.into_iter().zip(logs) {
            self.logs.insert(stream.to_owned(), log);
            self.vouch(stream, &of);
            let topic = names.iter().position(|name| *name == of.topic);
            // Where nobody may say so, records may be missing in between.
            let is_compacted = topic.and_then(|topic| compacted[topic]).unwrap_or(true);
            states.push((stream.to_owned(), Some(log.state(is_compacted, incarnation(&of)))));
        }
        Ok(states)
    }

    /// Asks every partition once how it stands and what is new in it, and waits for all but those that are known not to answer.
    async fn check(
        &mut self,
        streams: &[Stream<'_>],
    ) -> Result<(Vec<(String, Option<StreamState>)>, Reading), ReadError> {
        let began = Instant::now();
        let limit = began + REPLY;
        let mut parts = self.begin(streams);
        // A leader that doesn't answer is waited for once: what it was asked fails soon after, and then it is doubted.
        let is_missing = |of: &Self, part: &Progress<'_>| !part.is_answered && !of.doubts.has(part.stream);
        while parts.iter().any(|part| is_missing(self, part)) && Instant::now() < limit {
            self.round(&mut parts, began, began, limit).await?;
        }
        if parts.iter().any(|part| is_missing(self, part)) && !parts.iter().any(|part| part.is_answered) {
            return Err(ReadError::Silence);
        }
        let mut at_end = !parts.is_empty() || self.topics.is_empty();
        self.let_leaders_vouch(&mut parts).await?;
        at_end &= parts.iter().all(|part| part.is_at_end);
        // Of the topics it was asked before, and records may be in others since.
        at_end = at_end && self.has_no_others().await?;
        let state = |part: &Progress<'_>| {
            let of = self.partition(part.stream)?;
            Some(part.state(self.logs.get(part.stream).copied(), incarnation(&of)))
        };
        let states = parts.iter().map(|part| (part.stream.to_owned(), state(part))).collect();
        self.checked = Instant::now();
        Ok((states, self.reading(parts, at_end)))
    }

    /// What is told of every topic now.
    async fn ask_topics(&mut self) -> Result<Vec<Result<Option<Topic>, KafkaError>>, ReadError> {
        let told = async { self.client.topics(&self.names).await.map_err(ReadError::failed) };
        let told = within(2 * REPLY, told).await?;
        self.told = Instant::now();
        Ok(told)
    }

    /// Whether no topic or partition has come since the topics were divided.
    async fn has_no_others(&mut self) -> Result<bool, ReadError> {
        let told = self.ask_topics().await?;
        let known = |name: &Arc<str>| self.topics.get(&**name).map_or(0, |topic| topic.partitions.len());
        let mut pairs = self.names.iter().zip(&told);
        Ok(pairs.all(|(name, now)| match now {
            Ok(now) => now.as_ref().map_or(0, |topic| topic.partitions.len()) == known(name),
            Err(_) => false,
        }))
    }

    /// Those of the streams that are there and have a place.
    fn begin<'s>(&self, streams: &[Stream<'s>]) -> Vec<Progress<'s>> {
        let witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = |stream: &Stream<'s>| {
            let of = self.partition(stream.name)?;
            let next = next(stream.place?);
            Some(Progress::from(stream.name, next, witness.epoch(stream.name, incarnation(&of), next)))
        };
        streams.iter().filter_map(begin).collect()
    }

    /// What was read, to be answered: with it, who wrote it is remembered.
    fn reading(&self, parts: Vec<Progress<'_>>, at_end: bool) -> Reading {
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        witness.attend(self.client.cluster().unwrap_or_default());
        let mut batches = Vec::new();
        for part in parts {
            let of = self.partition(part.stream);
            witness.note(part.stream, of.as_ref().and_then(incarnation), part.next, part.epoch);
            if part.has_moved() {
                batches.push(part.batch());
            }
        }
        Reading { batches, at_end }
    }

    /// The partition that is a stream, if it is there.
    fn partition(&self, stream: &str) -> Option<TopicPartition> {
        let (topic, number) = stream.rsplit_once('/')?;
        let number: i32 = number.parse().ok()?;
        self.topics.get(topic)?.topic_partitions().find(|of| of.partition.number == number)
    }

    /// Notes that a leader has said how far the log is stable.
    fn vouch(&mut self, stream: &str, of: &TopicPartition) {
        match of.partition.leader_epoch {
            Some(epoch) => drop(self.vouched.insert(stream.to_owned(), epoch)),
            None => drop(self.vouched.remove(stream)),
        }
    }

    /// Whether the leader that a stream has now has said so.
    fn is_vouched(&self, stream: &str) -> bool {
        let epoch = self.partition(stream).and_then(|of| of.partition.leader_epoch);
        epoch.is_some_and(|epoch| self.vouched.get(stream) == Some(&epoch))
    }

    fn cursor(&self, part: &Progress<'_>) -> Option<Cursor> {
        let of = self.partition(part.stream)?;
        Some(Cursor { of, offset: part.next, last_epoch: part.epoch })
    }
}

/// What tells a topic from others of its name.
fn incarnation(of: &TopicPartition) -> Option<u128> {
    of.id.map(|id| id.as_u128())
}
