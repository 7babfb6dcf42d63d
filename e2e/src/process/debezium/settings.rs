//! What a Debezium Server is told, as typed settings and as its properties file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use freshet_debezium::{
    self as generator, Captured, Database, DatabaseServer, Format, Heartbeat, Pipeline, Publication,
    RedisServer, escaped,
};

use super::Sink;

/// Into which streams events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// One stream per table, `<prefix>.<schema>.<table>`, and further ones for transactions, messages and
    /// heartbeats. Debezium's own default.
    PerTable,
    /// Everything into `<prefix>.cdc`, in commit order.
    OneStream,
}

/// What a Debezium Server is told. The default is what Freshet recommends: extended format without schemas, one
/// stream, nulls as nulls, no tombstones, truncates and transactions included, both heartbeats each second; topic
/// prefix `shop`; all tables of a Postgres.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) database: Database,
    pub(super) prefix: String,
    pub(super) format: Format,
    pub(super) routing: Routing,
    pub(super) heartbeat: Heartbeat,
    pub(super) interval: Duration,
    pub(super) tables: Vec<String>,
    pub(super) snapshots_told: bool,
    /// Later properties win over those derived from the fields above.
    pub(super) overrides: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database: Database::Postgres,
            prefix: "shop".to_owned(),
            format: Format::Extended,
            routing: Routing::OneStream,
            heartbeat: Heartbeat::Both,
            interval: Duration::from_secs(1),
            tables: Vec::new(),
            snapshots_told: false,
            overrides: BTreeMap::new(),
        }
    }
}

/// The key of the offsets in Redis.
const OFFSETS: &str = "debezium.source.offset.storage.redis.key";
/// The database of MariaDB's heartbeat: with a stream per table a sidecar looks for it beside the binding's tables.
const HEARTBEAT_DATABASE: &str = "shop";

/// What makes the table behind MariaDB's heartbeat; in the database `shop`, which must be captured.
#[must_use]
pub fn mariadb_heartbeat_table() -> String {
    let table = freshet_debezium::heartbeat_table("shop.freshet_heartbeat");
    format!("CREATE DATABASE IF NOT EXISTS shop; {table}")
}

impl Settings {
    /// The recommended settings for a MariaDB, but that the history of its tables is kept in a file of the server's
    /// folder: tests empty Redis, after which Debezium couldn't read the log anymore.
    #[must_use]
    pub fn mariadb() -> Self {
        Self { database: Database::MariaDb, ..Self::default() }
    }

    /// The name of everything that this server writes: `topic.prefix`. Lower-case letters, digits and `_`, since the
    /// replication slot is named after it too.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// How an event becomes a Redis entry.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Whether keys and values carry their schema.
    #[must_use]
    pub fn schemas(self, on: bool) -> Self {
        self.set("debezium.format.key.schemas.enable", &on.to_string())
            .set("debezium.format.value.schemas.enable", &on.to_string())
    }

    /// Into which streams events go.
    #[must_use]
    pub fn routing(mut self, routing: Routing) -> Self {
        self.routing = routing;
        self
    }

    /// Whether a NULL in a column with a DEFAULT arrives as the default, which is Debezium's own default and wrong.
    #[must_use]
    pub fn replace_null_with_default(self, on: bool) -> Self {
        self.set("debezium.format.value.replace.null.with.default", &on.to_string())
    }

    /// Whether each delete is followed by an entry without a value.
    #[must_use]
    pub fn tombstones(self, on: bool) -> Self {
        self.set("debezium.source.tombstones.on.delete", &on.to_string())
    }

