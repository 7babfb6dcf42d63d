//! What the database needs before Debezium can follow it.

use std::collections::BTreeSet;

use freshet_crds::topics::HEARTBEAT_MESSAGES;

use crate::{Captured, Database, Pipeline, settings::pattern};

/// The sequence that numbers heartbeats (Postgres).
pub const HEARTBEAT_SEQUENCE: &str = "CREATE SEQUENCE IF NOT EXISTS public.freshet_hb";

/// Unix time in ms by MariaDB's clock.
const MARIADB_NOW: &str = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";

/// The statement that makes the table of this name for heartbeats (MariaDB).
#[must_use]
pub fn heartbeat_table(name: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {name} (id INT PRIMARY KEY, beat BIGINT NOT NULL, at_ms BIGINT NOT NULL)"
    )
}

/// The statement that makes the table of this name for signals.
#[must_use]
pub fn signal_table(name: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {name} (id VARCHAR(42) PRIMARY KEY, type VARCHAR(32) NOT NULL, data TEXT)"
    )
}

// === impl Pipeline ===

impl Pipeline {
    /// What Debezium has the database do at each heartbeat.
    #[must_use]
    pub fn heartbeat_query(&self) -> String {
        match self.database {
            // A transaction, so that its event names the commit before it: one that was lost on the way shows.
            Database::Postgres => format!(
                "SELECT pg_logical_emit_message(true, '{HEARTBEAT_MESSAGES}', nextval('public.freshet_hb') || ':' || \
                 (extract(epoch from clock_timestamp()) * 1000)::bigint)"
            ),
            Database::MariaDb => format!(
                "INSERT INTO {} VALUES (1, 1, {MARIADB_NOW}) ON DUPLICATE KEY UPDATE beat = beat + 1, at_ms = \
                 {MARIADB_NOW}",
                self.quoted(&self.heartbeat_table())
            ),
        }
    }

    /// What asks Debezium, while it runs, to read these tables once more and then to go on with the log: a statement for
    /// whoever may write to [`Pipeline::signal_table`], without its semicolon.
    #[must_use]
    pub fn asks_for_snapshot(&self, tables: &[String]) -> String {
        let id = match self.database {
            Database::Postgres => "gen_random_uuid()",
            Database::MariaDb => "UUID()",
        };
        let signals = self.signal_table();
        // Expressions, as in the list of what is captured, within JSON, within a text of SQL.
        // The signals' own table has a row at least, by which it shows that the log goes on behind the snapshot.
        let tables = tables.iter().chain([&signals]);
        let tables: Vec<_> = tables.map(|table| format!("\"{}\"", pattern(table))).collect();
        let data = format!("{{\"type\": \"blocking\", \"data-collections\": [{}]}}", tables.join(", "));
        format!("INSERT INTO {} VALUES ({id}, 'execute-snapshot', '{data}')", self.quoted(&signals))
    }

    /// The statements for the database's owner, in order and without their semicolons, the password of Debezium's user
    /// excepted: it reads `'…'`.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        let mut all = vec![self.user()];
        match self.database {
            Database::Postgres => self.for_postgres(&mut all),
            Database::MariaDb => self.for_mariadb(&mut all),
        }
        all
    }

    fn user(&self) -> String {
        let user = self.quoted_user();
        match self.database {
            Database::Postgres => format!("CREATE ROLE {user} LOGIN REPLICATION PASSWORD '…'"),
            Database::MariaDb => format!("CREATE USER {user} IDENTIFIED BY '…'"),
        }
    }

    fn for_postgres(&self, all: &mut Vec<String>) {
        let user = self.quoted_user();
        if self.queries() {
            all.push(HEARTBEAT_SEQUENCE.into());
            all.push(format!("GRANT USAGE ON SEQUENCE public.freshet_hb TO {user}"));
        }
        if self.tells_snapshots() {
            let table = self.signal_table();
            all.push(signal_table(&table));
            all.push(format!("GRANT SELECT ON {table} TO {user}"));
        }
        let Captured::These(tables) = &self.captured else { return };
        let schemas: BTreeSet<_> =
            tables.iter().map(|table| table.split('.').next().unwrap_or(table)).collect();
        for schema in schemas {
            all.push(format!("GRANT USAGE ON SCHEMA {} TO {user}", self.quoted(schema)));
        }
        let list = tables.iter().map(|table| self.quoted(table)).collect::<Vec<_>>().join(", ");
        all.push(format!("GRANT SELECT ON {list} TO {user}"));
        let list = if self.tells_snapshots() { format!("{list}, {}", self.signal_table()) } else { list };
        // A partition's change otherwise bears the partition's name, which no cache depends on.
        all.push(format!(
            "CREATE PUBLICATION {} FOR TABLE {list} WITH (publish_via_partition_root = true)",
            self.slot()
        ));
    }

    fn for_mariadb(&self, all: &mut Vec<String>) {
        let user = self.quoted_user();
        all.push(format!(
            "GRANT SELECT, RELOAD, LOCK TABLES, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}"
        ));
        if self.queries() {
            let table = self.quoted(&self.heartbeat_table());
            all.push(heartbeat_table(&table));
            all.push(format!("GRANT SELECT, INSERT, UPDATE ON {table} TO {user}"));
        }
        if self.tells_snapshots() {
            all.push(signal_table(&self.quoted(&self.signal_table())));
        }
    }

    /// What is to be known about the tables, as sentences and statements in comments.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut all = Vec::new();
        match self.database {
            Database::Postgres => {
                all.push("A table without a primary key can't be updated or deleted from while it is published, until:".into());
                all.push("  ALTER TABLE <schema.table> REPLICA IDENTITY FULL;".into());
                for table in &self.hydrated {
                    all.push(format!(
                        "{table} is hydrated. If it has values of more than 2 kB, an update of other columns leaves them \
                         out of its"
                    ));
                    all.push(
                        "event, which then only voids the row. With more log written, it carries them:"
                            .into(),
                    );
                    all.push(format!("  ALTER TABLE {} REPLICA IDENTITY FULL;", self.quoted(table)));
                }
            }
            Database::MariaDb => all.push(
                "A table without a primary key has no keys in its events: each change of it voids all of it."
                    .into(),
            ),
        }
        all
    }

    /// A name with dots, each part of it quoted where it has to be.
    pub(crate) fn quoted(&self, name: &str) -> String {
        name.split('.').map(|part| self.quoted_part(part)).collect::<Vec<_>>().join(".")
    }

    /// A name, quoted where it has to be.
    pub(crate) fn quoted_part(&self, part: &str) -> String {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let begins = part.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if begins && part.bytes().all(plain) && !RESERVED.contains(&part) {
            return part.to_owned();
        }
        match self.database {
            Database::Postgres => format!("\"{}\"", part.replace('"', "\"\"")),
            Database::MariaDb => format!("`{}`", part.replace('`', "``")),
        }
    }

    fn quoted_user(&self) -> String {
        match self.database {
            Database::Postgres => self.quoted_part(&self.source.user),
            Database::MariaDb => format!("'{}'@'%'", self.source.user),
        }
    }
}

/// Words that tables are often named after and that neither database takes without quotes.
const RESERVED: [&str; 17] = [
    "all",
    "analyze",
    "check",
    "column",
    "default",
    "desc",
    "from",
    "group",
    "index",
    "key",
    "limit",
    "order",
    "references",
    "select",
    "table",
    "user",
    "where",
];
