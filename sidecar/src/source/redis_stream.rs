//! Follows the Redis streams that Debezium Server writes, from their ends (or, where caches start warm, from what they
//! still have), and checks that nothing is missing.
//!
//! Reading is plain `XREAD` on a connection of its own; consumer groups would multiply with pods and block
//! trimming. Explicit ids always: `$` would lose what is added between two calls. Every second, and before
//! anything is believed after a reconnect, one transaction asks who the server is, where the streams stand,
//! and reads to their ends, so that the three answers belong together.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{Cmd, Value, aio::MultiplexedConnection};
use tracing::{debug, info, warn};

use super::{
    connect::{ConnectError, connect},
    reply::{self, Unexpected},
};
use crate::{
    clock::{Now, Tick},
    continuity::Break,
    engine::Engine,
    feed::Feed,
    mounts::Mounts,
    position::EntryId,
    store::Store,
    tail::{Entries, Plan, RawEntry, Survey, Tail},
};

/// How long a read waits for the first entry. Half of the continuity period, as a deleted stream leaves its
/// readers waiting without a word.
const BLOCK: Duration = Duration::from_secs(1);
/// How long any reply may take beyond its own waiting: a half-open connection is noticed by it.
const REPLY: Duration = Duration::from_secs(2);
/// What Redis says of a stream that isn't there, after its code for errors of any kind.
const NO_STREAM: &str = "no such key";
/// How often the streams' continuity is checked.
const CHECK: Duration = Duration::from_secs(1);
/// The pauses between attempts to connect, doubling from the first to the second, jittered.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

pub(super) struct Follower {
    feed: Arc<Feed>,
    mounts: Mounts,
    /// Whether a server that is no master is to be left.
    must_be_master: bool,
    tail: Tail,
}

/// Why a session ended. None of them ends the follower.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("no reply in time")]
    Silence,
    #[error("`{stream}` isn't a stream")]
    WrongType { stream: String },
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Reply(#[from] Unexpected),
    #[error("the server isn't a master any more: its successor is looked for")]
    Demoted,
    #[error("the source is gone from the binding")]
    Gone,
}

impl Follower {
    pub(super) fn new(engine: Arc<Engine>, feed: Arc<Feed>, mounts: Mounts) -> Self {
        Self { tail: Tail::new(engine, Arc::clone(&feed)), feed, mounts, must_be_master: false }
    }

