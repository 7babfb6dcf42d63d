//! What `source::follower` does with the core, one command at a time, so that anything can happen between a
//! command's being sent, answered and taken.

use std::sync::Arc;

use super::{
    debezium::EPOCH,
    redis::{Entry, Redis, Says},
    shelf::MapShelf,
};
use crate::{
    bounds::Memory,
    clock::Now,
    continuity::{Break, ServerIdentity},
    engine::Engine,
    feed::Feed,
    planted::{Bug, planted},
    position::Place,
    record::{Batch, Reading, Record},
    tail::{Plan, Survey, Tail},
};

/// How often the streams' continuity is checked, in milliseconds.
const CHECK: u64 = 1000;

pub(crate) struct Follower {
    tail: Tail<MapShelf>,
    feed: Arc<Feed>,
    plan: Option<Plan>,
    stage: Stage,
    asked: Option<Asked>,
    checked: u64,
    idle: bool,
    /// Entries to ask of each stream.
    count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No connection.
    Down,
    /// Connected, and nothing checked yet.
    Connecting,
    /// Some streams may lack positions.
    Positioning,
    Following,
}

struct Asked {
    what: Command,
    at: crate::clock::Tick,
    reply: Option<Reply>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Read,
    Check,
    Survey,
}

struct Reply {
    entries: Vec<(String, Vec<Entry>)>,
    survey: Option<Survey>,
    recent: Vec<(String, Vec<Entry>)>,
    wrong: bool,
    adds: u64,
    server: ServerIdentity,
}

/// What was done with a reply, for whoever knows what it should do.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// What the entries said that were handed to the core, in order.
    pub(crate) heard: Vec<Says>,
    /// Streams that have a position from now on.
    pub(crate) positioned: Vec<String>,
    /// Whether no stream had one before.
    pub(crate) anew: bool,
    /// Whether they are read from their first entries on.
    pub(crate) replayed: bool,
    /// How many entries had been added when it was asked where they end.
    pub(crate) adds: u64,
    /// Who answered, if somebody did.
    pub(crate) server: Option<ServerIdentity>,
    /// Whether the answer reached the streams' ends, if there was one.
    pub(crate) answered: Option<bool>,
    /// Whether everything is known that was written before what was read last.
    pub(crate) settled: bool,
}

impl Follower {
    pub(crate) fn new(engine: &Arc<Engine<MapShelf>>, feed: &Arc<Feed>, count: usize) -> Self {
        Self {
            tail: Tail::new(Arc::clone(engine), Arc::clone(feed)),
            feed: Arc::clone(feed),
            plan: None,
            stage: Stage::Down,
            asked: None,
            checked: 0,
            idle: false,
            count,
        }
    }

    /// The place in a stream behind which everything is unread.
    pub(crate) fn place(&self, stream: &str) -> Option<Place> {
        self.plan.as_ref()?;
        self.tail.place(stream)
    }

    /// How much is held in each memory.
    pub(crate) fn held(&self) -> Vec<(Memory, usize)> {
        self.tail.held()
    }

    /// The connection is lost, and whatever was asked.
    pub(crate) fn cut(&mut self) {
        self.asked = None;
        self.stage = Stage::Down;
        self.feed.set_connected(false);
    }

    /// Sends the next command, if none is under way.
    pub(crate) fn ask(&mut self, now: Now) {
        if self.asked.is_some() {
            return;
        }
        if self.stage == Stage::Down {
            self.plan = self.tail.plan();
            self.stage = if self.tail.is_positioned() { Stage::Connecting } else { Stage::Positioning };
        }
        if self.stage == Stage::Following && self.plan.as_ref().is_none_or(|p| !self.tail.is_current(p)) {
            self.plan = self.tail.plan();
            self.stage = Stage::Positioning;
        }
        let Some(plan) = &self.plan else { return };
        if self.stage == Stage::Following && self.tail.lacks_positions(plan) {
            self.stage = Stage::Positioning;
        }
        if self.stage == Stage::Positioning && !self.tail.lacks_positions(plan) {
            self.follow(now);
        }
        let check = if planted(Bug::CheckSeldom) { 3 * CHECK } else { CHECK };
        let due = self.idle && !planted(Bug::CheckSeldom) || now.tick.0 >= self.checked + check;
        let what = match self.stage {
            Stage::Connecting => Command::Check,
            Stage::Positioning => Command::Survey,
            _ if due => Command::Check,
            _ => Command::Read,
        };
        self.asked = Some(Asked { what, at: now.tick, reply: None });
    }

