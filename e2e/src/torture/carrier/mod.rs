//! What stands between the Debeziums and the sidecars, and keeps what the ones write and the others read.
//!
//! Whatever is asked of it here is asked of it directly, past the proxies, so that it is known what there is while a
//! sidecar or a Debezium is cut off from it.

mod entry;
mod ether;
mod file;
mod jet_stream;
mod kafka;
mod redis;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::shape::Source;
use crate::process::debezium::{Routing, Settings, Sink};
use crate::process::{Child, Debezium, Nats, Postgres, Proxy, Redis};

pub(crate) use entry::{Beat, Entry};
pub(crate) use ether::{Ether, Saying, Voice};
pub(crate) use file::{Files, Still};
pub(crate) use jet_stream::Streams;
pub(crate) use kafka::{PARTITION, Topics};
pub(crate) use redis::Servers;

/// A kind of source, by its name in a binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Streams of a Redis with a replica.
    #[default]
    RedisStream,
    /// A stream of NATS JetStream for each database.
    NatsJetStream,
    /// A topic with one partition of a Kafka for each database.
    Kafka,
    /// A channel of a Redis for each database: whoever writes says what he has committed.
    RedisPubSub,
    /// A subject of a NATS for each database, likewise.
    Nats,
    /// A channel of PostgreSQL itself, on which its triggers say so.
    PostgresNotify,
    /// A file of entries for each database: a recorder writes down what Debezium has written to Redis.
    File,
}

/// The server that carries everything.
pub(crate) enum Carrier {
    Redis(Servers),
    JetStream(Streams),
    Kafka(Topics),
    Ether(Ether),
    Files(Files),
}

/// The proxies before a carrier.
pub(crate) struct Ways {
    /// One for each sidecar.
    pub(crate) links: Vec<Proxy>,
    /// One for each Debezium.
    pub(crate) sinks: Vec<Proxy>,
}

/// What every carrier can be asked and told.
pub(crate) trait Carries: Sync {
    /// What a client has to say before it hears anything. Nothing, where the server speaks first.
    fn first_word(&self) -> &'static [u8];

    /// The process that sidecars read from, if it is one of its own.
    fn process(&mut self) -> Option<&mut Child>;

    /// Starts that process again, after it has ended, with what it keeps.
    fn restart(&mut self) -> Result<()>;

    /// Lets every process go on that was stopped.
    fn resume(&mut self) {
        // One that runs is resumed without effect; one that has ended is told by what comes next.
        if let Some(process) = self.process() {
            let _ = process.resume();
        }
    }

    /// Proxies within it.
    fn proxies(&self) -> Vec<&Proxy> {
        Vec::new()
    }
}

/// What a carrier can be asked and told that keeps what Debeziums write to it.
pub(crate) trait Keeps: Carries {
    /// What a Debezium writes to.
    fn sink(&self) -> Sink<'_>;

    /// What a source's Debezium is told besides, so that it goes by the proxy at `sink`.
    fn settings(&self, settings: Settings, source: Source, sink: SocketAddr) -> Settings;

    /// How many entries were added to a stream over its life.
    fn added(&self, stream: &str) -> Result<u64>;

    /// All entries of a stream behind a mark.
    fn after(&self, stream: &str, mark: &str) -> Result<Vec<Entry>>;

    /// The newest entries of a stream, before a mark if there is one, the newest first, at most so many.
    fn newest(&self, stream: &str, before: Option<&str>, most: usize) -> Result<Vec<Entry>>;

    /// Removes entries from before this time, in milliseconds since 1970, where the server doesn't do that by itself.
    fn trim(&self, _stream: &str, _before_ms: u64) {}

    /// The file in which a Debezium keeps how tables looked, where its database needs that.
    fn history(&self, debezium: &Debezium) -> PathBuf {
        debezium.folder().join("data/schema-history.dat")
    }

    /// What a Debezium remembers of how far it is.
    fn offsets(&self, debezium: &Debezium) -> Result<Offsets> {
        let file = offsets_file(debezium);
        Ok(Offsets::File(fs::read(&file).with_context(|| format!("reading {}", file.display()))?))
    }

