//! The real parts and how they are wired: each database through a Debezium into one Redis with a replica, and three
//! sidecars that follow both. Proxies stand wherever a network would.
//!
//! ```text
//! Postgres ─log─► Debezium ─sink─►┐                ┌─link─► sidecar 0
//!                                 ├─► Redis master ┼─link─► sidecar 1
//! MariaDB ──log─► Debezium ─sink─►┘        │       └─link─► sidecar 2
//!                                       replication ─► Redis replica
//! ```

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::layout;
use super::session::Door;
use super::shape::{Source, Table};
use super::writer::tables;
use crate::process::debezium::{Heartbeat, Routing, Settings};
use crate::process::{Debezium, MariaDb, Postgres, Proxy, Redis, Sidecar, until};
use crate::random::Random;

/// Sidecars.
pub(crate) const SIDECARS: usize = 3;

/// How long values may be unproven: `maxStaleness`, and how far clocks are taken to differ.
pub(crate) const MAX_STALENESS: Duration = Duration::from_secs(3);
pub(crate) const CLOCK_SKEW: Duration = Duration::from_millis(100);

/// What the contract allows a vouched value's age since it was overwritten. All have one clock, and count its
/// milliseconds.
pub(crate) const BOUND: Duration = MAX_STALENESS.saturating_add(Duration::from_millis(2));

/// The interval of heartbeats.
const BEAT: Duration = Duration::from_millis(300);

/// How long anything may take that is only waited for, so that a fault can be made or healed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A database with its Debezium.
pub(crate) struct Pipeline {
    pub(crate) source: Source,
    pub(crate) debezium: Debezium,
    /// Between the database's log and Debezium.
    pub(crate) log: Proxy,
    /// Between Debezium and Redis.
    pub(crate) sink: Proxy,
    pub(crate) routing: Routing,
}

/// Everything.
pub(crate) struct World {
    // Readers before what they read from: fields drop in this order.
    pub(crate) sidecars: Vec<Sidecar>,
    pub(crate) links: Vec<Proxy>,
    pub(crate) pipelines: Vec<Pipeline>,
    pub(crate) postgres: Postgres,
    pub(crate) mariadb: MariaDb,
    pub(crate) redis: [Redis; 2],
    /// Which of the two is the master.
    pub(crate) master: usize,
    /// Between the master and its replica.
    pub(crate) replication: Proxy,
    /// How often a Debezium had to be started again because it didn't come back by itself.
    pub(crate) revived: u32,
}

impl World {
    /// Starts everything, with empty caches. The seed chooses how streams are laid out.
    pub(crate) fn start(executable: &Path, sources: &[Source], random: &mut Random) -> Result<Self> {
        let (postgres, mariadb) = both(Postgres::start, MariaDb::start)?;
        let redis = [Redis::start()?, Redis::start()?];
        let replication = Proxy::start(redis[0].socket_address())?;
        redis[1].follow(Some(replication.address()))?;
        for source in sources {
            match source {
                Source::Postgres => postgres.execute(&tables(*source))?,
                Source::MariaDb => mariadb.execute(&tables(*source))?,
            }
        }
        let layout = layout::draw(sources, random);
        let (postgres, mariadb, first) = (postgres, mariadb, &redis[0]);
        let pipelines = thread::scope(|scope| {
            let starts: Vec<_> = layout
                .iter()
                .map(|(source, routing)| {
                    let (source, routing) = (*source, *routing);
                    let (postgres, mariadb) = (&postgres, &mariadb);
                    scope.spawn(move || Pipeline::start(source, routing, postgres, mariadb, first))
                })
                .collect();
            let joined =
                starts.into_iter().map(|start| start.join().map_err(|_| anyhow!("a start panicked"))?);
            joined.collect::<Result<Vec<_>>>()
        })?;
        let links = (0..SIDECARS).map(|_| Proxy::start(redis[0].socket_address()));
        let links = links.collect::<Result<Vec<_>>>()?;
        let sidecars = links.iter().map(|link| {
            let binding = layout::binding(link.address(), &layout);
            Sidecar::builder(executable, &binding).env("RUST_BACKTRACE", "1").start()
        });
        let sidecars = sidecars.collect::<Result<Vec<_>>>()?;
        Ok(Self { sidecars, links, pipelines, postgres, mariadb, redis, master: 0, replication, revived: 0 })
    }

    pub(crate) fn sources(&self) -> Vec<Source> {
        self.pipelines.iter().map(|pipeline| pipeline.source).collect()
    }

    pub(crate) fn doors(&self) -> Vec<Door> {
        let port = |source| match source {
            Source::Postgres => self.postgres.port(),
            Source::MariaDb => self.mariadb.port(),
        };
        self.sources().into_iter().map(|source| Door { source, port: port(source) }).collect()
    }

    /// The master.
    pub(crate) fn redis(&self) -> &Redis {
        &self.redis[self.master]
    }

    /// The other one.
    pub(crate) fn replica(&self) -> &Redis {
        &self.redis[1 - self.master]
    }

