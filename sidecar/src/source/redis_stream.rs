//! Follows the Redis streams that Debezium Server writes, from their ends, and checks that nothing is missing.
//!
//! Reading is plain `XREAD` on a connection of its own; consumer groups would multiply with pods and block
//! trimming. Explicit ids always: `$` would lose what is added between two calls. Every second, and before
//! anything is believed after a reconnect, one transaction asks who the server is, where the streams stand,
//! and reads to their ends, so that the three answers belong together.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use redis::{Cmd, Value, aio::MultiplexedConnection};
use tracing::{debug, info, warn};

use super::{
    connect::{ConnectError, connect},
    pace::Pace,
    plan::Plan,
    reply::{self, RawEntry, Unexpected},
};
use crate::{
    change::Fault,
    clock::{Now, Tick},
    continuity::{Break, Continuity, ServerIdentity, StreamState},
    engine::Engine,
    envelope::{self, Deletes, StreamRole},
    feed::Feed,
};

/// How long a read waits for the first entry. Half of the continuity period, as a deleted stream leaves its
/// readers waiting without a word.
const BLOCK: Duration = Duration::from_secs(1);
/// How long any reply may take beyond its own waiting: a half-open connection is noticed by it.
const REPLY: Duration = Duration::from_secs(2);
/// How often the streams' continuity is checked.
const CHECK: Duration = Duration::from_secs(1);
/// Entries looked back at when a stream of one table, or of all, is positioned.
const LOOK_BACK: (usize, usize) = (4, 256);
/// The pauses between attempts to connect, doubling from the first to the second, jittered.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

pub(super) struct Follower {
    engine: Arc<Engine>,
    feed: Arc<Feed>,
    secrets: Option<PathBuf>,
    continuity: Continuity,
    pace: Pace,
    /// The last delete of each stream.
    deletes: HashMap<String, Deletes>,
    /// The faults of entries that were told already.
    told: HashSet<Fault>,
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
    #[error("the source is gone from the binding")]
    Gone,
}

impl Follower {
    pub(super) fn new(engine: Arc<Engine>, feed: Arc<Feed>, secrets: Option<PathBuf>) -> Self {
        Self {
            engine,
            feed,
            secrets,
            continuity: Continuity::default(),
            pace: Pace::default(),
            deletes: HashMap::new(),
            told: HashSet::new(),
        }
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
                self.broken(Break::WrongType);
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
        let mut redis = connect(&self.feed.spec, self.secrets.as_deref()).await?;
        let mut plan = self.plan()?;
        // Before anything is believed: is this still the server and the streams that were read before?
        self.check(&mut redis, &plan).await?;
        let mut checked = Instant::now();
        // Only now nothing is left that may be refused for good: a lasting fault is told once.
        self.position(&mut redis, &plan).await?;
        self.feed.set_connected(true);
        self.feed.with_report(|r| r.error = None);
        info!(streams = plan.streams.len(), "following");
        loop {
            if !Arc::ptr_eq(&plan.catalog, &self.engine.catalog().ok_or(SessionError::Gone)?) {
                plan = self.plan()?;
            }
            self.position(&mut redis, &plan).await?;
            let at = Tick::now();
            let count = self.pace.count(plan.streams.len());
            let read = self.xread(&plan, count, Some(BLOCK));
            let reply = reply::xread(ask(&mut redis, &read, BLOCK + REPLY).await?)?;
            let idle = reply.is_empty();
            match self.apply(reply, count, &plan) {
                Ok(true) => self.feed.set_proven(at),
                Ok(false) => {}
                Err(why) => self.broken(why),
            }
            if idle || checked.elapsed() >= CHECK {
                self.check(&mut redis, &plan).await?;
                checked = Instant::now();
            }
        }
    }

