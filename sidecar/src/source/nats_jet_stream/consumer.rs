//! What sends a stream's messages: a consumer of our own, which acknowledges nothing and which the server forgets when
//! nobody reads it any more.

use std::time::Duration;

use async_nats::jetstream::{
    Context,
    consumer::{AckPolicy, DeliverPolicy, pull},
};
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::{place, record, witness::Witness};
use crate::{position::Place, record::Record, source::transport::ReadError};

/// Messages, and their bytes, that the server may send ahead of being asked.
const AHEAD: (usize, usize) = (500, 8 << 20);
/// How long the server remembers one that nobody reads.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// How long a request for messages stays with the server.
const REQUEST: Duration = Duration::from_secs(20);

/// A consumer, and how far its messages were taken.
pub(super) struct Consumer {
    messages: pull::Stream,
    /// When the stream was made.
    stream: i128,
    at: Place,
    last: Option<Witness>,
}

impl Consumer {
    /// One that sends what is behind this place; a message may have so many bytes.
    pub(super) async fn from(
        context: &Context,
        stream: &str,
        at: Place,
        most: usize,
    ) -> Result<Self, ReadError> {
        let handle = context.get_stream(stream).await.map_err(ReadError::failed)?;
        let consumer = handle.create_consumer(config(at)).await.map_err(ReadError::failed)?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(AHEAD.0)
            // With its subject and headers it takes a bit more, and what doesn't fit would never come.
            .max_bytes_per_batch(AHEAD.1.max(2 * most))
            .expires(REQUEST)
            .messages()
            .await
            .map_err(ReadError::failed)?;
        let stream = handle.cached_info().created.unix_timestamp_nanos();
        Ok(Self { messages, stream, at, last: None })
    }

    /// The place behind which it sends on.
    pub(super) fn at(&self) -> Place {
        self.at
    }

    /// The last message that it has sent.
    pub(super) fn last(&self) -> Option<Witness> {
        self.last
    }

    /// The next message, if it comes until then.
    pub(super) async fn next(&mut self, until: Instant) -> Result<Option<Record>, ReadError> {
        match timeout_at(until, self.messages.next()).await {
            Ok(Some(message)) => self.take(message).map(Some),
            Ok(None) => Err(ReadError::Broken),
            Err(_) => Ok(None),
        }
    }

    /// The next message, if it has come.
    pub(super) fn next_ready(&mut self) -> Result<Option<Record>, ReadError> {
        match self.messages.next().now_or_never() {
            Some(Some(message)) => self.take(message).map(Some),
            Some(None) => Err(ReadError::Broken),
            None => Ok(None),
        }
    }

    fn take<E>(&mut self, message: Result<async_nats::jetstream::Message, E>) -> Result<Record, ReadError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let (record, at) = record(&message.map_err(ReadError::failed)?)?;
        self.at = record.place;
        self.last = record.place.number().map(|sequence| Witness::new(self.stream, sequence, at));
        Ok(record)
    }
}

/// So many of a stream's messages up to this place, newest first.
pub(super) async fn look_back(
    context: &Context,
    stream: &str,
    until: Place,
    count: usize,
) -> Result<Vec<Record>, ReadError> {
    let Some(last) = until.number() else { return Ok(Vec::new()) };
    let before = place(last.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX)));
    let handle = context.get_stream_no_info(stream).await.map_err(ReadError::failed)?;
    let consumer = handle.create_consumer(config(before)).await.map_err(ReadError::failed)?;
    let mut messages = consumer.fetch().max_messages(count).messages().await.map_err(ReadError::failed)?;
    let mut records = Vec::new();
    while let Some(message) = messages.next().await {
        let (record, _) = record(&message.map_err(ReadError::Failed)?)?;
        if record.place > until {
            break;
        }
        records.push(record);
    }
    // It would be forgotten anyway.
    handle.delete_consumer(&consumer.cached_info().name).await.ok();
    records.reverse();
    Ok(records)
}

fn config(behind: Place) -> pull::Config {
    let start_sequence = behind.number().unwrap_or_default() + 1;
    pull::Config {
        description: Some("freshet".to_owned()),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
        ack_policy: AckPolicy::None,
        inactive_threshold: FORGOTTEN,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    }
}
