//! Hears a channel of PostgreSQL's `NOTIFY`, on a session of its own.
//!
//! A transaction's notifications are in the server's queue before anybody can see what it has changed, in the order of
//! commits, and every session that listens is woken right after. What a session was woken for comes before the answer to what
//! it is asked next. So an answer tells of everything but what can be seen and was not yet woken for, a moment that has no
//! bound of its own: it proves the moment of the question before it.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use freshet_connect::{
    System,
    postgres::{self, Listening, PostgresError},
};
use freshet_crds::binding::{PostgresSpec, StreamLayout};

use super::{
    CONNECT, access,
    subscription::{Listener, Subscription},
    transport::{ReadError, Transport},
};
use crate::{envelope::ENVELOPE, mounts::Mounts, record::Fields};

mod outlet;

/// A source's channel.
pub(super) struct PostgresNotify {
    postgres: PostgresSpec,
    channel: String,
    mounts: Mounts,
    /// Sessions that were made.
    made: AtomicU64,
}

impl PostgresNotify {
    pub(super) fn new(postgres: PostgresSpec, layout: &StreamLayout, mounts: Mounts) -> Self {
        let channel = layout.stream().unwrap_or_default().to_owned();
        Self { postgres, channel, mounts, made: AtomicU64::new(0) }
    }
}

impl Transport for PostgresNotify {
    type Reader = Listener<Listening>;

    const IS_THE_DATABASE: bool = true;

    async fn open(&self, _topics: &[&str]) -> Result<Listener<Listening>, ReadError> {
        let target = access::postgres(&self.postgres, &self.mounts).map_err(ReadError::failed)?;
        let session = postgres::listen(&target, &System, &self.channel, CONNECT).await.map_err(told)?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        Ok(Listener::new(session, &self.channel, number))
    }
}

impl Subscription for Listening {
    const COMES_AFTER: bool = true;

    async fn next(&mut self, heard: &mut VecDeque<Fields>, until: Instant) -> Result<(), ReadError> {
        let mut payloads = VecDeque::new();
        let next = self.next(&mut payloads, until.into()).await;
        heard.extend(payloads.into_iter().map(fields));
        next.map_err(told)
    }

    async fn round_trip(&mut self, heard: &mut VecDeque<Fields>) -> Result<(), ReadError> {
        let mut payloads = VecDeque::new();
        let answered = self.round_trip(&mut payloads).await;
        heard.extend(payloads.into_iter().map(fields));
        answered.map_err(told)
    }
}

fn fields(payload: String) -> Fields {
    vec![(ENVELOPE.to_vec(), payload.into_bytes())]
}

fn told(error: PostgresError) -> ReadError {
    match error {
        PostgresError::Flooded(_) => ReadError::Overrun,
        error => ReadError::failed(error),
    }
}
