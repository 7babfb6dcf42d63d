//! The URL of a source's Redis: one server, the master that Sentinels name, or the node of a Cluster that has the
//! stream.
//!
//! ```text
//! redis://[user:password@]host[:port][/database]
//! redis+sentinel://[user:password@]host[:port],…/service[/database][?sentinelUser=…&sentinelPassword=…]
//! redis+cluster://[user:password@]host[:port],…
//! ```
//!
//! `rediss` instead of `redis` means TLS, towards Sentinels as well. Whatever isn't a letter or digit is
//! percent-encoded in user and password.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;

pub use crate::host_port::HostPort;
use crate::host_port::{InvalidHostPort, host_port_rule, is_name};

/// The port of a server or of a Cluster's node unless told otherwise.
pub const SERVER_PORT: u16 = 6379;
/// The port of a Sentinel unless told otherwise.
pub const SENTINEL_PORT: u16 = 26379;
/// The forms of a URL that carries no credentials, in words.
pub(crate) const URL_FORM: &str = "url is redis://host[:port][/database], or with redis+sentinel://host[:port],…/service[/database] the \
                                   master that Sentinels name, or with redis+cluster://host[:port],… a Cluster; rediss instead of redis means TLS";
/// Why a Cluster needs `stream`.
pub(crate) const CLUSTER_NEEDS_STREAM: &str = "a Cluster goes with stream, not with topicPrefix: one stream is on one node, while one per table \
                                               is on many, and what several servers say has no common order";
/// Why a Cluster has no channels.
pub(crate) const CLUSTER_LOSES: &str = "redisPubSub doesn't go with a Cluster, whose nodes hand messages on to each other and lose them without a word: use redisStream";
/// Why certificates need TLS.
pub(crate) const CERTIFICATES_NEED_TLS: &str =
    "caFrom and clientCertificateFrom go with TLS: write rediss instead of redis in the URL";

/// A URL taken apart. Its `Debug` keeps the passwords to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// Whether connections are encrypted.
    pub tls: bool,
    /// Which server it is.
    pub place: Place,
    /// The credentials of the server that has the streams.
    pub credentials: Credentials,
    /// The database's number; zero in a Cluster.
    pub database: u16,
}

/// Which server a URL means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This one.
    Server(HostPort),
    /// The master of a service, which changes.
    Sentinel {
        /// Who is asked for it; at least one.
        sentinels: Vec<HostPort>,
        /// The service's name, as in `sentinel monitor <service> …`.
        service: String,
        /// The credentials of the Sentinels.
        credentials: Credentials,
    },
    /// The node that has the stream, which changes. Any of these knows it; at least one.
    Cluster(Vec<HostPort>),
}

/// What a client says to be let in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user; `default` where there is only a password.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
}

/// Why a text is no URL of a Redis. No text of it carries a part of the URL, which may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It begins with something else.
    #[error(
        "it begins with none of redis://, redis+sentinel:// and redis+cluster://, or the same with rediss for TLS"
    )]
    Scheme,
    /// A host is missing or has other characters than hosts have.
    #[error(
        "its host isn't one (in a user or password, write %2F for a slash, %3F for ?, %23 for #, %40 for @)"
    )]
    Host,
    /// A port isn't a number from 1 to 65535.
    #[error(
        "its port isn't a number from 1 to 65535 (in a user or password, write %2F for a slash, %3F for ?, %40 for @)"
    )]
    Port,
    /// Several hosts where one is meant.
    #[error("redis:// has one host: several go with redis+sentinel:// or redis+cluster://")]
    Hosts,
    /// The database isn't a number.
    #[error("its database isn't a number of at most four digits")]
    Database,
    /// A Cluster has only one database.
    #[error("a Cluster has no databases but 0")]
    ClusterDatabase,
    /// Sentinel without a service.
    #[error(
        "redis+sentinel://host[:port],…/service is missing the service's name, which has letters, digits, dots, dashes and underscores"
    )]
    Service,
    /// A user without a password, or something that isn't percent-encoded text.
    #[error("its credentials aren't user:password or :password, percent-encoded")]
    Credentials,
    /// Something behind a question mark that means nothing here.
    #[error(
        "behind its question mark are others than sentinelUser and sentinelPassword, which go with redis+sentinel://"
    )]
    Query,
    /// Something behind a `#`.
    #[error("it has a fragment: write %23 for # in a password; TLS always checks certificates")]
    Fragment,
}

