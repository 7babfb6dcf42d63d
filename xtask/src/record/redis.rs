//! Streams of Redis.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow, bail};
use freshet_e2e::process::Redis;
use freshet_e2e::process::debezium::Sink;
use serde::Serialize;

use super::{Entry, Server};

/// A Redis whose commands are watched.
pub(super) struct Streams {
    redis: Redis,
    order: Order,
}

impl Server for Streams {
    type Entry = StreamEntry;

    fn start() -> Result<Self> {
        let redis = Redis::start()?;
        let order = Order::follow(&redis)?;
        Ok(Self { redis, order })
    }

    fn sink(&self) -> Sink<'_> {
        Sink::Redis(&self.redis)
    }

    fn version(&self) -> Result<(&'static str, String)> {
        let said: String = self.redis.command(&["INFO", "server"])?;
        let version = said.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(("redis", version.unwrap_or_default().to_owned()))
    }

    fn entries(&self) -> Result<Vec<StreamEntry>> {
        self.order.entries(&self.redis)
    }
}

/// One entry of a stream.
#[derive(Serialize)]
pub(super) struct StreamEntry {
    stream: String,
    id: String,
    fields: Vec<(String, String)>,
}

impl Entry for StreamEntry {
    fn holds(&self, text: &str) -> bool {
        self.fields.iter().any(|(name, value)| name.contains(text) || value.contains(text))
    }
}

/// The order in which entries were added to the streams of one Redis. Ids alone don't give it: two streams can have
/// the same one, since each counts for itself within a millisecond.
struct Order {
    /// The stream of each XADD so far.
    streams: Arc<Mutex<Vec<String>>>,
}

impl Order {
    fn follow(redis: &Redis) -> Result<Self> {
        let mut monitor = TcpStream::connect(redis.address()).context("connecting for MONITOR")?;
        monitor.write_all(b"MONITOR\r\n")?;
        let mut lines = BufReader::new(monitor).lines();
        let answer = lines.next().context("no answer to MONITOR")??;
        if answer != "+OK" {
            bail!("MONITOR was answered with {answer}");
        }
        let streams = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&streams);
        // Ends with the connection.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(stream) = added_to(&line) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(stream.to_owned());
                }
            }
        });
        Ok(Self { streams })
    }

    /// All entries so far; an error while the streams and the order seen don't agree, which passes.
    fn entries(&self, redis: &Redis) -> Result<Vec<StreamEntry>> {
        let order = self.streams.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut streams: BTreeMap<&str, VecDeque<StreamEntry>> = BTreeMap::new();
        for stream in &order {
            if !streams.contains_key(stream.as_str()) {
                streams.insert(stream, entries_of(redis, stream)?);
            }
        }
        let entry = |stream: &String| streams.get_mut(stream.as_str()).and_then(VecDeque::pop_front);
        let entries: Option<Vec<StreamEntry>> = order.iter().map(entry).collect();
        entries.ok_or_else(|| anyhow!("fewer entries than XADDs"))
    }
}

/// The stream's name in a line of MONITOR: `+1763.1 [0 127.0.0.1:40] "XADD" "shop.cdc" "*" …`.
fn added_to(line: &str) -> Option<&str> {
    let (_, command) = line.split_once("] \"")?;
    let (name, rest) = command.split_once("\" \"")?;
    name.eq_ignore_ascii_case("XADD").then(|| rest.split('"').next())?
}

fn entries_of(redis: &Redis, stream: &str) -> Result<VecDeque<StreamEntry>> {
    let entries: Vec<(String, Vec<String>)> = redis.command(&["XRANGE", stream, "-", "+"])?;
    let entry = |(id, fields): (String, Vec<String>)| {
        let fields = fields.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        StreamEntry { stream: stream.to_owned(), id, fields }
    };
    Ok(entries.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_read_from_a_line_of_monitor() {
        let line =
            r#"+1795.43 [0 127.0.0.1:4012] "XADD" "shop.cdc" "*" "key" "{\"id\":1} [0] \"XADD\" \"no\"""#;
        assert_eq!(added_to(line), Some("shop.cdc"));
        assert_eq!(added_to(r#"+1795.43 [0 127.0.0.1:4012] "HSET" "shop.cdc" "XADD" "a""#), None);
        assert_eq!(added_to(r#"+1795.43 [0 127.0.0.1:4012] "PING""#), None);
    }
}