    /// What to follow from now on. A stream that isn't part of it loses its position: what happens in it until
    /// it is followed again is nobody's.
    fn plan(&mut self) -> Result<Plan, SessionError> {
        let catalog = self.engine.catalog().ok_or(SessionError::Gone)?;
        let plan = Plan::of(&self.feed, catalog).ok_or(SessionError::Gone)?;
        self.continuity.retain(|stream| plan.streams.contains_key(stream));
        self.deletes.retain(|stream, _| plan.streams.contains_key(stream));
        Ok(plan)
    }

    /// Positions streams that have no position yet at their ends, and then lets their caches give leases.
    async fn position(&mut self, redis: &mut MultiplexedConnection, plan: &Plan) -> Result<(), SessionError> {
        if self.continuity.lacks(plan.streams.keys()) {
            let (server, states, _) = self.survey(redis, plan, None).await?;
            for (stream, _) in states.iter().filter(|(_, state)| state.is_some_and(|state| state.added > 0)) {
                self.look_back(redis, plan, stream).await?;
            }
            if let Err(why) = self.continuity.attach(server.clone(), states.iter().cloned()) {
                self.broken(why);
                // Without positions any server will do.
                let _ = self.continuity.attach(server, states);
            }
        }
        if plan.caches.iter().any(|cache| !cache.attached.load(Ordering::Acquire)) {
            self.engine.attach(&plan.catalog, &plan.caches, Tick::now());
        }
        Ok(())
    }

    /// Learns from a stream's newest entries which tables it carries and how their keys look.
    async fn look_back(
        &self,
        redis: &mut MultiplexedConnection,
        plan: &Plan,
        stream: &str,
    ) -> Result<(), SessionError> {
        let role = &plan.streams[stream];
        let count = match role {
            StreamRole::Table(table) => {
                // Its entries may all be trimmed; that there were some is enough.
                if let Some(table) = plan.tables.get(table) {
                    table.be_seen();
                }
                LOOK_BACK.0
            }
            StreamRole::Routed => LOOK_BACK.1,
            StreamRole::Schema | StreamRole::Control => return Ok(()),
        };
        let mut look = redis::cmd("XREVRANGE");
        look.arg(stream).arg("+").arg("-").arg("COUNT").arg(count);
        // Oldest first, so that the newest has the last word.
        for (_, fields) in reply::entries(ask(redis, &look, REPLY).await?)?.into_iter().rev() {
            self.engine.recall(&plan.tables, &envelope::read(role, &fields), Tick::now());
        }
        Ok(())
    }

    /// Checks continuity: on a break everything is void, and the next [`Follower::position`] begins anew.
    async fn check(&mut self, redis: &mut MultiplexedConnection, plan: &Plan) -> Result<(), SessionError> {
        if self.continuity.cursors().is_empty() {
            return Ok(());
        }
        let at = Tick::now();
        let count = self.pace.count(plan.streams.len());
        let (server, states, reply) = self.survey(redis, plan, Some(count)).await?;
        let verdict = self.continuity.check_server(&server).and_then(|()| {
            let complete = self.apply(reply, count, plan)?;
            let pending = states.iter().filter_map(|(name, state)| {
                Some(state.as_ref()?.added.saturating_sub(self.continuity.cursors().get(name)?.added))
            });
            self.feed.with_report(|r| r.pending = pending.sum());
            if complete {
                self.continuity.check(&server, states.iter().map(|(name, state)| (name.as_str(), *state)))?;
                self.feed.set_proven(at);
            }
            Ok(())
        });
        if let Err(why) = verdict {
            self.broken(why);
        }
        Ok(())
    }

    /// Asks in one transaction who the server is, how the streams stand, and, with `read`, for so many entries
    /// of each.
    async fn survey(
        &self,
        redis: &mut MultiplexedConnection,
        plan: &Plan,
        read: Option<usize>,
    ) -> Result<Survey, SessionError> {
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
        let server = reply::identity(&next()?, &next()?)?;
        let mut states = Vec::with_capacity(plan.streams.len());
        for stream in plan.streams.keys() {
            let state = match next()? {
                Value::ServerError(error) if error.code() == "WRONGTYPE" => {
                    return Err(SessionError::WrongType { stream: stream.clone() });
                }
                Value::ServerError(error) if error.code() == "ERR" => None,
                Value::ServerError(error) => return Err(redis::RedisError::from(error).into()),
                value => Some(reply::stream_state(value)?),
            };
            states.push((stream.clone(), state));
        }
        let entries = if read.is_some() { reply::xread(next()?.extract_error()?)? } else { Vec::new() };
        Ok((server, states, entries))
    }

