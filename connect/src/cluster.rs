//! The node of a Cluster that has a stream: any node says who it is.

use std::time::Duration;

use freshet_crds::redis_url::{Credentials, HostPort};
use rand::seq::SliceRandom as _;
use redis::Value;

use crate::{
    Resolve,
    dial::{Connected, Dialer},
    error::{ConnectError, Unusable, refusal},
};

/// Longest way from a node to the right one; the second step is the last one in a Cluster that isn't just changing.
const HOPS: usize = 4;

/// A connection to the master that has `stream`. Asking for the stream itself needs no right that following it
/// doesn't need.
pub(crate) async fn owner(
    dialer: &Dialer<impl Resolve>,
    seeds: &[HostPort],
    stream: &str,
    credentials: &Credentials,
    within: Duration,
) -> Result<Connected, ConnectError> {
    let mut seeds = seeds.to_vec();
    // So that not all of a fleet ask the first.
    seeds.shuffle(&mut rand::rng());
    let mut failed = Vec::new();
    for seed in seeds {
        match follow(dialer, seed, stream, credentials, within).await {
            Ok(connected) => return Ok(connected),
            // Another seed would say the same. What is just loading, or cut off, says nothing of the others.
            Err(
                error @ (ConnectError::Redis(Unusable::Refused(_) | Unusable::NotPermitted(_))
                | ConnectError::Untrusted(..)),
            ) => return Err(error),
            Err(error) => failed.push(error),
        }
    }
    match failed.len() {
        1 => Err(failed.remove(0)),
        _ => Err(ConnectError::NoNode(crate::sentinel::sentences(&failed))),
    }
}

async fn follow(
    dialer: &Dialer<impl Resolve>,
    seed: HostPort,
    stream: &str,
    credentials: &Credentials,
    within: Duration,
) -> Result<Connected, ConnectError> {
    let mut at = seed;
    for _ in 0..HOPS {
        let mut connected = dialer.dial(&at, credentials, 0, within).await?;
        let mut ask = redis::cmd("XINFO");
        ask.arg("STREAM").arg(stream);
        let asked = tokio::time::timeout(within, ask.query_async::<Value>(&mut connected.redis)).await;
        let error = match asked {
            Err(_) => return Err(ConnectError::Timeout(at)),
            Ok(Ok(_)) => return Ok(connected),
            Ok(Err(error)) => error,
        };
        match error.code() {
            Some("MOVED") => {
                let (place, _slot) = error.redirect_node().ok_or_else(|| refusal(&error))?;
                at = redirected(place, at).ok_or_else(|| refusal(&error))?;
            }
            Some("ASK") => {
                return Err(ConnectError::NoNode("the stream's slot is just being moved".into()));
            }
            Some("CLUSTERDOWN") => {
                return Err(ConnectError::NoNode(format!("{at} says that the Cluster is down")));
            }
            // It isn't there yet, or is something else: this is where it would be.
            Some("ERR" | "WRONGTYPE") => return Ok(connected),
            _ => return Err(refusal(&error).into()),
        }
    }
    Err(ConnectError::NoNode("its nodes send us from one to the other".into()))
}

/// The `host:port` of a redirection; an empty host, or one that the node doesn't know, is the node's own.
fn redirected(place: &str, asked: HostPort) -> Option<HostPort> {
    let (host, port) = place.rsplit_once(':')?;
    let host = match host.trim_matches(['[', ']']) {
        "" | "?" => asked.host,
        host => host.to_owned(),
    };
    Some(HostPort { host, port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_names_a_node() {
        let at = |host: &str, port| HostPort { host: host.into(), port };
        for (place, expected) in [
            ("10.0.0.1:6379", Some(at("10.0.0.1", 6379))),
            ("redis-1.redis:7000", Some(at("redis-1.redis", 7000))),
            ("fd00::1:6379", Some(at("fd00::1", 6379))),
            (":7001", Some(at("seed", 7001))),
            ("?:7001", Some(at("seed", 7001))),
            ("nowhere", None),
        ] {
            assert_eq!(redirected(place, at("seed", 6379)), expected, "{place}");
        }
    }
}
