//! Follows a source's streams, on whatever transport, from their ends (or, where caches start warm, from what they still
//! have), and checks that nothing is missing.
//!
//! Every second, and before anything is believed after a reconnect, it is asked who the server is, where the streams
//! stand, and what is new in them, in one moment, so that the three answers belong together.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use super::transport::{ReadError, Reader, Stream, Transport};
use crate::{
    clock::{Now, Tick},
    engine::Engine,
    feed::Feed,
    position::Place,
    record::Record,
    store::Store,
    tail::{Plan, Tail},
};

/// How long a read waits for the first record. Half of the continuity period, as a deleted stream leaves its
/// readers waiting without a word.
const WAIT: Duration = Duration::from_secs(1);
/// What status says, after their number, of streams without an order where staleness is to be bounded.
const NO_ORDER: &str = "partitions are read, which have no order among them, so that no heartbeat proves anything: freshness \
                        needs one topic with one partition";
/// How often the streams' continuity is checked.
const CHECK: Duration = Duration::from_secs(1);
/// The pauses between attempts to connect, doubling from the first to the second, jittered.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

pub(super) struct Follower<T> {
    feed: Arc<Feed>,
    transport: T,
    tail: Tail,
}

/// Why a session ended. None of them ends the follower but the last.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the source is gone from the binding")]
    Gone,
}

impl<T: Transport> Follower<T> {
    pub(super) fn new(engine: Arc<Engine>, feed: Arc<Feed>, transport: T) -> Self {
        let tail = Tail::new(engine, Arc::clone(&feed));
        let tail = if T::HAS_ONE_ORDER { tail } else { tail.without_order() };
        let tail = if T::LOSES_SILENTLY { tail.losing_silently() } else { tail };
        feed.set_of_database(T::IS_THE_DATABASE);
        Self { feed, transport, tail }
    }

