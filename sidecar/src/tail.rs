//! What has been read of a feed's streams, and what follows from it.
//!
//! No I/O and no clock: whoever reads the streams hands in what came, and when. [`crate::source`] does so with
//! every transport, and a simulator with a model of them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tracing::{info, warn};

use crate::{
    accounts::Accounts,
    catalog::Cache,
    change::{Change, Fault, Transaction},
    clock::{Now, Tick},
    coherence::Versions,
    continuity::{Break, Continuity, ServerIdentity, Start, StreamState},
    engine::Engine,
    envelope::{self, Deletes, StreamRole},
    feed::Feed,
    planted::{Bug, planted},
    position::Place,
    publication::{Stamp, What},
    publishers::{Heard, Publishers},
    record::{Batch, Reading, Record},
    replication::{MasterLink, Replication},
    store::{Shelf, Store},
};

mod following;
mod log_end;
mod pace;
mod plan;
mod replay;
mod settle;
mod unsettled;

use log_end::LogEnd;
use pace::Pace;
pub use plan::{Parts, Plan};
use replay::{Follows, Replay};
use unsettled::{Seen, Unsettled};

/// Entries looked back at when a stream of one table, or of all, is positioned.
const LOOK_BACK: (usize, usize) = (4, 256);

/// What status says of a replica that has lost its master.
const LINK_DOWN: &str = "the replica has no link to its master (master_link_status)";

/// Who the server is and how the streams stand, in one moment.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The server.
    pub server: ServerIdentity,
    /// Its link to its master, if it is a replica.
    pub link: Option<MasterLink>,
    /// The streams of the plan; `None` for one that isn't there.
    pub states: Vec<(String, Option<StreamState>)>,
}

/// How far a feed's streams have been read, and what their entries explain of each other.
#[derive(Debug)]
pub struct Tail<S = Store> {
    engine: Arc<Engine<S>>,
    feed: Arc<Feed>,
    continuity: Continuity,
    accounts: Accounts,
    /// Transactions that count once the books are settled.
    unsettled: Unsettled,
    /// The newest place of PostgreSQL's log that an event was written at, likewise.
    passed: Option<u64>,
    /// The newest versions that any event named.
    newest: Versions,
    /// The log's end when the commits before these were handed on, and what was read since.
    end: LogEnd,
    end_since: LogEnd,
    replication: Replication,
    pace: Pace,
    publishers: Publishers,
    /// Whether several streams have one order: when all have been read to their ends, everything is known that was written
    /// before what was read last.
    has_one_order: bool,
    /// Whether messages may be lost on the way though no connection is.
    loses_silently: bool,
    /// How the topics are divided that are followed.
    parts: Parts,
    /// What came before the first entry of the one stream that is read from there.
    replay: Replay,
    /// The last delete of each stream.
    deletes: HashMap<String, Deletes>,
    /// Whether it ever was positioned.
    was_positioned: bool,
    /// The faults of entries that were told already.
    told: HashSet<Fault>,
}

// === impl Tail ===

impl<S: Shelf> Tail<S> {
    /// Nothing read yet.
    #[must_use]
    pub fn new(engine: Arc<Engine<S>>, feed: Arc<Feed>) -> Self {
        Self {
            engine,
            feed,
            continuity: Continuity::default(),
            accounts: Accounts::default(),
            unsettled: Unsettled::default(),
            passed: None,
            newest: Versions::default(),
            end: LogEnd::default(),
            end_since: LogEnd::default(),
            replication: Replication::default(),
            pace: Pace::default(),
            publishers: Publishers::default(),
            has_one_order: true,
            loses_silently: false,
            parts: Parts::default(),
            replay: Replay::default(),
            deletes: HashMap::new(),
            was_positioned: false,
            told: HashSet::new(),
        }
    }

    /// The same of a transport whose streams have no order among each other.
    #[must_use]
    pub fn without_order(self) -> Self {
        Self { has_one_order: false, ..self }
    }

    /// The same of a transport that may lose messages though no connection is lost: publishers have to be heard of.
    #[must_use]
    pub fn losing_silently(self) -> Self {
        Self { loses_silently: true, ..self }
    }

    /// Whether a plan is still that of the binding.
    #[must_use]
    pub fn is_current(&self, plan: &Plan) -> bool {
        self.engine.catalog().is_some_and(|catalog| Arc::ptr_eq(&catalog, &plan.catalog))
    }

    /// Whether the server is known to be a master: a replica is to be asked more often, since only its answers count.
    #[must_use]
    pub fn reads_master(&self) -> bool {
        self.replication.is_master()
    }

