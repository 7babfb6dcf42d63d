//! The pipeline that fits a binding.

use std::time::Duration;

use freshet_crds::{
    OnChange,
    binding::{Binding, SourceSpec, StreamLayout, TransportSpec},
};

use crate::{
    Captured, Database, DatabaseServer, Format, Heartbeat, JetStreamServer, KafkaServer, Pipeline,
    Publication, RedisServer, Routing, Sink,
};

/// How often the database proves that changes come through: a tenth of the shortest `maxStaleness` that makes sense,
/// and what a loss on the way is noticed within.
const BEAT: Duration = Duration::from_secs(1);

/// What a person has said about a pipeline beside the binding. What isn't said is left open in the settings.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which database it is.
    pub database: Database,
    /// The binding's source; not needed when there is one.
    pub source: Option<String>,
    /// The database's host.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// The database's name (Postgres).
    pub name: Option<String>,
    /// Debezium's user there.
    pub user: Option<String>,
}

/// Why there is no pipeline for a binding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No source at all.
    #[error("the binding has no sources: its caches have upstreams, and no Debezium concerns them")]
    NoSources,
    /// Several sources, and none was named.
    #[error("the binding has several sources ({0}), and each has its own Debezium: name one with --source")]
    SeveralSources(String),
    /// No such source.
    #[error("the binding has no source `{0}`; its sources are {1}")]
    NoSource(String, String),
    /// No server takes its events.
    #[error("the source `{0}` is a {1}, which no Debezium Server writes")]
    Unwritten(String, &'static str),
    /// Its database tells of changes by itself.
    #[error(
        "the source `{0}` is a postgresNotify, which no Debezium Server writes to: `freshet-operator triggers` prints what \
         its database needs"
    )]
    Notify(String),
    /// Nothing to capture.
    #[error("no cache of the binding uses the source `{0}`: there is nothing to capture")]
    NoTables(String),
    /// A table that this database hasn't.
    #[error("`{0}`: a table of MariaDB is written database.table")]
    TooManyParts(String),
    /// Tables of several databases.
    #[error(
        "the tables are in several databases ({0}), and one Debezium follows one Postgres database: give each a source \
         of its own"
    )]
    SeveralDatabases(String),
    /// A name that can't be told to Debezium.
    #[error("`{0}`: {1} can't have line breaks, blanks at its ends, or any of {2}")]
    Name(String, &'static str, &'static str),
}

// === impl Pipeline ===

impl Pipeline {
    /// What a Debezium Server is to do for one source of a binding.
    pub fn for_binding(binding: &Binding, wanted: &Wanted) -> Result<Self, Unfit> {
        let (index, source) = source(binding, wanted.source.as_deref())?;
        let sink = sink(source)?;
        let mut tables = Vec::new();
        let mut hydrated = Vec::new();
        let mut within = Vec::new();
        let mut reads_values = false;
        for cache in binding.caches.iter().filter(|cache| cache.source == index) {
            reads_values |= cache.on_change == OnChange::Hydrate || cache.key.is_some();
            for table in cache.tables() {
                let (database, table) = split(table, wanted.database)?;
                within.extend(database);
                if cache.on_change == OnChange::Hydrate && !hydrated.contains(&table) {
                    hydrated.push(table.clone());
                }
                if !tables.contains(&table) {
                    tables.push(table);
                }
            }
        }
        let mut ranked = Vec::new();
        for cache in binding.ranked().filter(|cache| cache.source == index) {
            let Some(table) = &cache.table else { continue };
            let (_, table) = split(table, wanted.database)?;
            if !ranked.contains(&table) {
                ranked.push(table);
            }
        }
        let first = tables.first().ok_or_else(|| Unfit::NoTables(source.name.clone()))?;
        let heartbeat_database = first.split('.').next().unwrap_or_default().to_owned();
        within.sort_unstable();
        within.dedup();
        if within.len() > 1 {
            return Err(Unfit::SeveralDatabases(within.join(", ")));
        }
        let (prefix, routing) = match &source.layout {
            StreamLayout::PerTable { prefix } => (prefix.clone(), Routing::PerTable),
            StreamLayout::Routed { .. } if matches!(source.transport, TransportSpec::NatsJetStream(_)) => {
                (prefix(binding, source), Routing::Subjects)
            }
            StreamLayout::Routed { stream } => {
                let stream = spoken(stream, "the stream's name", "\\ $")?;
                (prefix(binding, source), Routing::OneStream(stream))
            }
        };
        let mut server = DatabaseServer::unknown(wanted.database);
        for (said, place) in [(&wanted.host, &mut server.host), (&wanted.user, &mut server.user)] {
            if let Some(said) = said {
                *place = spoken(said, "a host or user", "\\ $ ' \" `")?;
            }
        }
        if let Some(name) = wanted.name.as_ref().or(within.first()) {
            server.name = spoken(name, "a database's name", "\\ $")?;
        }
        server.port = wanted.port.unwrap_or(server.port);
        Ok(Self {
            database: wanted.database,
            prefix,
            format: Format::Extended,
            routing,
            captured: Captured::These(tables),
            hydrated,
            ranked: (!ranked.is_empty()).then_some(ranked),
            reads_values,
            heartbeat: Heartbeat::Both,
            beat: BEAT,
            heartbeat_database,
            publication: Publication::Prepared,
            source: server,
            sink,
        })
    }
}

