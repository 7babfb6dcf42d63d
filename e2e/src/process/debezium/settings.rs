//! What a Debezium Server is told, as typed settings and as its properties file.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::Redis;

/// How an event becomes a Redis entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One field: its name is the key, its value the value. No headers. Debezium's own default.
    Compact,
    /// Fields `key` and `value`, then the headers.
    Extended,
}

/// Into which streams events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// One stream per table, `<prefix>.<schema>.<table>`, and further ones for transactions, messages and
    /// heartbeats. Debezium's own default.
    PerTable,
    /// Everything into `<prefix>.cdc`, in commit order.
    OneStream,
}

/// What proves, while no row changes, that changes still come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Nothing.
    Off,
    /// Debezium's own timer: a heartbeat record without a position.
    Debezium,
    /// A message that Debezium has the database write into its log, which comes back as an event.
    Database,
    /// Both.
    Both,
}

/// Whose changes are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connector {
    /// A Postgres, by logical replication.
    Postgres,
    /// A MariaDB, by its binary log.
    MariaDb,
}

/// What a Debezium Server is told. The default is what Freshet recommends: extended format without schemas, one
/// stream, nulls as nulls, no tombstones, truncates and transactions included, both heartbeats each second; topic
/// prefix `shop`; all tables of a Postgres.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) connector: Connector,
    pub(super) prefix: String,
    pub(super) format: Format,
    pub(super) routing: Routing,
    pub(super) heartbeat: Heartbeat,
    pub(super) interval: Duration,
    pub(super) tables: Vec<String>,
    /// Later properties win over those derived from the fields above.
    pub(super) overrides: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connector: Connector::Postgres,
            prefix: "shop".to_owned(),
            format: Format::Extended,
            routing: Routing::OneStream,
            heartbeat: Heartbeat::Both,
            interval: Duration::from_secs(1),
            tables: Vec::new(),
            overrides: BTreeMap::new(),
        }
    }
}

const OFFSETS: &str = "debezium.source.offset.storage.redis.key";

/// The sequence behind [`HEARTBEAT_QUERY`]; made by [`super::Debezium`] before its start.
pub const HEARTBEAT_SEQUENCE: &str = "CREATE SEQUENCE IF NOT EXISTS public.freshet_hb";

/// The heartbeat that goes through the database's log: message prefix `freshet-hb`, content
/// `<sequence number>:<unix time in ms by the database's clock>`.
pub const HEARTBEAT_QUERY: &str = "SELECT pg_logical_emit_message(false, 'freshet-hb', \
     nextval('public.freshet_hb') || ':' || (extract(epoch from clock_timestamp()) * 1000)::bigint)";

/// What makes the table behind MariaDB's heartbeat; in a database of its own, which must be captured, too.
pub const MARIADB_HEARTBEAT_TABLE: &str = "CREATE DATABASE IF NOT EXISTS freshet; \
     CREATE TABLE IF NOT EXISTS freshet.freshet_heartbeat (id INT PRIMARY KEY, beat BIGINT, at_ms BIGINT)";

/// The heartbeat that goes through MariaDB's log: a row's update with a sequence number and the time.
pub const MARIADB_HEARTBEAT_QUERY: &str = "INSERT INTO freshet.freshet_heartbeat VALUES (1, 1, \
     ROUND(UNIX_TIMESTAMP(SYSDATE(3)) * 1000)) ON DUPLICATE KEY UPDATE beat = beat + 1, at_ms = VALUES(at_ms)";

impl Settings {
    /// The recommended settings for a MariaDB. The history of its tables is kept in a file of the server's folder.
    #[must_use]
    pub fn mariadb() -> Self {
        Self { connector: Connector::MariaDb, ..Self::default() }
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

    /// Sets any property, by its whole name; wins over all else.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.overrides.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The stream that holds the events of `table` (`<schema>.<table>`).
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
        format!("debezium_{}", self.prefix)
    }

    /// The key of the hash in Redis that holds the offsets: of each server its own, because a server that starts
    /// takes a hash for its own as a whole, and writes it back so.
    #[must_use]
    pub fn offsets(&self) -> String {
        self.overrides.get(OFFSETS).cloned().unwrap_or_else(|| "metadata:debezium:offsets".to_owned())
    }

    /// Whether the database is asked to write heartbeats.
    pub(super) fn queries(&self) -> bool {
        matches!(self.heartbeat, Heartbeat::Database | Heartbeat::Both)
    }

