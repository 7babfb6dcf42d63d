//! Where the database is, as far as it is known; the rest is left to Debezium Server's environment.

use crate::{Database, Part, Pipeline, Property, settings::List};

/// What Debezium Server replaces by the database user's password, from its environment. No file has the password.
pub const PASSWORD: &str = "${DEBEZIUM_PASSWORD}";

/// The database that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseServer {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database's name (Postgres).
    pub name: String,
    /// Debezium's user there.
    pub user: String,
    /// That user's password, or where it is taken from.
    pub password: String,
}

// === impl Pipeline ===

impl Pipeline {
    /// The settings that say where database and sink are, and where the server itself is.
    #[must_use]
    pub fn places(&self) -> Vec<Property> {
        let mut list = List(Vec::new());
        self.sink.places(&mut list);
        let server = &self.source;
        for (name, value, protects) in [
            ("debezium.source.database.hostname", &server.host, "The primary: its log is what is followed."),
            ("debezium.source.database.port", &server.port.to_string(), "Where that server listens."),
        ] {
            list.add(Part::Source, name, value, protects);
        }
        if self.database == Database::Postgres {
            list.add(
                Part::Source,
                "debezium.source.database.dbname",
                &server.name,
                "The one database whose tables these are.",
            );
        }
        list.add(
            Part::Source,
            "debezium.source.database.user",
            &server.user,
            "A role of Debezium's own: the grants are above.",
        );
        list.add(
            Part::Source,
            "debezium.source.database.password",
            &server.password,
            "From the environment: no file holds it.",
        );
        for (name, value, protects) in [
            (
                "quarkus.http.port",
                "8080",
                "Where probes ask for its health: /q/health/live and /q/health/ready.",
            ),
            ("quarkus.log.console.json", "false", "A log for people: one line per event, not one object."),
        ] {
            list.add(Part::Server, name, value, protects);
        }
        list.0
    }
}

// === impl DatabaseServer ===

impl DatabaseServer {
    /// One of which nothing is known.
    #[must_use]
    pub fn unknown(database: Database) -> Self {
        Self {
            host: "${DATABASE_HOST}".into(),
            port: database.port(),
            name: "${DATABASE_NAME}".into(),
            user: "debezium".into(),
            password: PASSWORD.into(),
        }
    }
}