    /// Gives a Debezium that doesn't run another memory of how far it is; `None` is none at all.
    fn remember(&self, debezium: &Debezium, offsets: Option<&Offsets>) -> Result<()> {
        let file = offsets_file(debezium);
        match offsets {
            None => fs::remove_file(&file),
            Some(Offsets::File(bytes)) => fs::write(&file, bytes),
            Some(Offsets::Hash(_)) => bail!("offsets of another carrier"),
        }
        .with_context(|| format!("changing {}", file.display()))
    }
}

/// Tells the newest entry of a stream.
pub(crate) type Newest<'a> = dyn Fn(&str) -> Result<Entry> + 'a;

/// What a Debezium remembers of how far it is.
#[derive(Debug)]
pub(crate) enum Offsets {
    /// Fields of a hash in Redis.
    Hash(Vec<(String, String)>),
    /// A file's bytes.
    File(Vec<u8>),
}

impl Transport {
    /// Its name in a binding.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RedisStream => "redisStream",
            Self::NatsJetStream => "natsJetStream",
            Self::Kafka => "kafka",
            Self::RedisPubSub => "redisPubSub",
            Self::Nats => "nats",
            Self::PostgresNotify => "postgresNotify",
            Self::File => "file",
        }
    }

    /// Whether it keeps what went over it, so that Debezium writes to it. Over any other it is said what is void, once.
    #[must_use]
    pub fn keeps(self) -> bool {
        matches!(self, Self::RedisStream | Self::NatsJetStream | Self::Kafka | Self::File)
    }

    /// Whether changes of this database can go over it.
    #[must_use]
    pub fn carries(self, source: Source) -> bool {
        self != Self::PostgresNotify || source == Source::Postgres
    }

    /// How a source's streams are laid out over it, where there is no choice: NATS has all subjects of a stream in one
    /// order, and in Kafka heartbeats need one.
    pub(crate) fn routing(self, drawn: Routing) -> Routing {
        match self {
            Self::NatsJetStream => Routing::PerTable,
            Self::Kafka => Routing::OneStream,
            _ => drawn,
        }
    }

    /// How Debezium is told to lay them out. What is to be recorded has one order.
    pub(crate) fn sink_routing(self, routing: Routing) -> Routing {
        if self == Self::File { Routing::OneStream } else { routing }
    }

    /// What a binding says of it, for a sidecar whose proxy is at `link`. Files are in `folder`.
    pub(crate) fn binding(self, link: SocketAddr, folder: &Path, source: Source, routing: Routing) -> String {
        let name = source.name();
        let streams = match routing {
            Routing::OneStream => format!("stream: {name}.cdc"),
            Routing::PerTable => format!("topicPrefix: {name}"),
        };
        match self {
            Self::RedisStream => format!("redisStream: {{url: 'redis://{link}', {streams}}}"),
            Self::File => format!("file: {{path: '{}', {streams}}}", file::file(folder, source).display()),
            Self::NatsJetStream => format!("natsJetStream: {{url: 'nats://{link}', stream: {name}}}"),
            Self::Kafka => format!("kafka: {{brokers: ['{link}'], topic: {name}.cdc}}"),
            Self::RedisPubSub => format!("redisPubSub: {{url: 'redis://{link}', channel: {name}}}"),
            Self::Nats => format!("nats: {{url: 'nats://{link}', subject: {name}}}"),
            Self::PostgresNotify => {
                format!(
                    "postgresNotify: {{urlFrom: {{secretKeyRef: {{name: {name}, key: url}}}}, channel: {name}}}"
                )
            }
        }
    }

    /// Whether Debezium's sink of it ends with an error after a while without a server, instead of waiting.
    pub(crate) fn gives_up(self) -> bool {
        !matches!(self, Self::RedisStream | Self::File)
    }

    /// Whether its entries carry the keys of rows.
    pub(crate) fn has_keys(self) -> bool {
        !matches!(self, Self::NatsJetStream | Self::Nats)
    }
}