// === impl RedisUrl ===

impl RedisUrl {
    /// Whether it carries credentials, or has room for them: such a URL belongs in a Secret.
    pub(crate) fn is_secret(text: &str) -> bool {
        text.contains(['@', '?'])
    }

    /// Whether it means a Cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.place, Place::Cluster(_))
    }
}

impl FromStr for RedisUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidUrl::Scheme)?;
        let (tls, kind) = if let Some(kind) = scheme.strip_prefix("rediss") {
            (true, kind)
        } else {
            (false, scheme.strip_prefix("redis").ok_or(InvalidUrl::Scheme)?)
        };
        if rest.contains('#') {
            return Err(InvalidUrl::Fragment);
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        if query.is_some() && kind != "+sentinel" {
            return Err(InvalidUrl::Query);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
        let credentials = user.map_or(Ok(Credentials::default()), credentials)?;
        let (place, database) = match kind {
            "" => {
                let mut hosts = HostPort::read_list(hosts, SERVER_PORT)?;
                let host = hosts.pop().ok_or(InvalidUrl::Host)?;
                if !hosts.is_empty() {
                    return Err(InvalidUrl::Hosts);
                }
                (Place::Server(host), path)
            }
            "+sentinel" => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() || !service.bytes().all(is_name) {
                    return Err(InvalidUrl::Service);
                }
                let place = Place::Sentinel {
                    sentinels: HostPort::read_list(hosts, SENTINEL_PORT)?,
                    service: service.to_owned(),
                    credentials: query.map_or(Ok(Credentials::default()), sentinel_credentials)?,
                };
                (place, database)
            }
            "+cluster" if !matches!(path, "" | "0") => return Err(InvalidUrl::ClusterDatabase),
            "+cluster" => (Place::Cluster(HostPort::read_list(hosts, SERVER_PORT)?), ""),
            _ => return Err(InvalidUrl::Scheme),
        };
        Ok(Self { tls, place, credentials, database: number(database)? })
    }
}

fn number(database: &str) -> Result<u16, InvalidUrl> {
    if database.len() > 4 || !database.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidUrl::Database);
    }
    Ok(database.parse().unwrap_or_default())
}

fn credentials(text: &str) -> Result<Credentials, InvalidUrl> {
    let (user, password) = text.split_once(':').ok_or(InvalidUrl::Credentials)?;
    let (user, password) = (decoded(user)?, decoded(password)?);
    if password.is_empty() {
        return Err(InvalidUrl::Credentials);
    }
    Ok(Credentials { user: Some(user).filter(|user| !user.is_empty()), password: Some(password) })
}

fn sentinel_credentials(query: &str) -> Result<Credentials, InvalidUrl> {
    let mut found = Credentials::default();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').ok_or(InvalidUrl::Query)?;
        let place = match name {
            "sentinelUser" => &mut found.user,
            "sentinelPassword" => &mut found.password,
            _ => return Err(InvalidUrl::Query),
        };
        if place.replace(decoded(value)?).is_some() {
            return Err(InvalidUrl::Query);
        }
    }
    if found.password.as_ref().is_none_or(String::is_empty) {
        return Err(InvalidUrl::Credentials);
    }
    Ok(found)
}

fn decoded(text: &str) -> Result<String, InvalidUrl> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| InvalidUrl::Credentials)
}

// === impl InvalidUrl ===

impl From<InvalidHostPort> for InvalidUrl {
    fn from(why: InvalidHostPort) -> Self {
        match why {
            InvalidHostPort::Host => Self::Host,
            InvalidHostPort::Port => Self::Port,
        }
    }
}

// === impl Credentials ===

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "…");
        f.debug_struct("Credentials").field("user", &self.user).field("password", &password).finish()
    }
}

