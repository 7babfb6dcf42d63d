//! What one Debezium Server is to do.

use std::time::Duration;

use freshet_crds::topics::{HEARTBEAT_TABLE, SIGNAL_TABLE};

use crate::{places::DatabaseServer, sink::Sink};

/// Which database is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// PostgreSQL 14 or newer, by its own `pgoutput`.
    Postgres,
    /// MariaDB, by its row-based binlog.
    MariaDb,
}

/// How an event becomes an entry of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One field: its name is the key, its value the value. No headers. Debezium's own default.
    Compact,
    /// Fields `key` and `value`, then the headers.
    Extended,
}

/// Into which streams events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing {
    /// One stream per table, `<prefix>.<schema>.<table>`, and further ones for transactions, messages and
    /// heartbeats. Debezium's own default.
    PerTable,
    /// Everything into the stream of this name, in commit order.
    OneStream(String),
    /// Each topic is a subject of one stream of NATS, which has all of them in commit order. A heartbeat of Debezium's own
    /// is known by its subject alone there.
    Subjects,
}

/// Whose changes are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Captured {
    /// Every table's.
    All,
    /// Those of these tables, each written `schema.table` (Postgres) or `database.table` (MariaDB).
    These(Vec<String>),
}

/// What proves, while no row changes, that changes still come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Nothing.
    Off,
    /// Debezium's own timer: a heartbeat record without a position.
    Debezium,
    /// What Debezium has the database write into its log, which comes back as an event.
    Database,
    /// Both.
    Both,
}

/// Who makes the publication (Postgres).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publication {
    /// The database's owner, by [`Pipeline::statements`]: Debezium's user then need not own the tables.
    Prepared,
    /// Debezium, whose user has to own the tables, or be a superuser where all are captured.
    MadeByDebezium,
}

/// What one Debezium Server is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Which database is followed.
    pub database: Database,
    /// Debezium's `topic.prefix`: letters, digits, dots, dashes and underscores.
    pub prefix: String,
    /// How an event becomes an entry, where it goes to Redis.
    pub format: Format,
    /// Into which streams events go.
    pub routing: Routing,
    /// Whose changes are captured.
    pub captured: Captured,
    /// Those of the captured tables whose rows become cached values as events carry them.
    pub hydrated: Vec<String>,
    /// Those of the hydrated tables all of whose rows views hold. Snapshots are told of in the streams then, and can be asked
    /// for by [`Pipeline::signal_table`]. `None`: there are no such views, and neither is done.
    pub ranked: Option<Vec<String>>,
    /// Whether more is taken from events than which row has changed: values, or columns that keys are made of.
    pub reads_values: bool,
    /// What proves that changes come through.
    pub heartbeat: Heartbeat,
    /// How often it does; at least a millisecond.
    pub beat: Duration,
    /// The database of [`HEARTBEAT_TABLE`] and [`SIGNAL_TABLE`] (MariaDB).
    pub heartbeat_database: String,
    /// Who makes the publication (Postgres).
    pub publication: Publication,
    /// The database that is followed.
    pub source: DatabaseServer,
    /// What is written to.
    pub sink: Sink,
}

// === impl Pipeline ===

impl Pipeline {
    /// The name of the replication slot and of the publication (Postgres): what Postgres takes for one.
    #[must_use]
    pub fn slot(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        let mut name = format!("freshet_{}", self.prefix.chars().map(plain).collect::<String>());
        name.truncate(63);
        name
    }

    /// The id by which the binlog's server knows Debezium among its replicas (MariaDB): the same for the same prefix,
    /// and most likely another than any that people number by hand.
    #[must_use]
    pub fn server_id(&self) -> u32 {
        let hash = self
            .prefix
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        // Above what is numbered by hand, below what signed numbers end at.
        (hash >> 2) | 0x4000_0000
    }

    /// Whether the database is asked to write heartbeats.
    #[must_use]
    pub fn queries(&self) -> bool {
        matches!(self.heartbeat, Heartbeat::Database | Heartbeat::Both)
    }

    /// Whether snapshots are told of, and can be asked for.
    #[must_use]
    pub fn tells_snapshots(&self) -> bool {
        self.ranked.is_some()
    }

    /// The tables whose changes are captured, those of heartbeats and signals among them; `None`: all.
    #[must_use]
    pub fn tables(&self) -> Option<Vec<String>> {
        let Captured::These(tables) = &self.captured else { return None };
        let mut tables = tables.clone();
        if self.database == Database::MariaDb && self.queries() {
            tables.push(self.heartbeat_table());
        }
        if self.tells_snapshots() {
            tables.push(self.signal_table());
        }
        Some(tables)
    }

    /// The table of the heartbeat (MariaDB), as events name it.
    #[must_use]
    pub fn heartbeat_table(&self) -> String {
        format!("{}.{}", self.heartbeat_database, HEARTBEAT_TABLE)
    }

    /// The table that a snapshot is asked for by, as events name it.
    #[must_use]
    pub fn signal_table(&self) -> String {
        match self.database {
            // Where the heartbeat's sequence is.
            Database::Postgres => format!("public.{SIGNAL_TABLE}"),
            Database::MariaDb => format!("{}.{SIGNAL_TABLE}", self.heartbeat_database),
        }
    }
}

// === impl Database ===

impl Database {
    /// Its name, as people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "Postgres",
            Self::MariaDb => "MariaDB",
        }
    }

    /// The port it listens on unless told otherwise.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::MariaDb => 3306,
        }
    }
}