    /// Whether any stream has a position.
    #[must_use]
    pub fn is_positioned(&self) -> bool {
        !self.continuity.cursors().is_empty()
    }

    /// Whether this stream has no position yet.
    #[must_use]
    pub fn lacks_position(&self, stream: &str) -> bool {
        !self.continuity.cursors().contains_key(stream)
    }

    /// Whether some stream of the plan has no position yet.
    #[must_use]
    pub fn lacks_positions(&self, plan: &Plan) -> bool {
        self.continuity.lacks(plan.streams.keys())
    }

    /// How far a stream has been read; `None` where reading has no place yet.
    #[must_use]
    pub fn place(&self, stream: &str) -> Option<Place> {
        self.continuity.cursors().get(stream).map(|cursor| cursor.last)
    }

    /// Entries to ask of each stream.
    #[must_use]
    pub fn count(&self, plan: &Plan) -> usize {
        self.pace.count(plan.streams.len())
    }

    /// How many of its newest entries to look back at before a stream is positioned.
    #[must_use]
    pub fn look_back(role: &StreamRole) -> Option<usize> {
        match role {
            StreamRole::Table(_) | StreamRole::Control => Some(LOOK_BACK.0),
            StreamRole::Routed => Some(LOOK_BACK.1),
            StreamRole::Schema => None,
        }
    }

    /// How many to look back at next, when these are what was seen so far: a few at a time, since any may be large.
    #[must_use]
    pub fn look_further_back(role: &StreamRole, seen: &[Record]) -> Option<usize> {
        pace::further(Self::look_back(role)?, seen)
    }

    /// Learns how keys look from the newest entries of a stream that will be read from its first one on, before any is
    /// hydrated under another shape.
    pub fn preview(&mut self, plan: &Plan, stream: &str, entries: &[Record], now: Tick) {
        let Some(role) = plan.streams.get(stream).filter(|_| self.lacks_position(stream)) else { return };
        for Record { fields, .. } in entries {
            self.engine.recall(&plan.tables, &envelope::read(role, fields), now);
        }
    }

    /// Learns from the newest entries up to where a stream will be positioned, oldest first: which tables it carries, how
    /// their keys look, and what the last numbers were. That it ever had any is enough to know that its table is there.
    pub fn recall(&mut self, plan: &Plan, stream: &str, entries: &[Record], now: Tick) {
        // What is newer than a position will be read, and counts then.
        let Some(role) = plan.streams.get(stream).filter(|_| self.lacks_position(stream)) else { return };
        if let StreamRole::Table(table) = role
            && let Some(table) = plan.tables.get(table)
        {
            table.be_seen();
        }
        self.pace.learn(entries.iter());
        for Record { fields, .. } in entries {
            let change = envelope::read(role, fields);
            self.accounts.recall(&change);
            // Beside streams that are followed, it would pass over what is missing there.
            if let Change::Published(said) = &change
                && !self.is_positioned()
            {
                self.publishers.recall(said, now);
            }
            self.end.see(&change);
            if let Some(version) = change.newest() {
                self.engine.foresee(&plan.caches, version);
                self.newest.see(version);
            }
            self.engine.recall(&plan.tables, &change, now);
        }
    }

    /// Positions the streams that have no position yet: at their ends, or with the first entry that is still there where
    /// caches start warm.
    pub fn position(&mut self, plan: &Plan, Survey { server, link, states }: Survey, now: Tick) {
        // Only whether it is a replica: when it was asked isn't known here.
        self.replication.hear(link, Tick::default());
        if let Err(why) = self.continuity.check_server(&server) {
            self.lose(why, now);
        }
        let mut start = Start::End;
        let mut from_nothing = false;
        if let Some((_, state)) = states.first().filter(|_| !self.is_positioned())
            && plan.starts_with_first(*state)
        {
            let state = state.unwrap_or_default();
            info!(entries = state.length, whole = state.is_whole(), "starting warm");
            self.replay_from(plan, state);
            // A stream that was followed before has come to an end, and its snapshot is none that a slot was made with.
            (start, from_nothing) = (Start::First, state.is_whole() && !self.was_positioned);
        } else if plan.is_warm() && !self.is_positioned() {
            warn!(
                "starting cold: of what the stream still has something is missing in between, or it has several partitions"
            );
        }
        if !self.is_positioned() {
            self.engine.begin_rosters(&self.feed, from_nothing);
        }
        self.was_positioned = true;
        // Without positions any server will do, and with them it is the one that they are of.
        let _ = self.continuity.attach(server, states, start);
    }

