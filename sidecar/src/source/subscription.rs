//! Reads a transport that keeps nothing: whoever isn't connected when something is sent never gets it.
//!
//! What comes is numbered, anew on each connection, and the connection's number is part of who the server is: on another
//! one everything is void. On one that lives the server leaves nothing out, and what was sent before a question to it comes
//! before its answer. So what is known is as new as the last answer, and nothing is ever at its end without one.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::transport::{ReadError, Reader, Stream, within};
use crate::{
    continuity::{ServerIdentity, StreamState},
    position::Place,
    record::{Batch, Fields, Reading, Record},
    replication::MasterLink,
    tail::Survey,
};

pub(super) mod inbox;

/// How long an answer may take: a half-open connection is noticed by it.
const REPLY: Duration = Duration::from_secs(2);

/// How much may wait to be read, in bytes, before the server is asked again, and at all.
const ASKED_UNTIL: usize = 16 << 20;
const MOST: usize = 160 << 20;
/// What a message takes besides its bytes, about.
const OVERHEAD: usize = 128;

/// One connection on which messages come.
pub(super) trait Subscription: Send {
    /// Whether what a message tells of may be seen a moment before the message is on its way. An answer proves nothing of the
    /// moment of its question then, but of that of the question before.
    const COMES_AFTER: bool = false;

    /// Moves what has come to the end of `heard`; if there is nothing, it waits until then for the first.
    fn next(
        &mut self,
        heard: &mut VecDeque<Fields>,
        until: Instant,
    ) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// Asks the server, and waits for its answer: what the server has sent on this connection before it is then in `heard`.
    fn round_trip(
        &mut self,
        heard: &mut VecDeque<Fields>,
    ) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// Whether the last round trip ended without an answer, since more came before it than should wait here: nothing is known
    /// of what comes still.
    fn is_behind(&self) -> bool {
        false
    }
}

/// Numbers what comes by a subscription.
pub(super) struct Listener<S> {
    subscription: S,
    /// What it is subscribed to.
    name: String,
    connection: u64,
    /// What has come, and wasn't read yet.
    waiting: VecDeque<Fields>,
    /// How many bytes that is, about.
    held: usize,
    /// How many were read.
    taken: u64,
    /// How many questions were answered.
    answered: u64,
}

impl<S: Subscription> Listener<S> {
    /// `connection` differs from that of all others that were made for this source.
    pub(super) fn new(subscription: S, name: &str, connection: u64) -> Self {
        Self {
            subscription,
            name: name.to_owned(),
            connection,
            waiting: VecDeque::new(),
            held: 0,
            taken: 0,
            answered: 0,
        }
    }

    /// Whether its word is worth only as much as a replica's: as if it had heard of everything when it was last asked.
    fn link(&self) -> Option<MasterLink> {
        let link = MasterLink { up: true, silent: Duration::ZERO, offset: self.answered };
        S::COMES_AFTER.then_some(link)
    }

    /// Counts what has come since so many waited.
    fn hold(&mut self, known: usize) -> Result<(), ReadError> {
        self.held += self.waiting.range(known..).map(size).sum::<usize>();
        if self.held > MOST { Err(ReadError::Overrun) } else { Ok(()) }
    }

    fn state(&self) -> StreamState {
        let length = self.waiting.len() as u64;
        let added = self.taken.saturating_add(length);
        let [last, before] = [added, self.taken].map(place);
        StreamState { last, added: Some(added), length, before, ..StreamState::default() }
    }

    /// Reads what waits, at most so many. Who is elsewhere reads on another connection, which this one isn't.
    fn take(&mut self, streams: &[Stream<'_>], count: usize) -> Reading {
        if !streams.iter().any(|stream| stream.name == self.name && stream.place == Some(place(self.taken))) {
            return Reading::default();
        }
        let count = count.min(self.waiting.len());
        self.held -= self.waiting.range(..count).map(size).sum::<usize>();
        let records: Vec<_> = (self.taken + 1..)
            .zip(self.waiting.drain(..count))
            .map(|(number, fields)| Record { place: place(number), written_ms: None, fields })
            .collect();
        self.taken += count as u64;
        let batch = Batch { stream: self.name.clone(), records, through: None };
        Reading { batches: if count == 0 { Vec::new() } else { vec![batch] }, at_end: false }
    }
}

impl<S: Subscription> Reader for Listener<S> {
    async fn survey(&mut self, streams: &[Stream<'_>], count: usize) -> Result<(Survey, Reading), ReadError> {
        // What waits is applied first: nobody is asked for more than there is room for.
        let is_asked = self.held <= ASKED_UNTIL;
        if is_asked {
            let known = self.waiting.len();
            within(REPLY, self.subscription.round_trip(&mut self.waiting)).await?;
            self.hold(known)?;
            self.answered += 1;
        }
        let is_placed = streams.iter().any(|stream| stream.place.is_some());
        // Who has no place yet begins with what hasn't been read.
        let state = if is_placed { self.state() } else { StreamState { length: 0, ..at(self.taken) } };
        let at_end = is_asked && count >= self.waiting.len() && !self.subscription.is_behind();
        let reading = Reading { at_end, ..self.take(streams, count) };
        let state = |stream: &Stream<'_>| (stream.name.to_owned(), Some(state));
        let server = ServerIdentity { history: String::new(), connection: Some(self.connection) };
        Ok((Survey { server, link: self.link(), states: streams.iter().map(state).collect() }, reading))
    }

    async fn read(
        &mut self,
        streams: &[Stream<'_>],
        count: usize,
        wait: Duration,
    ) -> Result<Reading, ReadError> {
        if self.waiting.is_empty() {
            self.subscription.next(&mut self.waiting, Instant::now() + wait).await?;
            self.hold(0)?;
        } else {
            // Others' followers have the same thread.
            tokio::task::yield_now().await;
        }
        Ok(self.take(streams, count))
    }
}

fn at(number: u64) -> StreamState {
    let last = place(number);
    StreamState { last, added: Some(number), before: last, ..StreamState::default() }
}

/// What a message takes, about, in bytes.
fn size(message: &Fields) -> usize {
    message.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() + OVERHEAD
}

fn place(number: u64) -> Place {
    if number == 0 { Place::Start } else { Place::Number(number) }
}

#[cfg(test)]
mod tests;