impl Carrier {
    /// Starts it, and proxies before it for so many sidecars and for these databases' Debeziums.
    pub(crate) fn start(
        transport: Transport,
        sidecars: usize,
        layout: &[(Source, Routing)],
        postgres: &Postgres,
    ) -> Result<(Self, Ways)> {
        let sources: Vec<Source> = layout.iter().map(|(source, _)| *source).collect();
        let heard = |ether: Ether, address| Ok((Self::Ether(ether), Ways::to(address, sidecars, 0)?));
        match transport {
            Transport::RedisStream => {
                let servers = Servers::start()?;
                let ways = Ways::to(servers.master().socket_address(), sidecars, sources.len())?;
                Ok((Self::Redis(servers), ways))
            }
            Transport::NatsJetStream => {
                let streams = Streams::start(&sources)?;
                let ways = Ways::to(streams.nats().address(), sidecars, sources.len())?;
                Ok((Self::JetStream(streams), ways))
            }
            Transport::Kafka => {
                let (topics, ways) = Topics::start(sidecars, &sources)?;
                Ok((Self::Kafka(topics), ways))
            }
            Transport::File => {
                let files = Files::start(layout)?;
                // Nothing is between a sidecar and its file.
                let ways = Ways::to(files.servers().master().socket_address(), sidecars, sources.len())?;
                Ok((Self::Files(files), ways))
            }
            Transport::RedisPubSub => {
                let redis = Redis::start()?;
                let address = redis.socket_address();
                heard(Ether::Redis(redis), address)
            }
            Transport::Nats => {
                let nats = Nats::start()?;
                let address = nats.address();
                heard(Ether::Nats(nats), address)
            }
            Transport::PostgresNotify => {
                heard(Ether::Postgres, SocketAddr::from((Ipv4Addr::LOCALHOST, postgres.port())))
            }
        }
    }

    /// What is common to all.
    pub(crate) fn any(&self) -> &dyn Carries {
        match self {
            Self::Redis(servers) => servers,
            Self::JetStream(streams) => streams,
            Self::Kafka(topics) => topics,
            Self::Ether(ether) => ether,
            Self::Files(files) => files.servers(),
        }
    }

    /// The same, to be changed.
    pub(crate) fn any_mut(&mut self) -> &mut dyn Carries {
        match self {
            Self::Redis(servers) => servers,
            Self::JetStream(streams) => streams,
            Self::Kafka(topics) => topics,
            Self::Ether(ether) => ether,
            Self::Files(files) => files.servers_mut(),
        }
    }

    /// What only those can be asked that keep what they carry.
    pub(crate) fn keeper(&self) -> Result<&dyn Keeps> {
        match self {
            Self::Redis(servers) => Ok(servers),
            Self::JetStream(streams) => Ok(streams),
            Self::Kafka(topics) => Ok(topics),
            Self::Files(files) => Ok(files.servers()),
            Self::Ether(_) => bail!("{} keeps nothing", self.told()),
        }
    }

    /// What people call it.
    pub(crate) fn told(&self) -> &'static str {
        match self {
            // It is what Debezium writes to, whatever is recorded of it.
            Self::Redis(_) | Self::Files(_) => "Redis",
            Self::JetStream(_) => "NATS",
            Self::Kafka(_) => "Kafka",
            Self::Ether(ether) => ether.told(),
        }
    }

    /// Where its files are, if it has any.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Files(files) => files.folder(),
            _ => Path::new(""),
        }
    }
}

impl Ways {
    /// Proxies that all lead to the same address.
    fn to(address: SocketAddr, sidecars: usize, sinks: usize) -> Result<Self> {
        let proxies = |count| (0..count).map(|_| Proxy::start(address)).collect::<Result<Vec<_>>>();
        Ok(Self { links: proxies(sidecars)?, sinks: proxies(sinks)? })
    }
}

/// Where a Debezium keeps its offsets that can't keep them where it writes.
fn offsets_file(debezium: &Debezium) -> PathBuf {
    debezium.folder().join("data/offsets.dat")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_redis_leaves_a_choice_of_layouts() {
        for drawn in [Routing::OneStream, Routing::PerTable] {
            assert_eq!(Transport::RedisStream.routing(drawn), drawn);
            assert_eq!(Transport::NatsJetStream.routing(drawn), Routing::PerTable);
            assert_eq!(Transport::Kafka.routing(drawn), Routing::OneStream);
        }
    }
}
