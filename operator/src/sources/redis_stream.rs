//! What a Redis says: its own AUTH, PING, INFO and XINFO.

use std::collections::BTreeSet;

use freshet_connect::{ConnectError, Link, Resolve, refusal};
use futures::future::join_all;
use redis::{FromRedisValue as _, Value, aio::MultiplexedConnection};

use super::{Flaw, ONE_SERVER, Reached, Unreachable};

/// Asks it for its streams, and whether it would remove them by itself.
pub(super) async fn ask(
    redis: &freshet_connect::Target,
    streams: &BTreeSet<String>,
    names: &impl Resolve,
) -> Result<Reached, Unreachable> {
    let link = freshet_connect::connect(redis, names, ONE_SERVER).await?;
    if is_too_old(&info(&link, "server").await?) {
        return Err(Unreachable::TooOld);
    }
    // One behind the other on the same connection, without waiting for each answer.
    let looked = join_all(streams.iter().map(|stream| exists((*link).clone(), stream))).await;
    let mut absent = Vec::new();
    for (stream, exists) in streams.iter().zip(looked) {
        if !exists? {
            absent.push(stream.clone());
        }
    }
    let flaws = evicting(&info(&link, "memory").await?).map(Flaw::Evicting);
    Ok(Reached { absent, flaws: flaws.into_iter().collect() })
}

pub(super) async fn info(link: &Link, section: &str) -> Result<String, Unreachable> {
    let mut connection: MultiplexedConnection = (**link).clone();
    let said = redis::cmd("INFO").arg(section).query_async(&mut connection).await;
    said.map_err(|error| ConnectError::from(refusal(&error)).into())
}

/// Whether it says that it is older than 7.0.
pub(super) fn is_too_old(server: &str) -> bool {
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