    /// All properties that don't depend on where Redis and Postgres listen, sorted by name.
    #[must_use]
    pub fn properties(&self) -> BTreeMap<String, String> {
        let mut properties = BTreeMap::new();
        let mut set =
            |name: &str, value: &str| properties.insert(format!("debezium.{name}"), value.to_owned());
        set("sink.type", "redis");
        set(
            "sink.redis.message.format",
            match self.format {
                Format::Compact => "compact",
                Format::Extended => "extended",
            },
        );
        let skip = matches!(self.heartbeat, Heartbeat::Off | Heartbeat::Database);
        set("sink.redis.skip.heartbeat.messages", &skip.to_string());
        // How much room the sink wants in a Redis with a memory limit; its default suits gigabytes.
        set("sink.redis.buffer.fill.rate", "1000");
        set("format.key.schemas.enable", "false");
        set("format.value.schemas.enable", "false");
        set("format.header.schemas.enable", "false");
        set("format.value.replace.null.with.default", "false");
        set("source.topic.prefix", &self.prefix);
        if !self.tables.is_empty() {
            set("source.table.include.list", &self.tables.join(","));
        }
        match self.connector {
            Connector::Postgres => {
                set("source.connector.class", "io.debezium.connector.postgresql.PostgresConnector");
                set("source.plugin.name", "pgoutput");
                set("source.slot.name", &self.slot());
                set("source.publication.name", &self.slot());
                let mode = if self.tables.is_empty() { "all_tables" } else { "filtered" };
                set("source.publication.autocreate.mode", mode);
            }
            Connector::MariaDb => {
                set("source.connector.class", "io.debezium.connector.mariadb.MariaDbConnector");
                set("source.database.server.id", "5701");
                set("source.schema.history.internal", "io.debezium.storage.file.history.FileSchemaHistory");
                set("source.schema.history.internal.file.filename", "history");
            }
        }
        set("source.skipped.operations", "none");
        set("source.tombstones.on.delete", "false");
        set("source.provide.transaction.metadata", "true");
        set("source.decimal.handling.mode", "string");
        set("source.poll.interval.ms", "5");
        set("source.offset.storage", "io.debezium.storage.redis.offset.RedisOffsetBackingStore");
        set("source.offset.flush.interval.ms", "0");
        if self.heartbeat != Heartbeat::Off {
            set("source.heartbeat.interval.ms", &self.interval.as_millis().to_string());
        }
        if self.queries() {
            let query = match self.connector {
                Connector::Postgres => HEARTBEAT_QUERY,
                Connector::MariaDb => MARIADB_HEARTBEAT_QUERY,
            };
            set("source.heartbeat.action.query", query);
        }
        if self.routing == Routing::OneStream {
            set("transforms", "one");
            set("transforms.one.type", "org.apache.kafka.connect.transforms.RegexRouter");
            set("transforms.one.regex", ".*");
            set("transforms.one.replacement", &format!("{}.cdc", self.prefix));
        }
        properties.extend(self.overrides.clone());
        properties
    }

    /// The properties file for this Redis and the database on a port of 127.0.0.1, with health checks on `health`.
    pub(super) fn file(&self, redis: &Redis, database: u16, health: u16) -> String {
        let user = match self.connector {
            Connector::Postgres => "postgres",
            Connector::MariaDb => "root",
        };
        let mut all: BTreeMap<String, String> = [
            ("debezium.sink.redis.address", redis.address()),
            ("debezium.source.database.hostname", "127.0.0.1".to_owned()),
            ("debezium.source.database.port", database.to_string()),
            ("debezium.source.database.user", user.to_owned()),
            // Neither server asks for it, and Debezium wants one.
            ("debezium.source.database.password", String::new()),
            ("quarkus.http.host", "127.0.0.1".to_owned()),
            ("quarkus.http.port", health.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(password) = redis.password() {
            all.insert("debezium.sink.redis.password".to_owned(), password.to_owned());
        }
        if self.connector == Connector::Postgres {
            all.insert("debezium.source.database.dbname".to_owned(), "postgres".to_owned());
        }
        all.extend(self.properties());
        // The file's syntax takes a backslash for an escape.
        let line = |(name, value): (&String, &String)| format!("{name}={}", value.replace('\\', "\\\\"));
        all.iter().map(line).collect::<Vec<_>>().join("\n")
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
        assert!(query.starts_with("INSERT INTO freshet.freshet_heartbeat"), "{query}");
        assert_eq!(property(&settings, "debezium.source.slot.name"), None);
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