    /// Follows until the source is gone from the binding.
    pub(super) async fn run(mut self) {
        let mut pause = BACK_OFF.0;
        loop {
            let started = Instant::now();
            let Err(error) = self.session().await;
            self.feed.set_connected(false);
            if matches!(error, SessionError::Gone) {
                return;
            }
            if matches!(error, SessionError::WrongType { .. }) {
                self.tail.lose(Break::WrongType, Tick::now());
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

    async fn session(&mut self) -> Result<std::convert::Infallible, SessionError> {
        let mut redis = connect(&self.feed.spec, &self.mounts).await?;
        self.must_be_master = redis.must_be_master();
        let mut plan = self.tail.plan().ok_or(SessionError::Gone)?;
        // Before anything is believed: is this still the server and the streams that were read before?
        self.check(&mut redis, &plan).await?;
        let mut checked = Instant::now();
        // Only now nothing is left that may be refused for good: a lasting fault is told once.
        self.position(&mut redis, &plan).await?;
        self.feed.set_connected(true);
        self.feed.with_report(|r| r.error = None);
        info!(streams = plan.streams.len(), "following");
        loop {
            if !self.tail.is_current(&plan) {
                plan = self.tail.plan().ok_or(SessionError::Gone)?;
            }
            self.position(&mut redis, &plan).await?;
            let asked = Tick::now();
            let count = self.tail.count(&plan);
            // Of a replica only checks count, so that they come twice as often.
            let pause = if self.tail.reads_master() { 1 } else { 2 };
            let read = self.xread(&plan, count, Some(BLOCK / pause));
            let entries = reply::xread(ask(&mut redis, &read, BLOCK + REPLY).await?)?;
            let idle = entries.is_empty();
            self.tail.read(&plan, entries, count, asked, Now::read());
            if idle || checked.elapsed() >= CHECK / pause {
                self.check(&mut redis, &plan).await?;
                checked = Instant::now();
            }
        }
    }

    /// Positions streams that have no position yet, and then lets their caches give leases.
    async fn position(&mut self, redis: &mut MultiplexedConnection, plan: &Plan) -> Result<(), SessionError> {
        if self.tail.lacks_positions(plan) {
            let (survey, _) = self.survey(redis, plan, None).await?;
            for (stream, state) in &survey.states {
                if let Some(state) = state.filter(|state| state.added > 0)
                    && self.tail.lacks_position(stream)
                {
                    let entries = self.look_back(redis, plan, stream, state.last).await?;
                    if plan.starts_with_first(Some(state)) {
                        self.tail.preview(plan, stream, &entries, Tick::now());
                    } else {
                        self.tail.recall(plan, stream, &entries, Tick::now());
                    }
                }
            }
            self.tail.position(plan, survey, Tick::now());
            self.tail.attach(plan, Tick::now());
            // Proves at once what the next read would prove when it has waited in vain.
            return self.check(redis, plan).await;
        }
        self.tail.attach(plan, Tick::now());
        Ok(())
    }

    /// A stream's newest entries up to where it will be positioned.
    async fn look_back(
        &self,
        redis: &mut MultiplexedConnection,
        plan: &Plan,
        stream: &str,
        last: EntryId,
    ) -> Result<Vec<RawEntry>, SessionError> {
        let mut entries: Vec<RawEntry> = Vec::new();
        let mut newest = last.to_string();
        while let Some(count) = Tail::<Store>::look_further_back(&plan.streams[stream], &entries) {
            let mut look = redis::cmd("XREVRANGE");
            look.arg(stream).arg(newest).arg("-").arg("COUNT").arg(count);
            let older = reply::entries(ask(redis, &look, REPLY).await?)?;
            let Some((oldest, _)) = older.last().filter(|_| older.len() == count) else {
                entries.extend(older);
                break;
            };
            // Only what is older still.
            newest = format!("({oldest}");
            entries.extend(older);
        }
        // Oldest first, so that the newest has the last word.
        entries.reverse();
        Ok(entries)
    }

    /// Checks continuity: on a break the next [`Follower::position`] begins anew.
    async fn check(&mut self, redis: &mut MultiplexedConnection, plan: &Plan) -> Result<(), SessionError> {
        if !self.tail.is_positioned() {
            return Ok(());
        }
        let asked = Tick::now();
        let count = self.tail.count(plan);
        let (survey, entries) = self.survey(redis, plan, Some(count)).await?;
        self.tail.check(plan, &survey, entries, count, asked, Now::read());
        Ok(())
    }

    /// Asks in one transaction who the server is, how the streams stand, and, with `read`, for so many entries
    /// of each.
    async fn survey(
        &self,
        redis: &mut MultiplexedConnection,
        plan: &Plan,
        read: Option<usize>,
    ) -> Result<(Survey, Entries), SessionError> {
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("INFO").arg("server").cmd("INFO").arg("replication");
        for stream in plan.streams.keys() {
            pipe.cmd("XINFO").arg("STREAM").arg(stream);
        }
        if let Some(count) = read {
            pipe.add_command(self.xread(plan, count, None));
        }
        pipe.ignore_errors();
        let asked = pipe.query_async::<Vec<Value>>(redis);
        let replies = tokio::time::timeout(REPLY, asked).await.map_err(|_| SessionError::Silence)??;
        let mut replies = replies.into_iter();
        let mut next = || replies.next().ok_or(Unexpected("EXEC"));
        let (info, replication) = (next()?, next()?);
        let server = reply::identity(&info, &replication)?;
        let link = reply::master_link(&replication)?;
        if self.must_be_master && server.role != "master" {
            return Err(SessionError::Demoted);
        }
        let mut states = Vec::with_capacity(plan.streams.len());
        for stream in plan.streams.keys() {
            let state = match next()? {
                Value::ServerError(error) if error.code() == "WRONGTYPE" => {
                    return Err(SessionError::WrongType { stream: stream.clone() });
                }
                Value::ServerError(error) if error.details() == Some(NO_STREAM) => None,
                Value::ServerError(error) => return Err(redis::RedisError::from(error).into()),
                value => Some(reply::stream_state(value)?),
            };
            states.push((stream.clone(), state));
        }
        let entries = if read.is_some() { reply::xread(next()?.extract_error()?)? } else { Vec::new() };
        Ok((Survey { server, link, states }, entries))
    }

    /// The command that reads on from where the streams have been read to.
    fn xread(&self, plan: &Plan, count: usize, block: Option<Duration>) -> Cmd {
        let mut cmd = redis::cmd("XREAD");
        cmd.arg("COUNT").arg(count);
        if let Some(block) = block {
            cmd.arg("BLOCK").arg(crate::clock::millis(block));
        }
        cmd.arg("STREAMS");
        for (stream, _) in self.tail.cursors(plan) {
            cmd.arg(stream);
        }
        for (_, last) in self.tail.cursors(plan) {
            cmd.arg(last.to_string());
        }
        cmd
    }
}

async fn ask(redis: &mut MultiplexedConnection, cmd: &Cmd, limit: Duration) -> Result<Value, SessionError> {
    match tokio::time::timeout(limit, cmd.query_async::<Value>(redis)).await {
        Ok(reply) => Ok(reply?),
        Err(_) => Err(SessionError::Silence),
    }
}
