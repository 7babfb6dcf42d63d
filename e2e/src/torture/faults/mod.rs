//! What is done to the world: each fault is made, checked to have taken effect, and healed.

mod database;
mod files;
mod kept;
mod network;
mod processes;
mod streams;
mod unsaid;
mod upstream;

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::carrier::Transport;
use super::recovery::wall_ms;
use super::shape::{Source, Table};
use super::stage::Stage;
use super::world::{PATIENCE, World};
use super::writer::{Deed, Request};
use crate::process::until;
use crate::random::Random;

/// A kind of fault, by the name that `--fault` takes.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// The only database that it can be done to, if not any.
    only: Option<Source>,
    /// The only transports over which it can be done, if not over any.
    over: &'static [Transport],
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
    /// How much longer than it promises anything may take to be noticed.
    pub(crate) slack: Duration,
}

/// A fault that was made, seen and healed.
#[derive(Debug)]
pub(crate) struct Done {
    /// How it was seen to have taken effect.
    pub(crate) effect: String,
    /// What it may do to values.
    pub(crate) expect: Expect,
    /// Whether it left the way from the databases to the carrier alone: then its end is when it was healed, else when the
    /// first heartbeat is in the carrier again.
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
    Fault { name, only: None, over: &[], run }
}

const fn fault_of(source: Source, name: &'static str, run: fn(&mut Act<'_>) -> Result<Done>) -> Fault {
    Fault { name, only: Some(source), over: &[], run }
}

