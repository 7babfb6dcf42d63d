//! The real parts and how they are wired: each database through a Debezium into one carrier, and three sidecars that
//! follow both. Proxies stand wherever a network would.
//!
//! ```text
//! Postgres ─log─► Debezium ─sink─►┐           ┌─link─► sidecar 0
//!                                 ├─► carrier ┼─link─► sidecar 1
//! MariaDB ──log─► Debezium ─sink─►┘           └─link─► sidecar 2
//! ```
//!
//! The carrier is a Redis with a replica, a NATS or a Kafka, or files in which a Redis' streams are recorded. Where it keeps nothing there is no Debezium: whoever writes says
//! what he has committed, or the database's triggers do.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use freshet_crds::manifest;

use super::carrier::{Carrier, Carries, Keeps, Saying, Servers, Transport, Ways};
use super::layout;
use super::session::Door;
use super::shape::{Source, Table};
use super::writer::tables;
use crate::process::debezium::{Heartbeat, Routing, Settings};
use crate::process::{Debezium, MariaDb, Postgres, Proxy, Sidecar};
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
    /// Between Debezium and the carrier.
    pub(crate) sink: Proxy,
    pub(crate) routing: Routing,
    transport: Transport,
}

/// Everything.
pub(crate) struct World {
    // Readers before what they read from: fields drop in this order.
    pub(crate) sidecars: Vec<Sidecar>,
    pub(crate) links: Vec<Proxy>,
    pub(crate) pipelines: Vec<Pipeline>,
    pub(crate) postgres: Postgres,
    pub(crate) mariadb: MariaDb,
    pub(crate) carrier: Carrier,
    pub(crate) transport: Transport,
    /// How the streams of each source are laid out for the sidecars.
    pub(crate) layout: Vec<(Source, Routing)>,
    /// How often a Debezium had to be started again because it didn't come back by itself.
    pub(crate) revived: u32,
}

impl World {
    /// Starts everything, with empty caches. The seed chooses how streams are laid out.
    pub(crate) fn start(
        executable: &Path,
        transport: Transport,
        sources: &[Source],
        random: &mut Random,
    ) -> Result<Self> {
        let layout = layout::draw(transport, sources, random);
        let (postgres, mariadb) = both(Postgres::start, MariaDb::start)?;
        let (carrier, Ways { links, sinks }) = Carrier::start(transport, SIDECARS, &layout, &postgres)?;
        for source in sources {
            match source {
                Source::Postgres => postgres.execute(&tables(*source))?,
                Source::MariaDb => mariadb.execute(&tables(*source))?,
            }
        }
        let pipelines = thread::scope(|scope| {
            // Without a sink there is no Debezium.
            let starts: Vec<_> = layout
                .iter()
                .zip(sinks)
                .map(|((source, routing), sink)| {
                    let (postgres, mariadb) = (&postgres, &mariadb);
                    let carrier = carrier.keeper();
                    let routing = transport.sink_routing(*routing);
                    let start = Start { source: *source, routing, transport, sink };
                    scope.spawn(move || start.pipeline(postgres, mariadb, carrier?))
                })
                .collect();
            let joined =
                starts.into_iter().map(|start| start.join().map_err(|_| anyhow!("a start panicked"))?);
            joined.collect::<Result<Vec<_>>>()
        })?;
        let binding = |link: &Proxy| layout::binding(transport, link.address(), carrier.folder(), &layout);
        if transport == Transport::PostgresNotify {
            let read = manifest::read(&binding(&links[0]))?.binding();
            let binding = read.map_err(|invalid| anyhow!("the binding: {invalid:?}"))?;
            postgres.execute(&freshet_debezium::triggers(&binding, None)?)?;
        }
        let sidecars = links.iter().map(|link| {
            let builder = Sidecar::builder(executable, &binding(link)).env("RUST_BACKTRACE", "1");
            let url = format!("postgres://postgres@{}/postgres", link.address());
            let name = Source::Postgres.name();
            let is_notified = transport == Transport::PostgresNotify;
            let builder = if is_notified { builder.secret(name, "url", &url) } else { builder };
            builder.start()
        });
        let sidecars = sidecars.collect::<Result<Vec<_>>>()?;
        Ok(Self { sidecars, links, pipelines, postgres, mariadb, carrier, transport, layout, revived: 0 })
    }

    pub(crate) fn sources(&self) -> Vec<Source> {
        self.layout.iter().map(|(source, _)| *source).collect()
    }

    pub(crate) fn doors(&self) -> Vec<Door> {
        let port = |source| match source {
            Source::Postgres => self.postgres.port(),
            Source::MariaDb => self.mariadb.port(),
        };
        self.sources().into_iter().map(|source| Door { source, port: port(source) }).collect()
    }

    /// What can be asked of the carrier, whichever it is.
    pub(crate) fn carrier(&self) -> &dyn Carries {
        self.carrier.any()
    }

    /// The same, of a carrier that keeps what it carries.
    pub(crate) fn keeper(&self) -> Result<&dyn Keeps> {
        self.carrier.keeper()
    }

