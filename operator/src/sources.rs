//! Whether a binding's sources can be reached: the operator's own TLS, AUTH, PING and XINFO.

use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};

use freshet_connect::{ConnectError, Link, Resolve, refusal};
use futures::future::join_all;
use names::{RESOLV_CONF, is_temporary, names};
use redis::{FromRedisValue as _, Value, aio::MultiplexedConnection};

/// How long one source has to answer everything.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// How long one server may take to let us in; less than [`DEADLINE`], so that it is told which one didn't.
const ONE_SERVER: Duration = Duration::from_secs(3);

/// A source to be probed. Its `Debug` keeps passwords and keys to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The source's name in the binding.
    pub name: String,
    /// Where it is, with credentials and certificates.
    pub redis: freshet_connect::Target,
    /// The streams that the sidecars will follow.
    pub streams: BTreeSet<String>,
}

/// A source that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The streams that aren't there yet: Debezium makes them with their first event.
    pub absent: Vec<String>,
    /// The `maxmemory-policy` by which Redis removes whole streams when its memory is full, if it does.
    pub evicting: Option<String>,
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
    /// The ConfigMap isn't there.
    #[error("there is no ConfigMap {0}")]
    NoConfigMap(String),
    /// The ConfigMap has no such key.
    #[error("ConfigMap {0} has no key {1}")]
    NoConfigMapKey(String, String),
    /// No answer to everything in time.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Timeout,
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A key with a stream's name holds something else.
    #[error("{0} is not a stream")]
    NotAStream(String),
    /// It is older than 7.0.
    #[error("Redis is older than 7.0: streams don't count their entries")]
    TooOld,
}

/// Connects as a sidecar of a pod in `namespace` would, and asks for the streams.
pub async fn probe(target: &Target, namespace: &str) -> Result<Reached, Unreachable> {
    let names = InNamespace(namespace.to_owned());
    tokio::time::timeout(DEADLINE, ask(target, &names)).await.unwrap_or(Err(Unreachable::Timeout))
}

/// Connects as a sidecar of a pod in `namespace` would.
pub(crate) async fn connect(target: &Target, namespace: &str) -> Result<Link, ConnectError> {
    freshet_connect::connect(&target.redis, &InNamespace(namespace.to_owned()), ONE_SERVER).await
}

async fn ask(target: &Target, names: &impl Resolve) -> Result<Reached, Unreachable> {
    let link = freshet_connect::connect(&target.redis, names, ONE_SERVER).await?;
    if is_too_old(&info(&link, "server").await?) {
        return Err(Unreachable::TooOld);
    }
    // One behind the other on the same connection, without waiting for each answer.
    let looked = join_all(target.streams.iter().map(|stream| exists((*link).clone(), stream))).await;
    let mut absent = Vec::new();
    for (stream, exists) in target.streams.iter().zip(looked) {
        if !exists? {
            absent.push(stream.clone());
        }
    }
    Ok(Reached { absent, evicting: evicting(&info(&link, "memory").await?) })
}

async fn info(link: &Link, section: &str) -> Result<String, Unreachable> {
    let mut connection: MultiplexedConnection = (**link).clone();
    let said = redis::cmd("INFO").arg(section).query_async(&mut connection).await;
    said.map_err(|error| ConnectError::from(refusal(&error)).into())
}

/// Whether it says that it is older than 7.0.
fn is_too_old(server: &str) -> bool {
    let version = server.lines().find_map(|line| line.strip_prefix("redis_version:"));
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| major < 7)
}

/// The policy by which a Redis removes streams when its memory is full. `volatile-*` removes only keys that expire,
/// which streams don't, and without a limit memory is never full.
fn evicting(memory: &str) -> Option<String> {
    let of = |name: &str| memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let policy = of("maxmemory_policy")?.trim();
    let limited = of("maxmemory")?.trim() != "0";
    (limited && policy.starts_with("allkeys-")).then(|| policy.to_owned())
}

/// Whether the stream exists; `entries-added` is what sidecars tell losses by.
async fn exists(mut connection: MultiplexedConnection, stream: &str) -> Result<bool, Unreachable> {
    let answer = redis::cmd("XINFO").arg("STREAM").arg(stream).query_async::<Value>(&mut connection).await;
    let facts = match answer {
        Ok(facts) => facts,
        Err(error) => {
            return match (error.code(), error.detail()) {
                (Some("ERR"), Some(detail)) if detail.contains("no such key") => Ok(false),
                (Some("WRONGTYPE"), _) => Err(Unreachable::NotAStream(stream.to_owned())),
                _ => Err(ConnectError::from(refusal(&error)).into()),
            };
        }
    };
    let facts = facts.into_sequence().unwrap_or_default();
    let counts = facts.into_iter().filter_map(|fact| String::from_redis_value(fact).ok());
    if counts.into_iter().any(|fact| fact == "entries-added") { Ok(true) } else { Err(Unreachable::TooOld) }
}

/// Resolves names as in a pod of this namespace.
#[derive(Clone)]
struct InNamespace(String);

impl Resolve for InNamespace {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
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
        Ok(Vec::new())
    }
}

mod names;
#[cfg(test)]
mod tests;
