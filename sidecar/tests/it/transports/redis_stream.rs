//! One stream of Redis, kept in a file.

use freshet_e2e::process::{Proxy, Redis};
use serde_json::Value;

use super::broker::{Broker, Bus, Server, Source};

const STREAM: &str = "shop.cdc";

pub(crate) struct RedisStream {
    redis: Redis,
    proxy: Proxy,
}

impl Source for RedisStream {
    const NAME: &'static str = "redisStream";

    fn open() -> Self {
        let redis = Redis::builder().append_only().start().unwrap();
        let proxy = Proxy::start(redis.socket_address()).unwrap();
        Self { redis, proxy }
    }

    fn source(&self) -> String {
        format!("redisStream: {{url: 'redis://{}', stream: {STREAM}}}", self.proxy.address())
    }
}

impl Server for RedisStream {
    /// Redis may have lost what it was told last, and nothing in a stream tells.
    const KEEPS_ITS_PLACE_OVER_RESTARTS: bool = false;

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn restart(&mut self) {
        self.redis.stop().unwrap();
        self.redis.restart().unwrap();
    }

    fn kill_and_restart(&mut self) {
        self.redis.kill().unwrap();
        self.redis.restart().unwrap();
    }

    fn pause(&mut self) {
        self.redis.pause().unwrap();
    }

    fn resume(&mut self) {
        self.redis.resume().unwrap();
    }
}

impl Broker for RedisStream {
    fn write(&self, _table: &str, key: &str, value: Option<&str>) {
        self.redis.xadd(STREAM, &[(key, value.unwrap_or("default"))]).unwrap();
    }

    fn write_many(&self, _table: &str, key: &str, value: &str, count: usize) {
        self.redis.xadd_many(STREAM, key, value, count).unwrap();
    }

    fn remove_all(&self) {
        self.redis.command::<u64>(&["XTRIM", STREAM, "MAXLEN", "0"]).unwrap();
    }

    fn make_anew(&self) {
        self.redis.command::<u64>(&["DEL", STREAM]).unwrap();
    }
}

impl Bus for RedisStream {
    const KEEPS: bool = true;

    fn publish(&self, envelope: &Value) {
        self.redis.xadd(STREAM, &[("freshet", &envelope.to_string())]).unwrap();
    }

    fn publish_many(&self, envelope: &Value, count: usize) {
        self.write_many("", "freshet", &envelope.to_string(), count);
    }
}

impl RedisStream {
    /// What was published.
    pub(crate) fn envelopes(&self) -> Vec<Value> {
        envelopes(&self.redis, STREAM)
    }
}

/// The envelopes of a stream.
pub(crate) fn envelopes(redis: &Redis, stream: &str) -> Vec<Value> {
    let entries: Vec<(String, Vec<String>)> = redis.command(&["XRANGE", stream, "-", "+"]).unwrap();
    let payload =
        |fields: Vec<String>| (fields[0] == "freshet").then(|| serde_json::from_str(&fields[1]).unwrap());
    entries.into_iter().filter_map(|(_, fields)| payload(fields)).collect()
}