fn source<'b>(binding: &'b Binding, name: Option<&str>) -> Result<(usize, &'b SourceSpec), Unfit> {
    let names = || binding.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut sources = binding.sources.iter().enumerate();
    match (name, binding.sources.len()) {
        (_, 0) => Err(Unfit::NoSources),
        (Some(name), _) => {
            sources.find(|(_, s)| s.name == name).ok_or_else(|| Unfit::NoSource(name.to_owned(), names()))
        }
        (None, 1) => sources.next().ok_or_else(|| Unfit::SeveralSources(names())),
        (None, _) => Err(Unfit::SeveralSources(names())),
    }
}

fn sink(source: &SourceSpec) -> Result<Sink, Unfit> {
    Ok(match &source.transport {
        TransportSpec::RedisStream(redis) => Sink::Redis(RedisServer::of(&redis.url)),
        TransportSpec::Kafka(kafka) => Sink::Kafka(KafkaServer::of(kafka)),
        TransportSpec::NatsJetStream(nats) => {
            let stream = source.layout.stream().unwrap_or_default();
            Sink::JetStream(JetStreamServer::of(nats, stream))
        }
        TransportSpec::PostgresNotify(_) => return Err(Unfit::Notify(source.name.clone())),
        unwritten @ (TransportSpec::RedisPubSub(_) | TransportSpec::Nats(_) | TransportSpec::File(_)) => {
            return Err(Unfit::Unwritten(source.name.clone(), unwritten.kind()));
        }
    })
}

/// The database that a table's name tells, and the table as Debezium's filters know it.
fn split(table: &str, database: Database) -> Result<(Option<String>, String), Unfit> {
    let table = spoken(table, "a table's name", "\\ , { } ( ) [ ] * + ? ^ | ' \" `")?;
    match (table.matches('.').count(), database) {
        (2, Database::Postgres) => {
            let (name, rest) = table.split_once('.').unwrap_or_default();
            Ok((Some(name.to_owned()), rest.to_owned()))
        }
        (2, Database::MariaDb) => Err(Unfit::TooManyParts(table)),
        _ => Ok((None, table)),
    }
}

/// A name that can stand in the settings as it is.
fn spoken(text: &str, what: &'static str, without: &'static str) -> Result<String, Unfit> {
    let bad = text.trim() != text
        || text.is_empty()
        || text.contains(|c: char| c.is_control() || without.split(' ').any(|w| w.starts_with(c)));
    if bad { Err(Unfit::Name(text.to_owned(), what, without)) } else { Ok(text.to_owned()) }
}

/// What Debezium calls itself where the binding doesn't say it: nothing but its own names depends on it.
fn prefix(binding: &Binding, source: &SourceSpec) -> String {
    if binding.sources.len() == 1 {
        binding.name.clone()
    } else {
        format!("{}-{}", binding.name, source.name)
    }
}
