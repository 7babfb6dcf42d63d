//! Where database and Redis are, as far as it is known; the rest is left to Debezium Server's environment.

use freshet_crds::{binding::UrlSpec, redis_url::Place};

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

/// The Redis that is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisServer {
    /// `host:port`, in a Cluster several with commas between.
    pub address: String,
    /// Whether it is a Cluster.
    pub cluster: bool,
    /// The database's number, if it isn't 0.
    pub database: Option<u16>,
    /// Whether it is reached by TLS.
    pub tls: bool,
    /// The user and the password, or where they are taken from.
    pub credentials: Option<(String, String)>,
}

// === impl Pipeline ===

impl Pipeline {
    /// The settings that say where database and Redis are, and where the server itself is.
    #[must_use]
    pub fn places(&self) -> Vec<Property> {
        let mut list = List(Vec::new());
        let sink = &self.sink;
        list.add(
            Part::Sink,
            "debezium.sink.redis.address",
            &sink.address,
            "The Redis that the binding's source names.",
        );
        if sink.cluster {
            list.add(
                Part::Sink,
                "debezium.sink.redis.cluster.enabled",
                "true",
                "A Cluster: any of these nodes tells which one has the stream.",
            );
        }
        if let Some(number) = sink.database {
            list.add(
                Part::Sink,
                "debezium.sink.redis.db.index",
                &number.to_string(),
                "Its database, as in the binding's URL.",
            );
        }
        if let Some((user, password)) = &sink.credentials {
            list.add(
                Part::Sink,
                "debezium.sink.redis.user",
                user,
                "From the environment; without REDIS_USER it is Redis's default user.",
            );
            list.add(
                Part::Sink,
                "debezium.sink.redis.password",
                password,
                "From the environment: no file holds it.",
            );
        }
        if sink.tls {
            list.add(
                Part::Sink,
                "debezium.sink.redis.ssl.enabled",
                "true",
                "As rediss:// says. A CA of your own: debezium.sink.redis.ssl.truststore.path, .type and .password.",
            );
        }
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

// === impl RedisServer ===

impl RedisServer {
    /// One of which nothing is known but that it asks for credentials.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            address: "${REDIS_ADDRESS}".into(),
            cluster: false,
            database: None,
            tls: false,
            // A password without a user is that of the user `default`.
            credentials: Some(("${REDIS_USER:default}".into(), "${REDIS_PASSWORD}".into())),
        }
    }

    /// The one that a binding's source is read from. Of a URL in a Secret, or one with Sentinels, whom Debezium doesn't
    /// know, nothing is known but, of the latter, whether it is TLS.
    #[must_use]
    pub fn of(url: &UrlSpec) -> Self {
        let UrlSpec::Plain(url) = url else { return Self::unknown() };
        match &url.place {
            Place::Server(at) => Self {
                address: at.to_string(),
                cluster: false,
                database: Some(url.database).filter(|number| *number > 0),
                tls: url.tls,
                credentials: None,
            },
            Place::Cluster(nodes) => Self {
                address: nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
                cluster: true,
                database: None,
                tls: url.tls,
                credentials: None,
            },
            Place::Sentinel { .. } => Self { tls: url.tls, ..Self::unknown() },
        }
    }
}
