//! Whether a binding's sources can be reached: the operator's own TLS, AUTH, PING and XINFO.

use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};

use freshet_connect::{ConnectError, Link, Resolve, refusal};
use names::{RESOLV_CONF, is_temporary, names};
use redis::{FromRedisValue as _, Value, aio::MultiplexedConnection};

/// How long one source has to answer everything.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// How long one server may take to let us in; less than [`DEADLINE`], so that it is told which one didn't.
const ONE_SERVER: Duration = Duration::from_secs(3);
/// So many streams are looked at; the rest will be like them.
const STREAMS: usize = 16;

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
    tokio::time::timeout(DEADLINE, ask(target, namespace)).await.unwrap_or(Err(Unreachable::Timeout))
}

/// Connects as a sidecar of a pod in `namespace` would.
pub(crate) async fn connect(target: &Target, namespace: &str) -> Result<Link, ConnectError> {
    freshet_connect::connect(&target.redis, &InNamespace(namespace.to_owned()), ONE_SERVER).await
}

async fn ask(target: &Target, namespace: &str) -> Result<Reached, Unreachable> {
    let mut link = connect(target, namespace).await?;
    let mut absent = Vec::new();
    for stream in target.streams.iter().take(STREAMS) {
        if !exists(&mut link, stream).await? {
            absent.push(stream.clone());
        }
    }
    let memory = redis::cmd("INFO").arg("memory").query_async::<String>(&mut *link).await;
    let memory = memory.map_err(|error| ConnectError::from(refusal(&error)))?;
    Ok(Reached { absent, evicting: evicting(&memory) })
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
async fn exists(connection: &mut MultiplexedConnection, stream: &str) -> Result<bool, Unreachable> {
    let answer = redis::cmd("XINFO").arg("STREAM").arg(stream).query_async::<Value>(connection).await;
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