/// The CRD's rule for a URL without credentials: accepts what [`RedisUrl::from_str`] does.
pub(crate) fn url_rule(this: &str) -> String {
    const NAME: &str = "[A-Za-z0-9._-]+";
    let host = host_port_rule();
    let hosts = format!("{host}(,{host})*");
    format!(
        "{this}.matches('^rediss?(://{host}(/[0-9]{{0,4}})?|[+]sentinel://{hosts}/{NAME}(/[0-9]{{0,4}})?|[+]cluster://{hosts}(/0?)?)$')"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> HostPort {
        HostPort { host: host.into(), port }
    }

    #[test]
    fn one_server() {
        let url: RedisUrl = "rediss://app:p%40ss%2F@redis.shop:6380/3".parse().unwrap();
        assert!(url.tls);
        assert_eq!(url.place, Place::Server(at("redis.shop", 6380)));
        assert_eq!(url.credentials.user.as_deref(), Some("app"));
        assert_eq!(url.credentials.password.as_deref(), Some("p@ss/"));
        assert_eq!(url.database, 3);
        assert!(!format!("{url:?}").contains("p@ss"), "{url:?}");
        let url: RedisUrl = "redis://[fd00::1]".parse().unwrap();
        assert_eq!(url.place, Place::Server(at("fd00::1", SERVER_PORT)));
        assert_eq!(at("fd00::1", 1).to_string(), "[fd00::1]:1");
    }

    #[test]
    fn the_master_that_sentinels_name() {
        let url: RedisUrl =
            "redis+sentinel://:pw@a,b:5000,[::1]/mymaster/2?sentinelUser=s&sentinelPassword=q%26"
                .parse()
                .unwrap();
        let Place::Sentinel { sentinels, service, credentials } = url.place else { panic!() };
        assert_eq!(sentinels, [at("a", SENTINEL_PORT), at("b", 5000), at("::1", SENTINEL_PORT)]);
        assert_eq!(service, "mymaster");
        assert_eq!(credentials, Credentials { user: Some("s".into()), password: Some("q&".into()) });
        assert_eq!(url.credentials, Credentials { user: None, password: Some("pw".into()) });
        assert_eq!((url.tls, url.database), (false, 2));
    }

    #[test]
    fn a_cluster() {
        let url: RedisUrl = "rediss+cluster://a,b:7000/0".parse().unwrap();
        assert_eq!(url.place, Place::Cluster(vec![at("a", SERVER_PORT), at("b", 7000)]));
        assert!(url.tls && url.is_cluster());
    }

    #[test]
    fn what_is_none_is_told_without_it() {
        for (text, fault) in [
            ("hush", InvalidUrl::Scheme),
            ("http://hush", InvalidUrl::Scheme),
            ("redis+hush://a", InvalidUrl::Scheme),
            ("redis://", InvalidUrl::Host),
            ("redis://:hush", InvalidUrl::Host),
            ("redis://:hu/sh@a", InvalidUrl::Host),
            ("redis://:hush@", InvalidUrl::Host),
            ("redis://[::1", InvalidUrl::Host),
            ("redis://[::1]6", InvalidUrl::Host),
            ("redis://a:0", InvalidUrl::Port),
            ("redis://a:65536", InvalidUrl::Port),
            ("redis://a:", InvalidUrl::Port),
            ("redis://a,b", InvalidUrl::Hosts),
            ("redis://a/x", InvalidUrl::Database),
            ("redis://a/12345", InvalidUrl::Database),
            ("redis+cluster://a/1", InvalidUrl::ClusterDatabase),
            ("redis+sentinel://a", InvalidUrl::Service),
            ("redis+sentinel://a/m m", InvalidUrl::Service),
            ("redis://hush@a", InvalidUrl::Credentials),
            ("redis://hush:@a", InvalidUrl::Credentials),
            ("redis://:%FF@a", InvalidUrl::Credentials),
            ("redis+sentinel://a/m?sentinelUser=hush", InvalidUrl::Credentials),
            ("redis://a?sentinelPassword=hush", InvalidUrl::Query),
            ("redis+sentinel://a/m?password=hush", InvalidUrl::Query),
            ("rediss://a#insecure", InvalidUrl::Fragment),
            ("redis://:hu#sh@a", InvalidUrl::Fragment),
        ] {
            assert_eq!(text.parse::<RedisUrl>().unwrap_err(), fault, "{text}");
            assert!(!fault.to_string().contains("hush"));
        }
    }
}
