//! What is done to the world: each fault is made, checked to have taken effect, and healed.

mod database;
mod network;
mod processes;
mod streams;
mod upstream;

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::recovery::wall_ms;
use super::shape::{Source, Table};
use super::stage::Stage;
use super::world::{PATIENCE, World};
use super::writer::{Deed, Request};
use crate::process::{Redis, until};
use crate::random::Random;

/// A kind of fault, by the name that `--fault` takes.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// The only database that it can be done to, if not any.
    only: Option<Source>,
    run: fn(&mut Act<'_>) -> Result<Done>,
}

/// What a fault has to work with.
pub(crate) struct Act<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) stage: &'a Stage,
    pub(crate) random: Random,
    pub(crate) writers: &'a HashMap<Source, SyncSender<Request>>,
    /// Rows of a huge transaction.
    pub(crate) huge: u32,
}

/// A fault that was made, seen and healed.
#[derive(Debug)]
pub(crate) struct Done {
    /// How it was seen to have taken effect.
    pub(crate) effect: String,
    /// What it may do to values.
    pub(crate) expect: Expect,
    /// Whether it left the way from the databases to Redis alone: then its end is when it was healed, else when the first
    /// heartbeat is in Redis again.
    pub(crate) apart: bool,
    /// When it was healed, by the wall clock, in milliseconds: the pipeline is up when a heartbeat from after it is.
    pub(crate) healed: u64,
}

/// What a fault may do to values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Nothing was lost: no epoch changes, and no value of a row that didn't change is dropped.
    Kept,
    /// Entries were lost: every sidecar begins a new epoch of these sources.
    Lost(Vec<Source>),
    /// Either.
    Any,
}

const fn fault(name: &'static str, run: fn(&mut Act<'_>) -> Result<Done>) -> Fault {
    Fault { name, only: None, run }
}

const fn fault_of(source: Source, name: &'static str, run: fn(&mut Act<'_>) -> Result<Done>) -> Fault {
    Fault { name, only: Some(source), run }
}

/// All faults.
pub const ALL: &[Fault] = &[
    fault("kill-sidecar", processes::kill_sidecar),
    fault("kill-redis", processes::kill_redis),
    fault("kill-replica", processes::kill_replica),
    fault("kill-debezium", processes::kill_debezium),
    fault_of(Source::Postgres, "kill-postgres", processes::kill_postgres),
    fault_of(Source::MariaDb, "kill-mariadb", processes::kill_mariadb),
    fault("pause-sidecar", processes::pause_sidecar),
    fault("pause-redis", processes::pause_redis),
    fault("pause-debezium", processes::pause_debezium),
    fault_of(Source::Postgres, "pause-postgres", processes::pause_postgres),
    fault_of(Source::MariaDb, "pause-mariadb", processes::pause_mariadb),
    fault("cut", network::cut),
    fault("stall", network::stall),
    fault("partition", network::partition),
    fault("half-open", network::half_open),
    fault("delay", network::delay),
    fault("log-partition", database::partition),
    fault("log-half-open", database::half_open),
    fault("xtrim", streams::xtrim),
    fault("xdel", streams::xdel),
    fault("del", streams::del),
    fault("flushall", streams::flushall),
    fault("wrongtype", streams::wrongtype),
    fault("refused-writes", streams::refused_writes),
    fault("old-rdb", streams::old_rdb),
    fault("failover", streams::failover),
    fault("failover-lost-tail", streams::failover_lost_tail),
    fault("silent-promotion", streams::silent_promotion),
    fault("replay", upstream::replay),
    fault_of(Source::Postgres, "slot-dropped", upstream::slot_dropped),
    fault("re-snapshot", upstream::resnapshot),
    fault("truncate", upstream::truncate),
    fault("key-swaps", upstream::swaps),
    fault("ddl", upstream::redefine),
    fault("huge-transaction", upstream::huge),
];

impl Fault {
    /// The fault of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|fault| fault.name == name)
    }

    /// Whether it can be done where there are only these databases.
    pub(crate) fn fits(self, sources: &[Source]) -> bool {
        self.only.is_none_or(|source| sources.contains(&source))
    }

    /// Makes and heals it.
    pub(crate) fn run(self, act: &mut Act<'_>) -> Result<Done> {
        (self.run)(act)
    }
}

impl Act<'_> {
    /// Lets the fault last for a time from `from` to `to`, in milliseconds: this is the fault itself.
    fn last(&mut self, from: u64, to: u64) -> Duration {
        let time = Duration::from_millis(self.random.between(from, to));
        thread::sleep(time);
        time
    }

    /// One of the pipelines.
    fn any_pipeline(&mut self) -> usize {
        usize::try_from(self.random.below(self.world.pipelines.len() as u64)).unwrap_or(0)
    }

    /// One of the sidecars.
    fn any_sidecar(&mut self) -> usize {
        usize::try_from(self.random.below(self.world.sidecars.len() as u64)).unwrap_or(0)
    }

    /// Waits until so many more entries are in a stream of the master, which writers see to.
    fn await_entries(&self, stream: &str, more: u64) -> Result<u64> {
        let before = added(self.world.redis(), stream)?;
        until(&format!("{more} more entries in {stream}"), PATIENCE, || {
            let now = added(self.world.redis(), stream)?;
            ensure!(now >= before + more, "{} more", now.saturating_sub(before));
            Ok(now)
        })
    }

    /// Has the first writer of a source do something.
    fn ask(&self, source: Source, deed: Deed) -> Result<()> {
        let (done, result) = sync_channel(1);
        self.writers[&source].send((deed, done)).ok().context("the writer is gone")?;
        result.recv_timeout(PATIENCE).context("the writer doesn't answer")?
    }

    /// One of the streams that a pipeline fills all the time, of which items has most.
    fn any_stream(&mut self, pipeline: usize) -> Result<String> {
        let pipeline = &self.world.pipelines[pipeline];
        let often = [pipeline.stream(Table::Item), pipeline.stream(Table::Note)];
        let mut streams: Vec<String> =
            often.into_iter().chain([pipeline.commits(), pipeline.beats()]).collect();
        streams.dedup();
        let stream = self.random.pick(&streams).clone();
        until(&format!("{stream} is there"), PATIENCE, || added(self.world.redis(), &stream))?;
        Ok(stream)
    }

    /// The stream of the items of a pipeline.
    fn items(&self, pipeline: usize) -> String {
        self.world.pipelines[pipeline].stream(Table::Item)
    }
}

/// Entries added to a stream over its life.
fn added(redis: &Redis, stream: &str) -> Result<u64> {
    let info: HashMap<String, redis::Value> = redis.command(&["XINFO", "STREAM", stream])?;
    let added = info.get("entries-added").context("entries-added")?;
    redis::from_redis_value(added.clone()).context("entries-added")
}

fn healed(effect: impl Into<String>, expect: Expect) -> Done {
    Done { effect: effect.into(), expect, apart: false, healed: wall_ms() }
}

impl Done {
    /// It left the way from the databases to Redis alone, or not.
    fn apart(self, apart: bool) -> Self {
        Self { apart, ..self }
    }
}
