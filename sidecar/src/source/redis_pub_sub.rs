//! Hears a channel of Redis Pub/Sub, on a connection that both answers and brings messages (RESP3).
//!
//! Redis puts a message into the connection's output when it is published, and an answer when it was asked, so that what was
//! published before comes before the answer. When that output grows too large Redis closes the connection.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use freshet_connect::{ConnectError, Link, System, connect_hearing};
use freshet_crds::binding::{RedisSpec, StreamLayout};
use redis::{PushInfo, PushKind, Value};

use super::{
    CONNECT,
    access::{self, AccessError},
    redis_stream::reply::{self, Unexpected},
    subscription::{
        Listener, Subscription,
        inbox::{self, Inbox},
    },
    transport::{ReadError, Transport},
};
use crate::{envelope::ENVELOPE, mounts::Mounts, record::Fields};

mod outlet;

/// A source's channel.
pub(super) struct RedisPubSub {
    redis: RedisSpec,
    channel: String,
    mounts: Mounts,
    /// Connections that were made.
    made: AtomicU64,
}

/// A connection to it.
pub(super) struct Connection {
    link: Link,
    inbox: Inbox,
}

/// What of its own may go wrong.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Reply(#[from] Unexpected),
    #[error("the server is a replica: what it misses of its master's messages it never sends")]
    Replica,
    #[error("the server is a node of a Cluster, whose nodes lose messages between them without a word")]
    Cluster,
}

impl RedisPubSub {
    pub(super) fn new(redis: RedisSpec, layout: &StreamLayout, mounts: Mounts) -> Self {
        let channel = layout.stream().unwrap_or_default().to_owned();
        Self { redis, channel, mounts, made: AtomicU64::new(0) }
    }

    async fn subscribe(&self) -> Result<Connection, Fault> {
        let target = access::redis_channel(&self.redis, &self.mounts)?;
        let (slot, inbox) = inbox::new();
        let hears = move |push| message(push).is_none_or(|message| slot.put(message));
        let mut link = connect_hearing(&target, &System, CONNECT, hears).await?;
        link.subscribe(&self.channel).await?;
        Ok(Connection { link, inbox })
    }
}

impl Transport for RedisPubSub {
    type Reader = Listener<Connection>;

    async fn open(&self, _topics: &[&str]) -> Result<Listener<Connection>, ReadError> {
        let subscribed = tokio::time::timeout(CONNECT, self.subscribe()).await;
        let connection = subscribed.map_err(|_| ReadError::Silence)?.map_err(ReadError::failed)?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        Ok(Listener::new(connection, &self.channel, number))
    }
}

impl Subscription for Connection {
    async fn next(&mut self, heard: &mut VecDeque<Fields>, until: Instant) -> Result<(), ReadError> {
        self.inbox.next(heard, until).await
    }

    async fn round_trip(&mut self, heard: &mut VecDeque<Fields>) -> Result<(), ReadError> {
        self.ask().await.map_err(ReadError::failed)?;
        self.inbox.take(heard).map(drop)
    }
}

impl Connection {
    /// Asks what the server is.
    async fn ask(&mut self) -> Result<(), Fault> {
        let mut pipe = redis::pipe();
        pipe.cmd("INFO").arg("replication").cmd("INFO").arg("cluster");
        let (replication, cluster) = pipe.query_async(&mut *self.link).await?;
        if reply::is_of_cluster(&cluster) {
            return Err(Fault::Cluster);
        }
        match reply::master_link(&replication)? {
            None => Ok(()),
            Some(_) => Err(Fault::Replica),
        }
    }
}

/// What was published, if that is what came.
fn message(push: PushInfo) -> Option<Fields> {
    if push.kind != PushKind::Message {
        return None;
    }
    match push.data.into_iter().nth(1)? {
        Value::BulkString(payload) => Some(vec![(ENVELOPE.to_vec(), payload)]),
        _ => None,
    }
}
