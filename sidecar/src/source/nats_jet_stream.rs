//! Reads a stream of NATS JetStream, as Debezium Server's sink fills it: one stream with all topics as subjects.
//!
//! A stream's sequences have no gaps but where messages were removed, so that its newest one counts what was ever added.
//! A server may forget the newest messages when it dies, and give others the same sequences: the time of the last message
//! that was read is compared with what the stream has at that place after every reconnect, whenever another server
//! leads the stream, and while nothing new comes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::jetstream::{
    self, Context, ErrorCode, Message,
    context::GetStreamErrorKind,
    stream::{Info, LastRawMessageErrorKind, Stream as Handle},
};
use freshet_connect::{
    System,
    nats::{self, Link, NatsError},
};
use freshet_crds::binding::{NatsSpec, StreamLayout};
use tokio::time::Instant;

use self::{consumer::Consumer, witness::Witness};
use super::{
    CONNECT, access,
    nats::message,
    transport::{ReadError, Reader, Stream, Transport, within},
};
use crate::{
    continuity::{Break, ServerIdentity, StreamState},
    mounts::Mounts,
    position::Place,
    record::{Batch, Reading, Record},
    tail::Survey,
};

mod consumer;
mod outlet;
mod witness;

/// How long any reply may take, and how long what is there may take to come.
const REPLY: Duration = Duration::from_secs(2);
/// After how much silence it is asked whether what should have come is there at all.
const SILENCE: Duration = Duration::from_millis(250);

/// A source's JetStream.
pub(super) struct JetStream {
    nats: NatsSpec,
    stream: String,
    mounts: Mounts,
    /// The last message that was read, over all connections.
    witness: Arc<Mutex<Option<Witness>>>,
}

/// A connection to it.
pub(super) struct Connection {
    link: Link,
    context: Context,
    stream: String,
    /// What sends the messages, from some place on.
    consumer: Option<Consumer>,
    /// Whether the stream wasn't there when it was last asked for.
    is_absent: bool,
    /// The server that led the stream when it was last asked; `None` before that.
    leader: Option<String>,
    witness: Arc<Mutex<Option<Witness>>>,
}

impl JetStream {
    pub(super) fn new(nats: NatsSpec, layout: &StreamLayout, mounts: Mounts) -> Self {
        let stream = layout.stream().unwrap_or_default().to_owned();
        Self { nats, stream, mounts, witness: Arc::default() }
    }
}

impl Transport for JetStream {
    type Reader = Connection;

    async fn open(&self, _topics: &[&str]) -> Result<Connection, ReadError> {
        let target = access::nats(&self.nats, &self.mounts).map_err(ReadError::failed)?;
        let link = nats::connect(&target, &System, CONNECT).await.map_err(ReadError::failed)?;
        Ok(Connection {
            context: jetstream::new(link.client().clone()),
            link,
            stream: self.stream.clone(),
            consumer: None,
            is_absent: false,
            leader: None,
            witness: Arc::clone(&self.witness),
        })
    }
}