    /// Where whoever writes to a database says what he has committed, if nobody else does.
    pub(crate) fn saying(&self, source: Source) -> Option<Saying> {
        match &self.carrier {
            Carrier::Ether(ether) => ether.saying(source),
            _ => None,
        }
    }

    /// The Redis servers, where they are the carrier.
    pub(crate) fn redis(&self) -> Result<&Servers> {
        match &self.carrier {
            Carrier::Redis(servers) => Ok(servers),
            other => bail!("{} is not Redis", other.told()),
        }
    }

    /// The same, to be changed.
    pub(crate) fn redis_mut(&mut self) -> Result<&mut Servers> {
        match &mut self.carrier {
            Carrier::Redis(servers) => Ok(servers),
            other => bail!("{} is not Redis", other.told()),
        }
    }

    /// All proxies, to heal whatever was done to any.
    pub(crate) fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        let pipelines = self.pipelines.iter().flat_map(|pipeline| [&pipeline.log, &pipeline.sink]);
        self.links.iter().chain(pipelines).chain(self.carrier().proxies())
    }

    /// Sends everybody to Redis' master, at once.
    pub(crate) fn repoint(&self) -> Result<()> {
        let redis = self.redis()?;
        let master = redis.master().socket_address();
        let sinks = self.pipelines.iter().map(|pipeline| &pipeline.sink);
        for proxy in self.links.iter().chain(sinks).chain([&redis.replication]) {
            proxy.point_to(master);
            proxy.cut();
        }
        Ok(())
    }

    /// Makes the replica the master, where it isn't one yet, and the master its replica.
    pub(crate) fn promote(&mut self) -> Result<()> {
        let redis = self.redis_mut()?;
        redis.replica().follow(None)?;
        redis.master = 1 - redis.master;
        self.repoint()?;
        let redis = self.redis()?;
        redis.replica().follow(Some(redis.replication.address()))
    }

    /// Starts every Debezium again that has ended by itself, as its orchestrator would; how many those were.
    pub(crate) fn revive(&mut self) -> Result<u32> {
        let revived = revive(&mut self.pipelines)?;
        self.revived += revived;
        Ok(revived)
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

/// Starts every Debezium again that has ended by itself; how many those were.
pub(crate) fn revive(pipelines: &mut [Pipeline]) -> Result<u32> {
    let mut revived = 0;
    for pipeline in pipelines {
        if pipeline.debezium.process().exited()?.is_some() {
            pipeline.debezium.launch()?;
            revived += 1;
        }
    }
    Ok(revived)
}

/// A pipeline that is to be started.
struct Start {
    source: Source,
    routing: Routing,
    transport: Transport,
    sink: Proxy,
}

impl Start {
    fn pipeline(self, postgres: &Postgres, mariadb: &MariaDb, carrier: &dyn Keeps) -> Result<Pipeline> {
        let Self { source, routing, transport, sink } = self;
        let port = match source {
            Source::Postgres => postgres.port(),
            Source::MariaDb => mariadb.port(),
        };
        let log = Proxy::start(SocketAddr::from(([127, 0, 0, 1], port)))?;
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
            .set("debezium.source.retriable.restart.connector.wait.ms", "500")
            .set("debezium.source.errors.retry.delay.initial.ms", "200")
            .set("debezium.source.errors.retry.delay.max.ms", "500")
            // A client of the binary log looks only so often whether its connection is still there.
            .set("debezium.source.connect.keep.alive.interval.ms", "1000")
            .set("debezium.source.snapshot.mode", "when_needed")
            .set("debezium.source.database.port", &log.address().port().to_string());
        let settings = carrier.settings(settings, source, sink.address());
        let debezium = match source {
            Source::Postgres => Debezium::start(settings, postgres, carrier.sink()),
            Source::MariaDb => Debezium::start(settings, mariadb, carrier.sink()),
        };
        Ok(Pipeline {
            source,
            debezium: debezium.with_context(|| format!("{source}'s Debezium"))?,
            log,
            sink,
            routing,
            transport,
        })
    }
}

impl Pipeline {
    /// The stream that carries a table's changes.
    pub(crate) fn stream(&self, table: Table) -> String {
        self.named(table.name())
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
            Routing::PerTable => self.named("transaction"),
        }
    }

    /// The stream with the database's heartbeats.
    pub(crate) fn beats(&self) -> String {
        match self.source {
            Source::Postgres if self.routing == Routing::PerTable => self.named("message"),
            _ => self.named("shop.freshet_heartbeat"),
        }
    }

    /// The stream with the topic of this name, without its prefix.
    fn named(&self, topic: &str) -> String {
        match self.transport {
            Transport::RedisStream | Transport::Kafka | Transport::File => {
                self.debezium.settings().stream(topic)
            }
            // All topics are subjects of one stream.
            Transport::NatsJetStream => self.source.name().to_owned(),
            // They have no pipeline.
            Transport::RedisPubSub | Transport::Nats | Transport::PostgresNotify => String::new(),
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