    /// Forgets what was known of images: the one stream is read from its first entry on, and tells all of it again. What is
    /// known of each row stays.
    fn replay_from(&mut self, plan: &Plan, state: StreamState) {
        self.replay = Replay::begin(state.last, state.is_whole());
        self.newest = Versions::default();
        self.feed.forget_proofs();
        self.engine.unrank(&plan.caches);
    }

    /// Lets the plan's caches give leases: every stream has a position.
    pub fn attach(&self, plan: &Plan, now: Tick) {
        let waits = |cache: &&Arc<Cache>| !cache.attached.load(Ordering::Acquire);
        if plan.caches.iter().any(|cache| waits(&cache)) {
            for version in self.newest.newest() {
                // Debezium may write once more what came before this cache was there.
                self.engine.foresee(plan.caches.iter().filter(waits), version);
            }
            self.engine.attach(&plan.caches, now);
        }
        self.feed.set_gapped(false);
    }

    /// Takes what a read answered that was asked at `asked`.
    pub fn read(&mut self, plan: &Plan, reading: Reading, asked: Tick, now: Now) {
        match self.apply(reading, plan, now) {
            Ok(true) => self.prove(self.replication.read(asked)),
            Ok(false) => {}
            Err(why) => self.lose(why, now.tick),
        }
    }

    /// Takes a survey with a read of the same moment, asked at `asked`, and checks continuity: on a break everything is void
    /// and nothing has a position.
    pub fn check(&mut self, plan: &Plan, survey: &Survey, reading: Reading, asked: Tick, now: Now) {
        let Survey { server, link, states } = survey;
        let states = || states.iter().map(|(name, state)| (name.as_str(), *state));
        let whole_at = self.replication.hear(*link, asked);
        self.feed.with_report(|r| match link {
            Some(MasterLink { up: false, .. }) => r.error = Some(LINK_DOWN.to_owned()),
            // Another fault isn't ours to take back.
            _ => drop(r.error.take_if(|error| error == LINK_DOWN)),
        });
        let verdict = self.continuity.check_server(server).and_then(|()| {
            self.continuity.check_streams(states())?;
            let complete = self.apply(reading, plan, now)?;
            let pending = states()
                .filter_map(|(name, state)| Some(state?.unread(*self.continuity.cursors().get(name)?)));
            self.feed.with_report(|r| r.pending = pending.sum());
            if complete {
                self.continuity.check(server, states())?;
                self.prove(whole_at);
                if self.loses_silently && self.publishers.silenced(now.tick) {
                    self.miss(plan, Stamp::default(), None, now);
                }
            }
            self.continuity.check_unread(states())
        });
        if let Err(why) = verdict {
            self.lose(why, now.tick);
        }
    }

    /// Notes that continuity is lost: everything is void and the positions are worthless.
    pub fn lose(&mut self, why: Break, now: Tick) {
        if self.is_positioned() {
            self.continuity.reset();
            self.accounts.reset();
            self.publishers.reset();
            self.replay = Replay::default();
            self.deletes.clear();
            self.feed.forget_place();
            self.feed.set_gapped(true);
            if !planted(Bug::NoEpochOnLoss) {
                self.announce(why, true, now);
            }
        }
    }