const fn fault_over(
    over: &'static [Transport],
    name: &'static str,
    run: fn(&mut Act<'_>) -> Result<Done>,
) -> Fault {
    Fault { name, only: None, over, run }
}

const REDIS: &[Transport] = &[Transport::RedisStream];
const JET_STREAM: &[Transport] = &[Transport::NatsJetStream];
const KAFKA: &[Transport] = &[Transport::Kafka];
/// Those that Debezium writes to.
const KEEPING: &[Transport] =
    &[Transport::RedisStream, Transport::NatsJetStream, Transport::Kafka, Transport::File];
const FILE: &[Transport] = &[Transport::File];
/// Those that keep nothing.
const ETHER: &[Transport] = &[Transport::RedisPubSub, Transport::Nats, Transport::PostgresNotify];
/// Those of them with a server of their own.
const SERVED: &[Transport] = &[Transport::RedisPubSub, Transport::Nats];
/// Those that keep what they have in files.
const IN_FILES: &[Transport] = &[Transport::NatsJetStream, Transport::Kafka];

/// All faults.
pub const ALL: &[Fault] = &[
    fault("kill-sidecar", processes::kill_sidecar),
    fault_over(REDIS, "kill-redis", processes::kill_redis),
    fault_over(REDIS, "kill-replica", processes::kill_replica),
    fault_over(KEEPING, "kill-debezium", processes::kill_debezium),
    fault_of(Source::Postgres, "kill-postgres", processes::kill_postgres),
    fault_of(Source::MariaDb, "kill-mariadb", processes::kill_mariadb),
    fault("pause-sidecar", processes::pause_sidecar),
    fault_over(REDIS, "pause-redis", processes::pause_carrier),
    fault_over(KEEPING, "pause-debezium", processes::pause_debezium),
    fault_of(Source::Postgres, "pause-postgres", processes::pause_postgres),
    fault_of(Source::MariaDb, "pause-mariadb", processes::pause_mariadb),
    fault("cut", network::cut),
    fault("stall", network::stall),
    fault("partition", network::partition),
    fault("half-open", network::half_open),
    fault("delay", network::delay),
    fault_over(KEEPING, "log-partition", database::partition),
    fault_over(KEEPING, "log-half-open", database::half_open),
    fault_over(REDIS, "xtrim", streams::xtrim),
    fault_over(REDIS, "xdel", streams::xdel),
    fault_over(REDIS, "del", streams::del),
    fault_over(REDIS, "flushall", streams::flushall),
    fault_over(REDIS, "wrongtype", streams::wrongtype),
    fault_over(REDIS, "refused-writes", streams::refused_writes),
    fault_over(REDIS, "old-rdb", streams::old_rdb),
    fault_over(REDIS, "failover", streams::failover),
    fault_over(REDIS, "failover-lost-tail", streams::failover_lost_tail),
    fault_over(REDIS, "silent-promotion", streams::silent_promotion),
    fault_over(KEEPING, "replay", upstream::replay),
    Fault { only: Some(Source::Postgres), ..fault_over(KEEPING, "slot-dropped", upstream::slot_dropped) },
    fault_over(KEEPING, "re-snapshot", upstream::resnapshot),
    fault_over(KEEPING, "truncate", upstream::truncate),
    fault_over(KEEPING, "key-swaps", upstream::swaps),
    fault_over(KEEPING, "ddl", upstream::redefine),
    fault_over(KEEPING, "huge-transaction", upstream::huge),
    fault_over(JET_STREAM, "kill-nats", processes::kill_carrier),
    fault_over(JET_STREAM, "pause-nats", processes::pause_carrier),
    fault_over(JET_STREAM, "purge", kept::purge),
    fault_over(JET_STREAM, "delete-message", kept::delete_message),
    fault_over(JET_STREAM, "delete-stream", kept::delete_stream),
    fault_over(KAFKA, "kill-kafka", processes::kill_carrier),
    fault_over(KAFKA, "pause-kafka", processes::pause_carrier),
    fault_over(KAFKA, "delete-records", kept::delete_records),
    fault_over(KAFKA, "delete-topic", kept::delete_topic),
    fault_over(IN_FILES, "restart-without", kept::restart_without),
    fault_over(FILE, "file-cut", files::cut),
    fault_over(FILE, "file-replaced", files::replaced),
    fault_over(FILE, "file-gone", files::gone),
    fault_over(FILE, "recorder-stopped", files::stopped),
    fault_over(SERVED, "kill-server", processes::kill_ether),
    fault_over(SERVED, "pause-server", processes::pause_carrier),
    fault_over(SERVED, "lost-message", unsaid::lost),
    fault_over(ETHER, "said-truncate", unsaid::truncate),
    fault_over(ETHER, "said-key-swaps", unsaid::swaps),
    fault_over(ETHER, "said-ddl", unsaid::redefine),
    fault_over(ETHER, "said-huge-transaction", unsaid::huge),
];

impl Fault {
    /// The fault of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|fault| fault.name == name)
    }

    /// Whether it can be done where there are only these databases, over this transport.
    #[must_use]
    pub fn fits(self, sources: &[Source], transport: Transport) -> bool {
        self.only.is_none_or(|source| sources.contains(&source))
            && (self.over.is_empty() || self.over.contains(&transport))
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

    /// One of the databases.
    fn any_source(&mut self) -> Source {
        *self.random.pick(&self.world.sources())
    }

    /// One of the sidecars.
    fn any_sidecar(&mut self) -> usize {
        usize::try_from(self.random.below(self.world.sidecars.len() as u64)).unwrap_or(0)
    }

    /// Waits until so many more entries are in a stream, which writers see to.
    fn await_entries(&self, stream: &str, more: u64) -> Result<u64> {
        let carrier = self.world.keeper()?;
        let before = carrier.added(stream)?;
        until(&format!("{more} more entries in {stream}"), PATIENCE, || {
            let now = carrier.added(stream)?;
            ensure!(now >= before + more, "{} more", now.saturating_sub(before));
            Ok(now)
        })
    }

    /// What a fault may do that lets nothing go of what is kept. Where nothing is, whatever happens to a connection, nothing
    /// tells what was said meanwhile.
    fn kept(&self) -> Expect {
        if self.world.transport.keeps() { Expect::Kept } else { Expect::Any }
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
        until(&format!("{stream} is there"), PATIENCE, || self.world.keeper()?.added(&stream))?;
        Ok(stream)
    }

    /// The stream of the items of a pipeline.
    fn items(&self, pipeline: usize) -> String {
        self.world.pipelines[pipeline].stream(Table::Item)
    }
}

fn healed(effect: impl Into<String>, expect: Expect) -> Done {
    Done { effect: effect.into(), expect, apart: false, healed: wall_ms() }
}

impl Done {
    /// It left the way from the databases to the carrier alone, or not.
    fn apart(self, apart: bool) -> Self {
        Self { apart, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transport_has_faults_of_its_own_and_names_are_not_used_twice() {
        let mut names: Vec<_> = ALL.iter().map(|fault| fault.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        let fitting = |transport| -> Vec<&str> {
            ALL.iter().filter(|fault| fault.fits(&Source::ALL, transport)).map(|fault| fault.name).collect()
        };
        for (transport, has, lacks) in [
            (Transport::RedisStream, "xtrim", "purge"),
            (Transport::NatsJetStream, "purge", "kill-kafka"),
            (Transport::Kafka, "kill-kafka", "xtrim"),
            (Transport::RedisPubSub, "lost-message", "replay"),
            (Transport::PostgresNotify, "said-truncate", "lost-message"),
            (Transport::File, "file-cut", "xtrim"),
        ] {
            let names = fitting(transport);
            assert!(names.contains(&has) && names.contains(&"cut") && !names.contains(&lacks), "{names:?}");
        }
        assert!(!Fault::named("kill-mariadb").unwrap().fits(&[Source::Postgres], Transport::RedisStream));
    }
}