    /// Follows until the source is gone from the binding.
    pub(super) async fn run(mut self) {
        let mut pause = BACK_OFF.0;
        loop {
            let started = Instant::now();
            let Err(error) = self.session().await;
            self.feed.set_connected(false);
            match &error {
                SessionError::Gone => return,
                SessionError::Read(ReadError::Lost { why, .. }) => self.tail.lose(*why, Tick::now()),
                SessionError::Read(_) => {}
            }
            let text = error.to_string();
            let known = self.feed.with_report(|r| r.error.replace(text.clone()));
            if known.as_ref() == Some(&text) {
                debug!(%error, "source is still unavailable");
            } else {
                warn!(%error, "source is unavailable");
            }
            if started.elapsed() > BACK_OFF.1 {
                pause = BACK_OFF.0;
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(BACK_OFF.1);
        }
    }

    async fn session(&mut self) -> Result<Infallible, SessionError> {
        let mut plan = self.tail.plan().ok_or(SessionError::Gone)?;
        let topics: Vec<&str> = plan.topics().collect();
        let mut reader = self.transport.open(&topics).await?;
        // Before anything is believed: is this still the server and the streams that were read before?
        self.check(&mut reader, &mut plan).await?;
        let mut checked = Instant::now();
        // Only now nothing is left that may be refused for good: a lasting fault is told once.
        self.position(&mut reader, &mut plan).await?;
        self.feed.set_connected(true);
        self.feed.with_report(|r| r.error = None);
        self.tell_order(&plan);
        info!(streams = plan.streams.len(), "following");
        loop {
            if !self.tail.is_current(&plan) {
                plan = self.tail.plan().ok_or(SessionError::Gone)?;
            }
            self.position(&mut reader, &mut plan).await?;
            self.tell_order(&plan);
            let asked = Tick::now();
            // Of a replica only checks count, so that they come twice as often.
            let pause = if self.tail.reads_master() { 1 } else { 2 };
            let reading = reader.read(&self.streams(&plan), self.tail.count(&plan), WAIT / pause).await?;
            let idle = reading.is_empty();
            self.tail.read(&plan, reading, asked, Now::read());
            if idle || checked.elapsed() >= CHECK / pause {
                self.check(&mut reader, &mut plan).await?;
                checked = Instant::now();
            }
        }
    }

    /// Says in status whether nothing that is read can prove what `freshness` asks for.
    fn tell_order(&self, plan: &Plan) {
        let lacks = plan.is_bounded() && !self.tail.has_order(plan);
        self.feed.with_report(|r| {
            if lacks {
                r.error = Some(format!("{} {NO_ORDER}", plan.streams.len()));
            } else {
                // Another fault isn't ours to take back.
                drop(r.error.take_if(|error| error.ends_with(NO_ORDER)));
            }
        });
    }

    /// The streams of a plan, and how far each has been read.
    fn streams<'p>(&self, plan: &'p Plan) -> Vec<Stream<'p>> {
        let place = |name: &str| self.tail.place(name);
        plan.streams.keys().map(|name| Stream { name, place: place(name) }).collect()
    }

    /// Positions streams that have no position yet, and then lets their caches give leases.
    async fn position(&mut self, reader: &mut T::Reader, plan: &mut Plan) -> Result<(), SessionError> {
        if self.tail.lacks_positions(plan) {
            self.divide(reader, plan).await?;
            let without: Vec<_> =
                self.streams(plan).iter().map(|stream| Stream { place: None, ..*stream }).collect();
            let (survey, _) = reader.survey(&without, 0).await?;
            for (stream, state) in &survey.states {
                if let Some(state) = state.filter(|state| state.last > Place::Start)
                    && self.tail.lacks_position(stream)
                {
                    let records = Self::look_back(reader, plan, stream, state.last).await?;
                    if plan.starts_with_first(Some(state)) {
                        self.tail.preview(plan, stream, &records, Tick::now());
                    } else {
                        self.tail.recall(plan, stream, &records, Tick::now());
                    }
                }
            }
            self.tail.position(plan, survey, Tick::now());
            self.tail.attach(plan, Tick::now());
            // Proves at once what the next read would prove when it has waited in vain.
            return self.check(reader, plan).await;
        }
        self.tail.attach(plan, Tick::now());
        Ok(())
    }

    /// A stream's newest records up to where it will be positioned, oldest first, so that the newest has the last word.
    async fn look_back(
        reader: &mut T::Reader,
        plan: &Plan,
        stream: &str,
        last: Place,
    ) -> Result<Vec<Record>, ReadError> {
        let (mut records, mut until) = (Vec::new(), last);
        while let Some(count) = Tail::<Store>::look_further_back(&plan.streams[stream], &records) {
            let older = reader.look_back(stream, until, count).await?;
            let is_last = older.len() < count;
            // Only what is older still.
            until = older.last().map_or(Place::Start, |oldest| oldest.place.before());
            records.extend(older);
            if is_last {
                break;
            }
        }
        records.reverse();
        Ok(records)
    }

    /// Checks continuity: on a break the next [`Follower::position`] begins anew.
    async fn check(&mut self, reader: &mut T::Reader, plan: &mut Plan) -> Result<(), SessionError> {
        if !self.tail.is_positioned() {
            return Ok(());
        }
        // What is there from now on may be in a part that isn't known yet.
        let asked = Tick::now();
        self.divide(reader, plan).await?;
        let (survey, reading) = reader.survey(&self.streams(plan), self.tail.count(plan)).await?;
        self.tail.check(plan, &survey, reading, asked, Now::read());
        Ok(())
    }

    async fn divide(&mut self, reader: &mut T::Reader, plan: &mut Plan) -> Result<(), SessionError> {
        let parts = reader.parts(&plan.topics().collect::<Vec<_>>()).await?;
        self.tail.divide(plan, parts, Tick::now());
        Ok(())
    }
}