    /// The command that reads on from where the streams have been read to.
    fn xread(&self, plan: &Plan, count: usize, block: Option<Duration>) -> Cmd {
        let mut cmd = redis::cmd("XREAD");
        cmd.arg("COUNT").arg(count);
        if let Some(block) = block {
            cmd.arg("BLOCK").arg(crate::clock::millis(block));
        }
        cmd.arg("STREAMS");
        let positioned =
            || plan.streams.keys().filter_map(|name| self.continuity.cursors().get_key_value(name));
        for (name, _) in positioned() {
            cmd.arg(name);
        }
        for (_, cursor) in positioned() {
            cmd.arg(cursor.last.to_string());
        }
        cmd
    }

    /// Applies a reply to a read of so many entries per stream; whether it reached the end of every stream.
    fn apply(
        &mut self,
        reply: Vec<(String, Vec<RawEntry>)>,
        count: usize,
        plan: &Plan,
    ) -> Result<bool, Break> {
        let (mut complete, mut newest) = (true, 0);
        self.pace.learn(reply.iter().flat_map(|(_, entries)| entries).map(|(_, fields)| fields.as_slice()));
        for (stream, entries) in reply {
            complete &= entries.len() < count;
            let Some(role) = plan.streams.get(&stream) else { continue };
            let mut deletes = self.deletes.remove(&stream).unwrap_or_default();
            for (id, fields) in entries {
                self.continuity.advance(&stream, id)?;
                let now = Now::read();
                let change = deletes.read(role, &fields);
                if let Some(fault) = change.fault()
                    && self.told.insert(fault)
                {
                    let why = fault.as_str();
                    warn!(stream, %id, why, "an entry can't be read: what it may concern is void; further ones of this kind are only counted");
                }
                if let Some(why) = self.engine.apply(&plan.catalog, &self.feed, &plan.tables, &change, now) {
                    self.announce(why, false);
                }
                newest = newest.max(id.ms);
            }
            self.deletes.insert(stream, deletes);
        }
        // Of several streams one may be behind a heartbeat of another, until all have been read to their ends.
        // Within one stream the order is exact.
        if complete || plan.streams.len() == 1 {
            self.feed.confirm_heartbeats();
        }
        self.feed.with_report(|r| {
            if newest > 0 {
                r.lag_ms = Now::read().wall_ms.saturating_sub(newest);
            }
            r.positions = self.continuity.cursors().iter().map(|(name, c)| (name.clone(), c.last)).collect();
        });
        Ok(complete)
    }

    /// Continuity is lost: everything is void and the positions are worthless.
    fn broken(&mut self, why: Break) {
        if !self.continuity.cursors().is_empty() {
            self.continuity.reset();
            self.deletes.clear();
            self.feed.forget_place();
            self.announce(why, true);
        }
    }

    fn announce(&self, why: Break, detach: bool) {
        let epoch = self.engine.break_epoch(&self.feed, why, detach, Tick::now());
        warn!(%why, epoch, "new epoch: all values of this source are void");
    }
}

/// Who the server is, how each stream stands, and what was read.
type Survey = (ServerIdentity, Vec<(String, Option<StreamState>)>, Vec<(String, Vec<RawEntry>)>);

async fn ask(redis: &mut MultiplexedConnection, cmd: &Cmd, limit: Duration) -> Result<Value, SessionError> {
    match tokio::time::timeout(limit, cmd.query_async::<Value>(redis)).await {
        Ok(reply) => Ok(reply?),
        Err(_) => Err(SessionError::Silence),
    }
}

#[cfg(test)]
mod tests;
