//! A connection to either database.

use anyhow::{Context as _, Result};
use postgres::{Client, NoTls, SimpleQueryMessage};

use super::shape::Source;
use crate::process::mariadb;

/// How to connect to a database; stays the same when it is restarted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    pub(crate) source: Source,
    pub(crate) port: u16,
}

/// An open connection.
pub(crate) enum Session {
    Postgres(Box<Client>),
    MariaDb(mariadb::Client),
}

impl Door {
    pub(crate) fn open(self) -> Result<Session> {
        Ok(match self.source {
            Source::Postgres => {
                let url = format!("postgres://postgres@127.0.0.1:{}/postgres?connect_timeout=5", self.port);
                Session::Postgres(Box::new(Client::connect(&url, NoTls).context("connecting to Postgres")?))
            }
            Source::MariaDb => {
                Session::MariaDb(mariadb::Client::connect(([127, 0, 0, 1], self.port).into())?)
            }
        })
    }
}

impl Session {
    /// Runs one statement and returns its rows as text.
    pub(crate) fn run(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        match self {
            Self::MariaDb(client) => client.query(sql),
            Self::Postgres(client) => {
                let messages = client.simple_query(sql)?;
                let rows = messages.iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                Ok(rows.map(|row| (0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()).collect())
            }
        }
    }
}