impl Reader for Connection {
    async fn survey(&mut self, streams: &[Stream<'_>], count: usize) -> Result<(Survey, Reading), ReadError> {
        let surveyed = self.stand(streams, count).await;
        self.told(surveyed)
    }

    async fn read(
        &mut self,
        streams: &[Stream<'_>],
        count: usize,
        wait: Duration,
    ) -> Result<Reading, ReadError> {
        let read = self.read_on(streams, count, wait).await;
        self.told(read)
    }

    async fn look_back(
        &mut self,
        _stream: &str,
        until: Place,
        count: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let found = consumer::look_back(&self.context, &self.stream, until, count);
        let found = within(REPLY, found).await;
        self.told(found)
    }
}

impl Connection {
    /// Says what the server doesn't permit, where that is why something fails: it answers nothing to who may not ask.
    fn told<T>(&self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        result.map_err(|error| match (error, self.link.denied()) {
            (ReadError::Silence | ReadError::Failed(_), Some(says)) => {
                ReadError::failed(NatsError::NotPermitted(says.to_owned()))
            }
            (error, _) => error,
        })
    }

    async fn stand(&mut self, streams: &[Stream<'_>], count: usize) -> Result<(Survey, Reading), ReadError> {
        let handle = within(REPLY, self.stream()).await?;
        self.is_absent = handle.is_none();
        let place = streams.iter().find_map(|stream| stream.place);
        let (state, reading) = match handle {
            None => (None, Reading { batches: Vec::new(), at_end: true }),
            Some(handle) => {
                within(REPLY, self.compare(&handle)).await?;
                let info = handle.cached_info();
                let reading = if let Some(place) = place {
                    self.read_through(&handle, place, count).await?
                } else {
                    within(REPLY, self.see_last(&handle)).await?;
                    Reading::default()
                };
                (Some(state(info, &reading)), reading)
            }
        };
        self.be_unbroken()?;
        // What tells one history of a stream from another is the stream's own.
        let server = ServerIdentity::default();
        Ok((Survey { server, link: None, states: vec![(self.stream.clone(), state)] }, reading))
    }

    async fn read_on(
        &mut self,
        streams: &[Stream<'_>],
        count: usize,
        wait: Duration,
    ) -> Result<Reading, ReadError> {
        let Some(place) = streams.iter().find_map(|stream| stream.place).filter(|_| !self.is_absent) else {
            // Whether it has come, the next survey shows.
            tokio::time::sleep(wait).await;
            return Ok(Reading::default());
        };
        let until = Instant::now() + wait;
        let consumer = self.consumer_at(place).await?;
        let mut records: Vec<_> = consumer.next(until).await?.into_iter().collect();
        while !records.is_empty()
            && records.len() < count
            && let Some(record) = consumer.next_ready()?
        {
            records.push(record);
        }
        self.be_unbroken()?;
        // It doesn't tell whether there was more when it was asked.
        Ok(self.reading(records, false))
    }

    /// The stream with what its leader says of it; `None` if there is none.
    async fn stream(&self) -> Result<Option<Handle>, ReadError> {
        match self.context.get_stream(&self.stream).await {
            Ok(handle) => Ok(Some(handle)),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(why) if why.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    Ok(None)
                }
                _ => Err(ReadError::failed(error)),
            },
        }
    }

    /// Compares the last message that was read with what the stream has there, once for each server that leads it and
    /// whenever nothing has come since.
    async fn compare(&mut self, handle: &Handle) -> Result<(), ReadError> {
        let info = handle.cached_info();
        let leader = info.cluster.as_ref().and_then(|cluster| cluster.leader.clone()).unwrap_or_default();
        let is_led_anew = self.leader.as_ref() != Some(&leader);
        let known = *self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        // Where nothing has come since, a server may have come back within a moment with another message in its place.
        let is_asked = |known: &Witness| is_led_anew || known.sequence == info.state.last_sequence;
        if let Some(known) = known.filter(|known| known.is_due(info) && is_asked(known)) {
            let found = message_at(handle, known.sequence).await?;
            if found != Some(known) {
                // It is told once.
                *self.witness.lock().unwrap_or_else(PoisonError::into_inner) = None;
                return Err(ReadError::Lost {
                    why: Break::IdWentBack,
                    text: format!("message {} of the stream isn't the one that was read", known.sequence),
                });
            }
        }
        self.leader = Some(leader);
        Ok(())
    }

    /// Notes the newest message of the stream as the one that was read last.
    async fn see_last(&self, handle: &Handle) -> Result<(), ReadError> {
        let last = message_at(handle, handle.cached_info().state.last_sequence).await?;
        *self.witness.lock().unwrap_or_else(PoisonError::into_inner) = last;
        Ok(())
    }

    /// Reads on until nothing is left of what the stream had when it was asked for.
    async fn read_through(
        &mut self,
        handle: &Handle,
        from: Place,
        count: usize,
    ) -> Result<Reading, ReadError> {
        let newest = handle.cached_info().state.last_sequence;
        let last = place(newest);
        let deadline = Instant::now() + REPLY;
        let (mut at, mut records) = (from, Vec::new());
        while at < last && records.len() < count {
            let patience = deadline.min(Instant::now() + SILENCE);
            let consumer = self.consumer_at(at).await?;
            if let Some(record) = consumer.next(patience).await? {
                at = record.place;
                records.push(record);
            } else if within(REPLY, message_at(handle, newest)).await?.is_none() {
                // It was removed, which the count tells.
                return Ok(self.reading(records, true));
            } else if Instant::now() >= deadline {
                break;
            }
        }
        Ok(self.reading(records, at >= last))
    }

    /// What sends the messages behind this place.
    async fn consumer_at(&mut self, place: Place) -> Result<&mut Consumer, ReadError> {
        let consumer = if let Some(consumer) = self.consumer.take().filter(|it| it.at() == place) {
            consumer
        } else {
            let most = self.link.client().server_info().max_payload;
            within(REPLY, Consumer::from(&self.context, &self.stream, place, most)).await?
        };
        Ok(self.consumer.insert(consumer))
    }

    fn reading(&self, records: Vec<Record>, at_end: bool) -> Reading {
        if let Some(witness) = self.consumer.as_ref().and_then(Consumer::last) {
            *self.witness.lock().unwrap_or_else(PoisonError::into_inner) = Some(witness);
        }
        let batches = if records.is_empty() {
            Vec::new()
        } else {
            vec![Batch { stream: self.stream.clone(), records, through: None }]
        };
        Reading { batches, at_end }
    }

    /// Of what came over a connection that the client has made by itself something may be missing.
    fn be_unbroken(&self) -> Result<(), ReadError> {
        if self.link.is_unbroken() { Ok(()) } else { Err(ReadError::Broken) }
    }
}

/// A stream as it stood when the last message of a reading was there.
fn state(info: &Info, reading: &Reading) -> StreamState {
    let state = &info.state;
    let read =
        reading.batches.last().and_then(|batch| batch.records.last()?.place.number()).unwrap_or_default();
    let newer = read.saturating_sub(state.last_sequence);
    let added = state.last_sequence + newer;
    let last = place(added);
    let is_holed = state.deleted_count.is_some_and(|count| count > 0);
    StreamState {
        last,
        added: Some(added),
        length: state.messages + newer,
        before: if state.messages == 0 { last } else { place(state.first_sequence.saturating_sub(1)) },
        removed: if is_holed { last } else { Place::Start },
        incarnation: u128::try_from(info.created.unix_timestamp_nanos()).ok(),
    }
}

/// What tells the message with this sequence from others that may have it; `None` if it isn't there.
async fn message_at(handle: &Handle, sequence: u64) -> Result<Option<Witness>, ReadError> {
    if sequence == 0 {
        return Ok(None);
    }
    match handle.get_raw_message(sequence).await {
        Ok(message) => {
            let stream = handle.cached_info().created.unix_timestamp_nanos();
            Ok(Some(Witness::new(stream, sequence, message.time.unix_timestamp_nanos())))
        }
        Err(error) => match error.kind() {
            LastRawMessageErrorKind::NoMessageFound => Ok(None),
            LastRawMessageErrorKind::JetStream(why) if why.error_code() == ErrorCode::NO_MESSAGE_FOUND => {
                Ok(None)
            }
            _ => Err(ReadError::failed(error)),
        },
    }
}

/// The place of a message; sequences begin with 1.
fn place(sequence: u64) -> Place {
    if sequence == 0 { Place::Start } else { Place::Number(sequence) }
}

/// A message as the core reads it: Debezium's sink sends no keys.
fn record(message: &Message) -> Result<(Record, i128), ReadError> {
    let (sequence, at) = {
        let info = message.info().map_err(ReadError::Failed)?;
        (info.stream_sequence, info.published.unix_timestamp_nanos())
    };
    let written_ms = u64::try_from(at / 1_000_000).ok();
    let fields = message::fields(message);
    Ok((Record { place: place(sequence), written_ms, fields }, at))
}
