//! Where database and Redis are, as far as it is known; the rest is left to Debezium Server's environment.

use freshet_crds::binding::UrlSpec;

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
    /// `host:port`.
    pub address: String,
    /// The database's number, if it isn't 0.
    pub database: Option<u8>,
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
            database: None,
            tls: false,
            // A password without a user is that of the user `default`.
            credentials: Some(("${REDIS_USER:default}".into(), "${REDIS_PASSWORD}".into())),
        }
    }

    /// The one that a binding's source is read from. Of a URL in a Secret, or one with several hosts, nothing is known.
    #[must_use]
    pub fn of(url: &UrlSpec) -> Self {
        match url {
            UrlSpec::Plain(url) => Self::at(url).unwrap_or_else(Self::unknown),
            UrlSpec::Secret(_) => Self::unknown(),
        }
    }

    fn at(url: &str) -> Option<Self> {
        let (tls, rest) = match url.split_once("://")? {
            ("redis", rest) => (false, rest),
            ("rediss", rest) => (true, rest),
            _ => return None,
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() || host.contains(['@', ',', '$']) {
            return None;
        }
        let database = match path.trim_end_matches('/') {
            "" | "0" => None,
            number => Some(number.parse().ok()?),
        };
        // The last colon, unless it is one of an IPv6 address in brackets.
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let address = if has_port { host.to_owned() } else { format!("{host}:6379") };
        Some(Self { address, database, tls, credentials: None })
    }
}