    /// Applies what was read; whether it reached the end of every stream.
    fn apply(&mut self, Reading { batches, at_end }: Reading, plan: &Plan, now: Now) -> Result<bool, Break> {
        let mut newest = 0;
        let (ordered, keeps_books) = (plan.streams.len() == 1, self.has_order(plan));
        self.pace.learn(batches.iter().flat_map(|batch| &batch.records));
        for Batch { stream, records, through } in batches {
            let Some(role) = plan.streams.get(&stream) else { continue };
            let mut deletes = self.deletes.remove(&stream).unwrap_or_default();
            for Record { place, written_ms, fields } in records {
                self.continuity.advance(&stream, place)?;
                let mut change = deletes.read(role, &fields);
                match self.replay.see(place, &mut change) {
                    Follows::Nothing => {}
                    Follows::Beginning { at, began } => {
                        if began {
                            self.announce(Break::SnapshotBegan, false, now.tick);
                        }
                        self.accounts.begin_after(at);
                    }
                    Follows::Floor(version) => {
                        self.newest.see(version);
                        self.engine.rank(&plan.caches, version);
                    }
                    Follows::NullsReplaced => self.engine.distrust_images(&plan.caches, now.tick),
                }
                if let Some(fault) = change.fault()
                    && self.told.insert(fault)
                {
                    let why = fault.as_str();
                    warn!(stream, %place, why, "an entry can't be read: what it may concern is void; further ones of this kind are only counted");
                }
                // Of several partitions each has some of a publisher's numbers.
                if let Change::Published(said) = &change
                    && keeps_books
                {
                    // What was there before reading began may be from long ago: its transport's clock tells.
                    let written_ms = written_ms.filter(|_| self.replay.is_old(place));
                    match self.publishers.note(said, now.tick) {
                        Heard::InOrder => {}
                        // What it said before may have been a change of rows, which nobody here knows of.
                        Heard::Joined
                            if self.loses_silently
                                || matches!(said.what, What::Change(_) | What::Beat | What::Bye) =>
                        {
                            self.miss(plan, said.stamp, written_ms, now);
                        }
                        Heard::Joined => {
                            self.engine.doubt_publications(&plan.caches, said.stamp, now);
                        }
                        Heard::Missed => self.miss(plan, said.stamp, written_ms, now),
                    }
                }
                if keeps_books {
                    self.accounts.note(&change);
                }
                self.end_since.see(&change);
                if let Some(version) = change.newest() {
                    self.newest.see(version);
                }
                if let Some(why) = self.engine.apply(&plan.catalog, &self.feed, &plan.tables, &change, now) {
                    if !ordered {
                        self.feed.set_straggling(true);
                    }
                    self.announce(why, false, now.tick);
                }
                if let Change::Published(said) = &change {
                    self.feed.publishing.note(said);
                }
                if keeps_books {
                    self.follow_log(&change, now.tick);
                }
                if ordered && matches!(change, Change::Transaction(Transaction { end: Some(_), .. })) {
                    // Before anything else is read: a loss that this end shows is told before its commit counts.
                    self.settle(ordered, now.tick);
                }
                newest = newest.max(written_ms.unwrap_or_default());
                if let Some(written_ms) = written_ms.filter(|_| !self.replay.is_old(place)) {
                    self.feed.delays.count(Duration::from_millis(now.wall_ms.saturating_sub(written_ms)));
                }
            }
            if let Some(through) = through {
                self.continuity.pass(&stream, through);
            }
            self.deletes.insert(stream, deletes);
        }
        // Of several streams one may be behind another, until all have been read to their ends. Within one stream the
        // order is exact.
        if (at_end || ordered) && keeps_books {
            self.settle(ordered, now.tick);
            self.feed.tell_position();
        }
        if at_end {
            self.feed.set_straggling(false);
        }
        self.feed.with_report(|r| {
            if at_end {
                r.lag_ms = 0;
            } else if newest > 0 {
                r.lag_ms = now.wall_ms.saturating_sub(newest);
            }
            r.positions = self.continuity.cursors().iter().map(|(name, c)| (name.clone(), c.last)).collect();
        });
        Ok(at_end)
    }

    /// Notes that everything was applied that was in the streams at this instant, if any is known.
    fn prove(&self, at: Option<Tick>) {
        if let Some(at) = at {
            self.feed.set_proven(at);
        }
    }

    /// How much is held in each memory.
    #[cfg(test)]
    pub(crate) fn held(&self) -> Vec<(crate::bounds::Memory, usize)> {
        let unsettled = (crate::bounds::Memory::Unsettled, self.unsettled.len());
        self.accounts.held().into_iter().chain([unsettled]).collect()
    }

    /// Notes that something was said, before what has this stamp and was written then, or just now, that nobody here has
    /// heard: values, or that rows have changed.
    fn miss(&mut self, plan: &Plan, stamp: Stamp, written_ms: Option<u64>, now: Now) {
        if planted(Bug::GapIgnored) {
            return;
        }
        self.announce(Break::MessagesMissed, false, now.tick);
        self.engine.doubt_publications(&plan.caches, stamp, now);
        self.engine.doubt_images(&plan.catalog, &self.feed, written_ms.unwrap_or(now.wall_ms), now.tick);
    }

    fn announce(&mut self, why: Break, detach: bool, now: Tick) {
        // They are of the log before the break.
        self.unsettled = Unsettled::default();
        self.passed = None;
        if why == Break::DatabaseChanged {
            (self.end, self.end_since) = Default::default();
        } else {
            self.end.take(&mut self.end_since);
            let catalog = self.engine.catalog();
            let caches = || catalog.iter().flat_map(|catalog| catalog.caches.values());
            let fed = |cache: &&Arc<Cache>| Arc::ptr_eq(&cache.feed, &self.feed);
            for version in self.newest.newest() {
                // What is written once more from before it makes up for nothing that was lost.
                self.engine.foresee(caches().filter(fed), version);
            }
        }
        let epoch = self.engine.break_epoch(&self.feed, why, detach, now);
        warn!(%why, epoch, "new epoch: all values of this source are void");
    }
}

#[cfg(test)]
mod tests;
