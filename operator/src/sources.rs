//! Whether a binding's sources can be reached: the operator's own AUTH, PING and XINFO.

use std::{collections::BTreeSet, fmt, io, net::SocketAddr, time::Duration};

use names::{RESOLV_CONF, is_temporary, names};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue as _, IntoConnectionInfo as _, RedisError,
    ServerErrorKind, Value, aio::MultiplexedConnection, io::AsyncDNSResolver,
};

/// How long one source has to answer everything.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// So many streams are looked at; the rest will be like them.
const STREAMS: usize = 16;

/// A source to be probed. Its `Debug` keeps the URL to itself, which may carry a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The source's name in the binding.
    pub name: String,
    /// Its URL, with credentials.
    pub url: String,
    /// The streams that the sidecars will follow.
    pub streams: BTreeSet<String>,
}

/// A source that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The streams that aren't there yet: Debezium makes them with their first event.
    pub absent: Vec<String>,
}

/// Why a source can't be used. No text of it carries a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// The Secret isn't there.
    #[error("there is no Secret {0}")]
    NoSecret(String),
    /// The Secret has no such key, or not as text.
    #[error("Secret {0} has no key {1} with a text")]
    NoSecretKey(String, String),
    /// The Secret's value isn't a URL that we can use.
    #[error(
        "the URL in the Secret isn't redis://[user:password@]host[:port][/database]; TLS is not supported yet"
    )]
    InvalidUrl,
    /// The host's name has no address.
    #[error("host {0} can't be resolved")]
    NoAddress(String),
    /// No answer in time.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Timeout,
    /// No connection, or one that broke.
    #[error("no connection: {0}")]
    NoConnection(String),
    /// Wrong user or password, or none where one is needed.
    #[error("Redis refuses the credentials: {0}")]
    Refused(String),
    /// The user may not do what sidecars need.
    #[error("Redis doesn't permit it: {0}")]
    NotPermitted(String),
    /// A key with a stream's name holds something else.
    #[error("{0} is not a stream")]
    NotAStream(String),
    /// It is older than 7.0.
    #[error("Redis is older than 7.0: streams don't count their entries")]
    TooOld,
    /// It said something else.
    #[error("Redis says: {0}")]
    Other(String),
}

// === impl Target ===

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// Connects as a sidecar of a pod in `namespace` would, and asks for the streams.
pub async fn probe(target: &Target, namespace: &str) -> Result<Reached, Unreachable> {
    tokio::time::timeout(DEADLINE, ask(target, namespace)).await.unwrap_or(Err(Unreachable::Timeout))
}

async fn ask(target: &Target, namespace: &str) -> Result<Reached, Unreachable> {
    let info = target.url.as_str().into_connection_info().map_err(|_| Unreachable::InvalidUrl)?;
    if !target.url.starts_with("redis://") {
        return Err(Unreachable::InvalidUrl);
    }
    let resolver = InNamespace(namespace.to_owned());
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(DEADLINE))
        .set_response_timeout(Some(DEADLINE))
        .set_dns_resolver(resolver);
    let client = Client::open(info).map_err(|_| Unreachable::InvalidUrl)?;
    let mut connection =
        client.get_multiplexed_async_connection_with_config(&config).await.map_err(|e| meaning(&e))?;
    let pong: Value = redis::cmd("PING").query_async(&mut connection).await.map_err(|e| meaning(&e))?;
    drop(pong);
    let mut absent = Vec::new();
    for stream in target.streams.iter().take(STREAMS) {
        if !exists(&mut connection, stream).await? {
            absent.push(stream.clone());
        }
    }
    Ok(Reached { absent })
}

/// Whether the stream exists; `entries-added` is what sidecars tell losses by.
async fn exists(connection: &mut MultiplexedConnection, stream: &str) -> Result<bool, Unreachable> {
    let answer = redis::cmd("XINFO").arg("STREAM").arg(stream).query_async::<Value>(connection).await;
    let facts = match answer {
        Ok(facts) => facts,
        Err(error) => {
            return match (error.code(), error.detail()) {
                (Some("ERR"), Some(detail)) if detail.contains("no such key") => Ok(false),
                (Some("WRONGTYPE"), _) => Err(Unreachable::NotAStream(stream.to_owned())),
                _ => Err(meaning(&error)),
            };
        }
    };
    let facts = facts.into_sequence().unwrap_or_default();
    let counts = facts.into_iter().filter_map(|fact| String::from_redis_value(fact).ok());
    if counts.into_iter().any(|fact| fact == "entries-added") { Ok(true) } else { Err(Unreachable::TooOld) }
}

/// What an error of the client means. Of what Redis says, only the first line's beginning is kept.
fn meaning(error: &RedisError) -> Unreachable {
    let says: String = error.detail().unwrap_or(error.category()).chars().take(120).collect();
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH")) => {
            Unreachable::Refused(says)
        }
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => Unreachable::NotPermitted(says),
        (ErrorKind::Io, _) if error.is_timeout() => Unreachable::Timeout,
        (ErrorKind::Io, _) => match error.to_string().strip_prefix(NO_ADDRESS) {
            Some(host) => Unreachable::NoAddress(host.to_owned()),
            None => Unreachable::NoConnection(error.to_string()),
        },
        (ErrorKind::InvalidClientConfig, _) => Unreachable::InvalidUrl,
        _ => Unreachable::Other(says),
    }
}

/// Marks the error of [`InNamespace`] on its way through the client.
const NO_ADDRESS: &str = "no address for ";

/// Resolves names as in a pod of this namespace.
struct InNamespace(String);

impl InNamespace {
    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        // Each time anew, since it may change; it is a few lines on a local disk.
        let ours = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        for name in names(host, &self.0, &ours) {
            match tokio::net::lookup_host((name.as_str(), port)).await.map(Vec::from_iter) {
                Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
                // What can't be asked now may exist, and then the next name would be another server's.
                Err(error) if is_temporary(&error) => break,
                Ok(_) | Err(_) => {}
            }
        }
        Err(io::Error::other(format!("{NO_ADDRESS}{host}")))
    }
}

impl AsyncDNSResolver for InNamespace {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> redis::RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let addresses = self.addresses(host, port).await?;
            Ok(Box::new(addresses.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send + 'a>)
        })
    }
}

mod names;
#[cfg(test)]
mod tests;
