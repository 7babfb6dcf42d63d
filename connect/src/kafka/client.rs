//! The client: whom it knows, and its connections.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use freshet_crds::redis_url::HostPort;
use kafka_protocol::{
    messages::{MetadataRequest, MetadataResponse, metadata_request::MetadataRequestTopic},
    protocol::Request,
};
use rand::seq::SliceRandom as _;
use tokio::task::JoinSet;

use super::{Target, error::KafkaError, fetch::Errand, way::Way, wire::Connection};
use crate::{Resolve, sentinel::sentences};

/// A client of one cluster. Everything it has is closed when it is dropped.
///
/// It has one connection to each broker that it fetches from or writes to, and one for other questions, so that these
/// don't wait behind a fetch. Its methods may be cancelled: a fetch goes on and is answered by the next one; what else
/// was asked is lost with its connection.
pub struct Client<R> {
    pub(super) way: Arc<Way<R>>,
    seeds: Vec<HostPort>,
    /// As the cluster last named them.
    brokers: BTreeMap<i32, HostPort>,
    cluster: Option<String>,
    /// For questions that any broker answers.
    any: Option<Connection>,
    /// To leaders, while nothing is asked on them.
    idle: HashMap<i32, Connection>,
    /// Fetches that are on their way, at most one to each broker.
    pub(super) errands: JoinSet<Errand>,
    pub(super) under_way: HashMap<i32, tokio::task::Id>,
    /// Which partition is asked for first.
    pub(super) turn: usize,
}

// === impl Client ===

impl<R: Resolve> Client<R> {
    /// Connects to one of the brokers and asks it for the others. `within` is how long each answer may take; a broker
    /// gets twice as long for all of the making of a connection.
    pub async fn connect(target: &Target, names: &R, within: Duration) -> Result<Self, KafkaError> {
        let mut client = Self {
            way: Arc::new(Way::new(target, names, within)?),
            seeds: target.brokers.clone(),
            brokers: BTreeMap::new(),
            cluster: None,
            any: None,
            idle: HashMap::new(),
            errands: JoinSet::new(),
            under_way: HashMap::new(),
            turn: 0,
        };
        client.metadata(Vec::new()).await?;
        Ok(client)
    }

    /// The identity of the cluster; another cluster's offsets mean nothing in this one.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// Asks any broker for these topics, and remembers what it says of the cluster.
    pub(super) async fn metadata(
        &mut self,
        topics: Vec<MetadataRequestTopic>,
    ) -> Result<MetadataResponse, KafkaError> {
        let question =
            MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(false);
        let answer = self.ask_any(&question, 9..=13).await?;
        let place = |host: &str, port: i32| {
            let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
            Some(HostPort { host: host.to_owned(), port })
        };
        let brokers = answer.brokers.iter();
        self.brokers = brokers.filter_map(|one| Some((one.node_id.0, place(&one.host, one.port)?))).collect();
        self.idle.retain(|node, connection| self.brokers.get(node) == Some(connection.at()));
        self.cluster = answer.cluster_id.as_ref().map(|id| id.as_str().to_owned());
        Ok(answer)
    }

    /// Asks any broker.
    pub(super) async fn ask_any<Q: Request>(
        &mut self,
        question: &Q,
        versions: RangeInclusive<i16>,
    ) -> Result<Q::Response, KafkaError> {
        let mut connection = match self.any.take().and_then(fresh) {
            Some(connection) => connection,
            None => self.open_any().await?,
        };
        let version = connection.version::<Q>(versions)?;
        let answer = connection.ask(question, version, Duration::ZERO).await?;
        self.any = Some(connection);
        Ok(answer)
    }

    /// Brokers that the cluster has named come first: those of the source may be gone for long.
    async fn open_any(&self) -> Result<Connection, KafkaError> {
        let mut named: Vec<_> = self.brokers.values().collect();
        let mut seeds: Vec<_> = self.seeds.iter().filter(|seed| !named.contains(seed)).collect();
        // So that not all of a fleet ask the first.
        named.shuffle(&mut rand::rng());
        seeds.shuffle(&mut rand::rng());
        let mut failed = Vec::new();
        for at in named.into_iter().chain(seeds) {
            match self.way.open(at).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.is_for_good() => return Err(error),
                Err(error) => failed.push(error),
            }
        }
        match failed.len() {
            0 => Err(KafkaError::NoBroker("no broker is known".into())),
            1 => Err(failed.remove(0)),
            _ => Err(KafkaError::NoBroker(sentences(&failed))),
        }
    }

    /// Where a broker is, if the cluster has named it.
    pub(super) fn broker(&self, node: i32) -> Option<&HostPort> {
        self.brokers.get(&node)
    }

    /// The idle connection to a broker, if there is one that can still be used.
    pub(super) fn take_idle(&mut self, node: i32) -> Option<Connection> {
        self.idle.remove(&node).and_then(fresh)
    }

    /// Keeps a connection for the next time.
    pub(super) fn keep(&mut self, node: i32, connection: Connection) {
        if self.brokers.get(&node) == Some(connection.at()) {
            self.idle.insert(node, connection);
        }
    }

    /// A connection to the leader of a partition.
    pub(super) async fn leader(&mut self, node: i32) -> Result<Connection, KafkaError> {
        if let Some(connection) = self.take_idle(node) {
            return Ok(connection);
        }
        let at = self.brokers.get(&node).cloned();
        let at = at.ok_or_else(|| KafkaError::NoBroker(format!("the cluster names no broker {node}")))?;
        self.way.open(&at).await
    }
}

fn fresh(mut connection: Connection) -> Option<Connection> {
    connection.is_fresh().then_some(connection)
}
