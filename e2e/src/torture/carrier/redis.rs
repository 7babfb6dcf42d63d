//! Redis: a master that everybody uses, and a replica that may take its place.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Carries, Entry, Keeps, Offsets};
use crate::process::debezium::{Settings, Sink};
use crate::process::{Child, Debezium, Proxy, Redis, until};
use crate::torture::shape::Source;
use crate::torture::world::PATIENCE;

/// Both servers.
pub(crate) struct Servers {
    pub(crate) both: [Redis; 2],
    /// Which of the two is the master.
    pub(crate) master: usize,
    /// Between the master and its replica.
    pub(crate) replication: Proxy,
}

/// Entries as the client reads them.
type Read = Vec<(String, Vec<String>)>;

impl Servers {
    /// Starts a master and its replica.
    pub(super) fn start() -> Result<Self> {
        let both = [Redis::start()?, Redis::start()?];
        let replication = Proxy::start(both[0].socket_address())?;
        both[1].follow(Some(replication.address()))?;
        Ok(Self { both, master: 0, replication })
    }

    /// The master.
    pub(crate) fn master(&self) -> &Redis {
        &self.both[self.master]
    }

    /// The same, to be changed.
    pub(crate) fn master_mut(&mut self) -> &mut Redis {
        &mut self.both[self.master]
    }

    /// The other one.
    pub(crate) fn replica(&self) -> &Redis {
        &self.both[1 - self.master]
    }

    /// Waits until the replica has all that the master has.
    pub(crate) fn await_replica(&self) -> Result<()> {
        until("the replica follows", PATIENCE, || {
            ensure!(self.replica().info("replication", "master_link_status")? == "up", "the link is down");
            let of = |redis: &Redis| redis.info("replication", "master_repl_offset");
            let (master, replica) =
                (of(self.master())?, self.replica().info("replication", "slave_repl_offset")?);
            // The master's offset grows while we look; nearly is enough, since what matters is that it follows.
            let behind = master.parse::<i64>()? - replica.parse::<i64>()?;
            ensure!(behind < 100_000, "{behind} bytes behind");
            Ok(())
        })
    }
}

impl Carries for Servers {
    fn first_word(&self) -> &'static [u8] {
        b"PING\r\n"
    }

    fn process(&mut self) -> Option<&mut Child> {
        Some(self.master_mut().process())
    }

    fn restart(&mut self) -> Result<()> {
        self.master_mut().restart()
    }

    fn resume(&mut self) {
        for redis in &mut self.both {
            let _ = redis.resume();
        }
    }

    fn proxies(&self) -> Vec<&Proxy> {
        vec![&self.replication]
    }
}

impl Keeps for Servers {
    fn sink(&self) -> Sink<'_> {
        self.master().into()
    }

    fn settings(&self, settings: Settings, source: Source, sink: SocketAddr) -> Settings {
        settings
            .set("debezium.sink.redis.address", &sink.to_string())
            // Pauses of up to 10 s between attempts would be the longest part of every recovery.
            .set("debezium.sink.redis.retry.initial.delay.ms", "200")
            .set("debezium.sink.redis.retry.max.delay.ms", "500")
            .set("debezium.source.offset.storage.redis.retry.initial.delay.ms", "200")
            .set("debezium.source.offset.storage.redis.retry.max.delay.ms", "500")
            .set("debezium.source.offset.storage.redis.key", &format!("offsets:{}", source.name()))
    }

    fn added(&self, stream: &str) -> Result<u64> {
        let info: HashMap<String, redis::Value> = self.master().command(&["XINFO", "STREAM", stream])?;
        let added = info.get("entries-added").context("entries-added")?;
        redis::from_redis_value(added.clone()).context("entries-added")
    }

    fn after(&self, stream: &str, mark: &str) -> Result<Vec<Entry>> {
        let read: Read = self.master().command(&["XRANGE", stream, &format!("({mark}"), "+"])?;
        Ok(entries(read))
    }

    fn newest(&self, stream: &str, before: Option<&str>, most: usize) -> Result<Vec<Entry>> {
        let end = before.map_or_else(|| "+".to_owned(), |mark| format!("({mark}"));
        let most = most.to_string();
        let read: Read = self.master().command(&["XREVRANGE", stream, &end, "-", "COUNT", &most])?;
        Ok(entries(read))
    }

    fn trim(&self, stream: &str, before_ms: u64) {
        // A stream that isn't there has nothing to trim.
        let words = ["XTRIM", stream, "MINID", "~", &before_ms.to_string()];
        let _ = self.master().command::<u64>(&words);
    }

    fn history(&self, debezium: &Debezium) -> PathBuf {
        debezium.folder().join("history")
    }

    fn offsets(&self, debezium: &Debezium) -> Result<Offsets> {
        let key = debezium.settings().offsets();
        let kept: HashMap<String, String> = self.master().command(&["HGETALL", &key])?;
        ensure!(!kept.is_empty(), "no offsets in {key}");
        Ok(Offsets::Hash(kept.into_iter().collect()))
    }

    fn remember(&self, debezium: &Debezium, offsets: Option<&Offsets>) -> Result<()> {
        let key = debezium.settings().offsets();
        match offsets {
            None => drop(self.master().command::<u64>(&["DEL", &key])?),
            Some(Offsets::Hash(kept)) => {
                for (field, value) in kept {
                    self.master().command::<u64>(&["HSET", &key, field, value])?;
                }
            }
            Some(Offsets::File(_)) => bail!("offsets of another carrier"),
        }
        Ok(())
    }
}

fn entries(read: Read) -> Vec<Entry> {
    read.into_iter().map(|(mark, fields)| Entry { mark, fields }).collect()
}
