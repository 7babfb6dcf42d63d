//! The peer: a consumer of the stream as one writes it in an hour, with nothing to do but to note when what arrived.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use freshet_e2e::process::Redis;
use redis::streams::{StreamRangeReply, StreamReadOptions, StreamReadReply};
use redis::{Commands as _, Connection};

use super::STREAM;
use super::sampler::MARK;

/// A sampled change as the peer saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) value: String,
    /// When the reply with it had been read.
    pub(super) at: Instant,
    /// When Redis took it, by the clock in the entry's id, in milliseconds of the Unix epoch.
    pub(super) added_ms: u64,
}

/// It ends with its Redis, or when nobody asks any more.
pub(super) struct Peer(Receiver<Arrival>);

impl Peer {
    pub(super) fn start(redis: &Redis) -> Result<Self> {
        let mut connection = redis.connection()?;
        // The end as it is now: `$` would skip what comes between two reads.
        let newest: StreamRangeReply = connection.xrevrange_count(STREAM, "+", "-", 1)?;
        let mut last = newest.ids.first().map_or_else(|| "0-0".to_owned(), |entry| entry.id.clone());
        let (found, arrivals) = channel();
        thread::spawn(move || {
            while let Ok(seen) = read(&mut connection, &mut last) {
                if seen.into_iter().any(|arrival| found.send(arrival).is_err()) {
                    return;
                }
            }
        });
        Ok(Self(arrivals))
    }

    /// When this value arrived; waits for it.
    pub(super) fn arrival(&self, value: &str) -> Result<Arrival> {
        loop {
            let next = self.0.recv_timeout(Duration::from_secs(10));
            let next = next.with_context(|| format!("{value} never arrived at the peer"))?;
            if next.value == value {
                return Ok(next);
            }
        }
    }
}

fn read(connection: &mut Connection, last: &mut String) -> Result<Vec<Arrival>> {
    let options = StreamReadOptions::default().block(500).count(1000);
    let reply: Option<StreamReadReply> = connection.xread_options(&[STREAM], &[last.as_str()], &options)?;
    let at = Instant::now();
    let mut seen = Vec::new();
    for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids) {
        if let Some(value) = entry.get::<String>("value").as_deref().and_then(sampled) {
            let ms = entry.id.split('-').next().unwrap_or_default();
            seen.push(Arrival { value, at, added_ms: ms.parse().context("an entry's id")? });
        }
        *last = entry.id;
    }
    Ok(seen)
}

/// The sampled value that a change brings, if it is one.
fn sampled(event: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(event).ok().filter(|_| event.contains(MARK))?;
    event["after"]["val"].as_str().filter(|value| value.starts_with(MARK)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::sampled;

    #[test]
    fn sampled_changes_are_told_from_others() {
        let event = |val: &str| format!(r#"{{"op":"u","after":{{"id":7,"val":"{val}"}}}}"#);
        assert_eq!(sampled(&event("sample 7")), Some("sample 7".to_owned()));
        assert_eq!(sampled(&event("background 7")), None);
        assert_eq!(sampled(r#"{"op":"m","message":{"prefix":"sample "}}"#), None);
    }
}
