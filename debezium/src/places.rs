//! Where database and Redis are, as far as it is known; the rest is left to Debezium Server's environment.

use freshet_crds::{binding::UrlSpec, redis_url::Place};

use crate::Database;

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
