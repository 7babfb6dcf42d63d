//! Hears a subject of NATS, without JetStream: what is published while nobody listens is gone.
//!
//! A server puts what it has for a connection into its output in the order in which it came, so that what it had before we
//! say something to ourselves comes before that. When that output grows too large it closes the connection; the client
//! would make another one by itself, and drop what it has no room for, both of which is looked for after whatever came.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use freshet_connect::{
    System,
    nats::{self, Listening, NatsError},
};
use freshet_crds::binding::{NatsSpec, StreamLayout};

use super::{
    CONNECT, access,
    subscription::{Listener, Subscription},
    transport::{ReadError, Transport},
};
use crate::{mounts::Mounts, record::Fields};

pub(super) mod message;
mod outlet;

/// How much is taken at once, in bytes, before it is applied; what else there is waits in the network and at the server.
const AT_ONCE: usize = 8 << 20;

/// A source's subject.
pub(super) struct Nats {
    server: NatsSpec,
    subject: String,
    mounts: Mounts,
    /// Connections that were made.
    made: AtomicU64,
}

/// A connection to it.
pub(super) struct Connection {
    listening: Listening,
    is_behind: bool,
}

impl Nats {
    pub(super) fn new(server: NatsSpec, layout: &StreamLayout, mounts: Mounts) -> Self {
        let subject = layout.stream().unwrap_or_default().to_owned();
        Self { server, subject, mounts, made: AtomicU64::new(0) }
    }
}

impl Transport for Nats {
    type Reader = Listener<Connection>;

    /// Servers of a cluster forget what was under way between two of them.
    const LOSES_SILENTLY: bool = true;

    async fn open(&self, _topics: &[&str]) -> Result<Listener<Connection>, ReadError> {
        let target = access::nats(&self.server, &self.mounts).map_err(ReadError::failed)?;
        let listening = nats::listen(&target, &System, &self.subject, CONNECT).await.map_err(meaning)?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let connection = Connection { listening, is_behind: false };
        Ok(Listener::new(connection, &self.subject, number))
    }
}

impl Subscription for Connection {
    async fn next(&mut self, heard: &mut VecDeque<Fields>, until: Instant) -> Result<(), ReadError> {
        let hear = |message| heard.push_back(message::fields(&message));
        self.listening.hear(hear, until.into()).await.map_err(meaning)?;
        self.listening.be_whole().map_err(meaning)
    }

    async fn round_trip(&mut self, heard: &mut VecDeque<Fields>) -> Result<(), ReadError> {
        let hear = |message| heard.push_back(message::fields(&message));
        let is_answered = self.listening.round_trip(hear, AT_ONCE).await.map_err(meaning)?;
        self.is_behind = !is_answered;
        self.listening.be_whole().map_err(meaning)
    }

    fn is_behind(&self) -> bool {
        self.is_behind
    }
}

fn meaning(error: NatsError) -> ReadError {
    match error {
        NatsError::Lost(_) => ReadError::Broken,
        NatsError::Dropped(_) => ReadError::Overrun,
        error => ReadError::failed(error),
    }
}