    /// All proxies, to heal whatever was done to any.
    pub(crate) fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        let pipelines = self.pipelines.iter().flat_map(|pipeline| [&pipeline.log, &pipeline.sink]);
        self.links.iter().chain(pipelines).chain([&self.replication])
    }

    /// Sends everybody to the master, at once.
    pub(crate) fn repoint(&self) {
        let master = self.redis().socket_address();
        let sinks = self.pipelines.iter().map(|pipeline| &pipeline.sink);
        for proxy in self.links.iter().chain(sinks).chain([&self.replication]) {
            proxy.point_to(master);
            proxy.cut();
        }
    }

    /// Makes the replica the master, where it isn't one yet, and the master its replica.
    pub(crate) fn promote(&mut self) -> Result<()> {
        self.replica().follow(None)?;
        self.master = 1 - self.master;
        self.repoint();
        self.replica().follow(Some(self.replication.address()))
    }

    /// Waits until the replica has all that the master has.
    pub(crate) fn await_replica(&self) -> Result<()> {
        until("the replica follows", PATIENCE, || {
            ensure!(self.replica().info("replication", "master_link_status")? == "up", "the link is down");
            let of = |redis: &Redis| redis.info("replication", "master_repl_offset");
            let (master, replica) =
                (of(self.redis())?, self.replica().info("replication", "slave_repl_offset")?);
            // The master's offset grows while we look; nearly is enough, since what matters is that it follows.
            let behind = master.parse::<i64>()? - replica.parse::<i64>()?;
            ensure!(behind < 100_000, "{behind} bytes behind");
            Ok(())
        })
    }

    /// Starts a Debezium again that has ended by itself, as its orchestrator would.
    pub(crate) fn revive(&mut self) -> Result<()> {
        for pipeline in &mut self.pipelines {
            if pipeline.debezium.process().exited()?.is_some() {
                pipeline.debezium.launch()?;
                self.revived += 1;
            }
        }
        Ok(())
    }

    /// Starts a Debezium and waits until it follows its database.
    pub(crate) fn restart_debezium(&mut self, index: usize) -> Result<()> {
        let pipeline = &mut self.pipelines[index];
        match pipeline.source {
            Source::Postgres => pipeline.debezium.restart(&self.postgres),
            Source::MariaDb => pipeline.debezium.restart(&self.mariadb),
        }
    }
}

impl Pipeline {
    fn start(
        source: Source,
        routing: Routing,
        postgres: &Postgres,
        mariadb: &MariaDb,
        redis: &Redis,
    ) -> Result<Self> {
        let port = match source {
            Source::Postgres => postgres.port(),
            Source::MariaDb => mariadb.port(),
        };
        let log = Proxy::start(SocketAddr::from(([127, 0, 0, 1], port)))?;
        let sink = Proxy::start(redis.socket_address())?;
        // Longer than anything here is stopped for: who is stopped loses no connection.
        let base = match source {
            Source::Postgres => Settings::default()
                .set("debezium.source.driver.socketTimeout", "6")
                .set("debezium.source.driver.options", "-c wal_sender_timeout=8s")
                .set("debezium.source.status.update.interval.ms", "500")
                .set("debezium.source.slot.retry.delay.ms", "500")
                .set("debezium.source.slot.max.retries", "20"),
            Source::MariaDb => Settings::mariadb().set("debezium.source.driver.socketTimeout", "6000"),
        };
        let name = source.name();
        let settings = base
            .prefix(name)
            .routing(routing)
            .heartbeat(Heartbeat::Both, BEAT)
            .set("debezium.sink.redis.address", &sink.address().to_string())
            // Pauses of up to 10 s between attempts would be the longest part of every recovery.
            .set("debezium.sink.redis.retry.initial.delay.ms", "200")
            .set("debezium.sink.redis.retry.max.delay.ms", "500")
            .set("debezium.source.offset.storage.redis.retry.initial.delay.ms", "200")
            .set("debezium.source.offset.storage.redis.retry.max.delay.ms", "500")
            .set("debezium.source.retriable.restart.connector.wait.ms", "500")
            .set("debezium.source.errors.retry.delay.initial.ms", "200")
            .set("debezium.source.errors.retry.delay.max.ms", "500")
            // A client of the binary log looks only so often whether its connection is still there.
            .set("debezium.source.connect.keep.alive.interval.ms", "1000")
            .set("debezium.source.offset.storage.redis.key", &format!("offsets:{name}"))
            .set("debezium.source.snapshot.mode", "when_needed")
            .set("debezium.source.database.port", &log.address().port().to_string());
        let debezium = match source {
            Source::Postgres => Debezium::start(settings, postgres, redis),
            Source::MariaDb => Debezium::start(settings, mariadb, redis),
        };
        Ok(Self {
            source,
            debezium: debezium.with_context(|| format!("{source}'s Debezium"))?,
            log,
            sink,
            routing,
        })
    }

    /// The stream that carries a table's changes.
    pub(crate) fn stream(&self, table: Table) -> String {
        self.debezium.settings().stream(table.name())
    }

    /// All its streams with changes of rows, each once.
    pub(crate) fn streams(&self) -> Vec<String> {
        let mut streams: Vec<String> = Table::ALL.into_iter().map(|table| self.stream(table)).collect();
        streams.dedup();
        streams
    }

    /// The stream with the beginnings and ends of transactions.
    pub(crate) fn commits(&self) -> String {
        match self.routing {
            Routing::OneStream => self.stream(Table::Item),
            Routing::PerTable => format!("{}.transaction", self.source.name()),
        }
    }

    /// The stream with the database's heartbeats.
    pub(crate) fn beats(&self) -> String {
        match self.source {
            Source::Postgres if self.routing == Routing::PerTable => "pg.message".to_owned(),
            _ => self.debezium.settings().stream("shop.freshet_heartbeat"),
        }
    }
}

fn both<A: Send, B>(a: impl FnOnce() -> Result<A> + Send, b: impl FnOnce() -> Result<B>) -> Result<(A, B)> {
    thread::scope(|scope| {
        let a = scope.spawn(a);
        let b = b()?;
        Ok((a.join().map_err(|_| anyhow!("a start panicked"))??, b))
    })
}