    /// The server answers what was asked.
    pub(crate) fn serve(&mut self, redis: &Redis) {
        let Some(plan) = &self.plan else { return };
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.reply.is_none()) else { return };
        let wrong = plan.streams.keys().any(|stream| redis.wrong.contains(stream));
        let read = |stream: &String| {
            Some((stream.clone(), redis.read(stream, self.tail.place(stream)?, self.count)))
        };
        let entries = match asked.what {
            Command::Survey => Vec::new(),
            Command::Read | Command::Check => {
                let all = plan.streams.keys().filter_map(read);
                all.filter(|(_, entries)| !entries.is_empty()).collect()
            }
        };
        let survey = (asked.what != Command::Read).then(|| Survey {
            server: redis.identity(),
            link: None,
            states: plan.streams.keys().map(|name| (name.clone(), redis.state(name))).collect(),
        });
        let recent = |(name, role): (&String, _)| {
            let unread = !plan.starts_with_first(redis.state(name)) && self.tail.lacks_position(name);
            let count = Tail::<MapShelf>::look_back(role).filter(|_| unread)?;
            let all = &redis.streams.get(name)?.entries;
            Some((name.clone(), all[all.len().saturating_sub(count)..].to_vec()))
        };
        let recent = match asked.what {
            Command::Survey => plan.streams.iter().filter_map(recent).collect(),
            Command::Read | Command::Check => Vec::new(),
        };
        asked.reply =
            Some(Reply { entries, survey, recent, wrong, adds: redis.adds, server: redis.identity() });
    }

    /// Hands the answer to the core.
    pub(crate) fn take(&mut self, now: Now) -> Taken {
        let mut taken = Taken::default();
        let Some(Asked { what, at, reply: Some(reply) }) = self.asked.take_if(|asked| asked.reply.is_some())
        else {
            return taken;
        };
        taken.adds = reply.adds;
        taken.server = Some(reply.server);
        let at_end = reply.entries.iter().all(|(_, entries)| entries.len() < self.count);
        taken.answered = Some(at_end);
        let Some(plan) = self.plan.take() else { return taken };
        if reply.wrong {
            if what != Command::Read {
                self.tail.lose(Break::WrongType, now.tick);
            }
            self.plan = Some(plan);
            self.cut();
            return taken;
        }
        self.idle = reply.entries.is_empty() && what == Command::Read;
        taken.heard = reply.entries.iter().flat_map(|(_, entries)| entries).map(|entry| entry.says).collect();
        // Of several streams one may be ahead of another, until all have been read to their ends.
        let whole = plan.streams.len() == 1 || at_end;
        taken.settled = whole && what != Command::Survey;
        let reading = Reading { batches: batches(reply.entries), at_end };
        match (what, reply.survey) {
            (Command::Check, Some(survey)) => {
                self.tail.check(&plan, &survey, reading, at, now);
                self.checked = now.tick.0;
                if self.stage == Stage::Connecting {
                    self.stage = Stage::Positioning;
                }
            }
            (Command::Survey, Some(survey)) => {
                for Batch { stream, records, .. } in batches(reply.recent) {
                    self.tail.recall(&plan, &stream, &records, now.tick);
                }
                let lacked = plan.streams.keys().filter(|name| self.tail.lacks_position(name));
                taken.positioned = lacked.cloned().collect();
                taken.anew = !self.tail.is_positioned();
                taken.replayed = survey.states.iter().all(|(_, state)| plan.starts_with_first(*state));
                self.tail.position(&plan, survey, now.tick);
            }
            _ => self.tail.read(&plan, reading, at, now),
        }
        if self.stage == Stage::Positioning && !self.tail.lacks_positions(&plan) {
            self.plan = Some(plan);
            self.follow(now);
        } else {
            self.plan = Some(plan);
        }
        taken
    }

    fn follow(&mut self, now: Now) {
        let Some(plan) = &self.plan else { return };
        // A binding may have come in between; what it needs is looked at next.
        if self.tail.is_current(plan) || self.stage == Stage::Positioning {
            self.tail.attach(plan, now.tick);
            self.stage = Stage::Following;
            self.feed.set_connected(true);
        }
    }
}

fn batches(entries: Vec<(String, Vec<Entry>)>) -> Vec<Batch> {
    let record = |entry: Entry| Record {
        place: entry.id.into(),
        written_ms: Some(EPOCH + entry.id.ms),
        fields: Vec::clone(&entry.fields),
    };
    let batch = |(stream, entries): (_, Vec<Entry>)| Batch {
        stream,
        records: entries.into_iter().map(record).collect(),
        through: None,
    };
    entries.into_iter().map(batch).collect()
}