    /// Which heartbeats there are, and how often.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat, interval: Duration) -> Self {
        self.heartbeat = heartbeat;
        self.interval = interval;
        self
    }

    /// Captures this table, `<schema>.<table>`, and no others but those named likewise.
    #[must_use]
    pub fn table(mut self, table: &str) -> Self {
        self.tables.push(table.to_owned());
        self
    }

    /// Snapshots are told of in the stream, and can be asked for by what [`Settings::asks_for_snapshot`] says: what views over
    /// rows need.
    #[must_use]
    pub fn snapshots_told(mut self) -> Self {
        self.snapshots_told = true;
        self
    }

    /// Sets any property, by its whole name; wins over all else.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.overrides.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The stream (or Kafka's topic, or NATS's subject) that holds the events of `table` (`<schema>.<table>`).
    #[must_use]
    pub fn stream(&self, table: &str) -> String {
        match self.routing {
            Routing::OneStream => format!("{}.cdc", self.prefix),
            Routing::PerTable => format!("{}.{table}", self.prefix),
        }
    }

    /// The replication slot, and the publication of the same name.
    #[must_use]
    pub fn slot(&self) -> String {
        self.pipeline().slot()
    }

    /// The key of the hash in Redis that holds the offsets.
    #[must_use]
    pub fn offsets(&self) -> String {
        self.properties().remove(OFFSETS).unwrap_or_default()
    }

    /// The statement that asks a running server with [`Settings::snapshots_told`] to read these tables, `<schema>.<table>`,
    /// once more.
    #[must_use]
    pub fn asks_for_snapshot(&self, tables: &[&str]) -> String {
        let tables: Vec<_> = tables.iter().map(|table| (*table).to_owned()).collect();
        self.pipeline().asks_for_snapshot(&tables)
    }

    /// The statements that make the table of signals, if snapshots can be asked for.
    pub(super) fn signal_table(&self) -> Option<String> {
        let table = freshet_debezium::signal_table(&self.pipeline().signal_table());
        self.snapshots_told.then_some(match self.database {
            Database::Postgres => table,
            Database::MariaDb => format!("CREATE DATABASE IF NOT EXISTS {HEARTBEAT_DATABASE}; {table}"),
        })
    }

    /// Whether the database is asked to write heartbeats.
    pub(super) fn queries(&self) -> bool {
        self.pipeline().queries()
    }

    /// The same as Freshet's own generator has it: what tests run is what users get.
    fn pipeline(&self) -> Pipeline {
        Pipeline {
            database: self.database,
            prefix: self.prefix.clone(),
            format: self.format,
            routing: match self.routing {
                Routing::PerTable => freshet_debezium::Routing::PerTable,
                Routing::OneStream => freshet_debezium::Routing::OneStream(format!("{}.cdc", self.prefix)),
            },
            captured: if self.tables.is_empty() {
                Captured::All
            } else {
                Captured::These(self.tables.clone())
            },
            hydrated: Vec::new(),
            ranked: self.snapshots_told.then(|| self.tables.clone()),
            reads_values: true,
            heartbeat: self.heartbeat,
            beat: self.interval,
            heartbeat_database: HEARTBEAT_DATABASE.to_owned(),
            publication: Publication::MadeByDebezium,
            source: DatabaseServer::unknown(self.database),
            sink: generator::Sink::Redis(RedisServer::unknown()),
        }
    }

    /// All properties that don't depend on where Redis and Postgres listen, sorted by name.
    #[must_use]
    pub fn properties(&self) -> BTreeMap<String, String> {
        self.properties_of(&self.pipeline(), |_| {})
    }

    /// The same for any sink.
    #[must_use]
    pub fn properties_into<'a>(&self, sink: impl Into<Sink<'a>>) -> BTreeMap<String, String> {
        let sink = sink.into();
        let pipeline = Pipeline { sink: sink.generated(), ..self.pipeline() };
        self.properties_of(&pipeline, |properties| sink.replace_behaviour(properties, &self.prefix))
    }

    fn properties_of(
        &self,
        pipeline: &Pipeline,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> BTreeMap<String, String> {
        let behaviour = pipeline.behaviour();
        let mut properties: BTreeMap<_, _> =
            behaviour.into_iter().map(|property| (property.name.to_owned(), property.value)).collect();
        change(&mut properties);
        let history = "debezium.source.schema.history.internal";
        if properties.remove(&format!("{history}.redis.key")).is_some() {
            properties
                .insert(history.to_owned(), "io.debezium.storage.file.history.FileSchemaHistory".to_owned());
            properties.insert(format!("{history}.file.filename"), "history".to_owned());
        }
        properties.extend(self.overrides.clone());
        properties
    }

    /// The properties file for this sink and the database on a port of 127.0.0.1, with health checks on `health`; what
    /// else it names is written into `folder`.
    pub(super) fn file(&self, sink: Sink<'_>, database: u16, health: u16, folder: &Path) -> Result<String> {
        let user = match self.database {
            Database::Postgres => "postgres",
            Database::MariaDb => "root",
        };
        let mut pipeline = self.pipeline();
        pipeline.source = DatabaseServer {
            host: "127.0.0.1".to_owned(),
            port: database,
            name: "postgres".to_owned(),
            user: user.to_owned(),
            // Neither server asks for it, and Debezium wants one.
            password: String::new(),
        };
        pipeline.sink = sink.generated();
        let mut all: BTreeMap<_, _> = pipeline
            .places()
            .into_iter()
            .map(|property| (property.name.to_owned(), property.value))
            .collect();
        sink.replace_place(&mut all, folder)?;
        all.insert("quarkus.http.host".to_owned(), "127.0.0.1".to_owned());
        all.insert("quarkus.http.port".to_owned(), health.to_string());
        all.extend(self.properties_into(sink));
        let line = |(name, value): (&String, &String)| format!("{name}={}", escaped(value));
        Ok(all.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(settings: &Settings, name: &str) -> Option<String> {
        settings.properties().remove(name)
    }

    #[test]
    fn the_default_is_what_is_recommended() {
        let settings = Settings::default();
        for (name, value) in [
            ("debezium.format.value.replace.null.with.default", "false"),
            ("debezium.source.skipped.operations", "none"),
            ("debezium.sink.redis.skip.heartbeat.messages", "false"),
            ("debezium.transforms.one.replacement", "shop.cdc"),
            ("debezium.source.poll.interval.ms", "5"),
        ] {
            assert_eq!(property(&settings, name).as_deref(), Some(value), "{name}");
        }
    }

    #[test]
    fn heartbeats_are_what_was_asked_for() {
        let of = |heartbeat| Settings::default().heartbeat(heartbeat, Duration::from_millis(200));
        let interval = "debezium.source.heartbeat.interval.ms";
        let query = "debezium.source.heartbeat.action.query";
        let skip = "debezium.sink.redis.skip.heartbeat.messages";
        let seen = |heartbeat| {
            let settings = of(heartbeat);
            (
                property(&settings, interval).is_some(),
                property(&settings, query).is_some(),
                property(&settings, skip).unwrap(),
            )
        };
        assert_eq!(seen(Heartbeat::Off), (false, false, "true".to_owned()));
        assert_eq!(seen(Heartbeat::Debezium), (true, false, "false".to_owned()));
        assert_eq!(seen(Heartbeat::Database), (true, true, "true".to_owned()));
        assert_eq!(seen(Heartbeat::Both), (true, true, "false".to_owned()));
    }

    #[test]
    fn mariadb_has_a_heartbeat_of_its_own() {
        let settings = Settings::mariadb();
        let query = property(&settings, "debezium.source.heartbeat.action.query").unwrap();
        assert!(query.starts_with("INSERT INTO shop.freshet_heartbeat"), "{query}");
        assert_eq!(property(&settings, "debezium.source.slot.name"), None);
    }

    #[test]
    fn snapshots_are_told_where_it_is_asked_for() {
        let collection = "debezium.source.signal.data.collection";
        assert_eq!(property(&Settings::default(), collection), None);
        for (settings, table) in
            [(Settings::default(), "public.freshet_signal"), (Settings::mariadb(), "shop.freshet_signal")]
        {
            let settings = settings.snapshots_told();
            assert_eq!(property(&settings, collection).as_deref(), Some(table));
            let sql = settings.asks_for_snapshot(&["inventory.a", "inventory.b"]);
            assert!(
                sql.contains(&format!("INTO {table} ")) && sql.contains("a\", \"inventory[.]b\""),
                "{sql}"
            );
        }
    }

    #[test]
    fn what_is_set_by_name_wins() {
        let settings =
            Settings::default().routing(Routing::PerTable).set("debezium.source.poll.interval.ms", "500");
        assert_eq!(property(&settings, "debezium.source.poll.interval.ms").as_deref(), Some("500"));
        assert_eq!(property(&settings, "debezium.transforms"), None);
        assert_eq!(settings.stream("inventory.product"), "shop.inventory.product");
    }
}
