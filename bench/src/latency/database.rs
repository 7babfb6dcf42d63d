//! The database whose rows change.

use std::fmt;

use anyhow::Result;
use freshet_e2e::process::debezium::Settings;
use freshet_e2e::process::{Debezium, MariaDb, Postgres, Redis, mariadb};

/// The table.
pub(super) const TABLE: &str = "shop.item";

/// Rows of the background, from this id on.
pub(super) const BACKGROUND: usize = 1_000_000;

/// How many of them there are.
pub(super) const BACKGROUND_ROWS: usize = 1000;

/// Which database is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// Postgres.
    Postgres,
    /// MariaDB.
    MariaDb,
}

/// It runs.
pub(super) enum Server {
    Postgres(Postgres),
    MariaDb(MariaDb),
}

/// A connection to it; every statement commits by itself.
pub(super) enum Session {
    Postgres(Box<postgres::Client>),
    MariaDb(mariadb::Client),
}

impl Server {
    pub(super) fn start(database: Database) -> Result<Self> {
        Ok(match database {
            Database::Postgres => Self::Postgres(Postgres::start()?),
            Database::MariaDb => Self::MariaDb(MariaDb::start()?),
        })
    }

    /// Makes the table, with rows of the ids from 1 to `rows` and those of the background.
    pub(super) fn prepare(&self, rows: usize) -> Result<()> {
        let schema = match self {
            Self::Postgres(_) => "CREATE SCHEMA shop",
            Self::MariaDb(_) => "CREATE DATABASE shop",
        };
        let ids = (1..=rows).chain(BACKGROUND..BACKGROUND + BACKGROUND_ROWS);
        let rows: Vec<String> = ids.map(|id| format!("({id}, 'first')")).collect();
        let mut session = self.session()?;
        session.execute(schema)?;
        session.execute(&format!("CREATE TABLE {TABLE} (id INT PRIMARY KEY, val VARCHAR(64) NOT NULL)"))?;
        session.execute(&format!("INSERT INTO {TABLE} VALUES {}", rows.join(", ")))
    }

    /// Starts a Debezium that follows it.
    pub(super) fn followed(&self, settings: Settings, redis: &Redis) -> Result<Debezium> {
        match self {
            Self::Postgres(server) => Debezium::start(settings, server, redis),
            Self::MariaDb(server) => Debezium::start(settings, server, redis),
        }
    }

    pub(super) fn session(&self) -> Result<Session> {
        Ok(match self {
            Self::Postgres(server) => Session::Postgres(Box::new(server.client()?)),
            Self::MariaDb(server) => Session::MariaDb(server.client()?),
        })
    }
}

impl Session {
    /// Gives a row a value; the change is committed when this returns.
    pub(super) fn change(&mut self, id: usize, value: &str) -> Result<()> {
        self.execute(&format!("UPDATE {TABLE} SET val = '{value}' WHERE id = {id}"))
    }

    fn execute(&mut self, sql: &str) -> Result<()> {
        match self {
            Self::Postgres(client) => Ok(client.batch_execute(sql)?),
            Self::MariaDb(client) => client.execute(sql),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "Postgres",
            Self::MariaDb => "MariaDB",
        })
    }
}
