//! A channel of Redis Pub/Sub.

use freshet_e2e::process::{Proxy, Redis, RedisCluster, Sidecar};
use serde_json::Value;

use super::{
    broker::{Bus, Server, Source},
    publications,
};
use crate::{
    publish,
    shop::{App, executable, manifest_over},
};

const CHANNEL: &str = "shop bus";

pub(crate) struct RedisPubSub {
    redis: Redis,
    proxy: Proxy,
}

impl Source for RedisPubSub {
    const NAME: &'static str = "redisPubSub";

    fn open() -> Self {
        let redis = Redis::start().unwrap();
        let proxy = Proxy::start(redis.socket_address()).unwrap();
        Self { redis, proxy }
    }

    fn source(&self) -> String {
        format!("redisPubSub: {{url: 'redis://{}', channel: '{CHANNEL}'}}", self.proxy.address())
    }
}

impl Server for RedisPubSub {
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

impl Bus for RedisPubSub {
    const KEEPS: bool = false;

    fn publish(&self, envelope: &Value) {
        self.redis.command::<u64>(&["PUBLISH", CHANNEL, &envelope.to_string()]).unwrap();
    }

    fn publish_many(&self, envelope: &Value, count: usize) {
        self.redis.publish_many(CHANNEL, &envelope.to_string(), count).unwrap();
    }
}

#[test]
fn a_replica_is_refused_since_nobody_knows_what_it_misses() {
    let bus = RedisPubSub::open();
    let replica = Redis::builder().replica_of(bus.redis.socket_address()).start().unwrap();
    let source = format!("redisPubSub: {{url: '{}', channel: bus}}", replica.url());
    super::until_told(&source, "the server is a replica");
}

#[test]
fn a_node_of_a_cluster_is_refused_since_messages_are_lost_between_nodes() {
    let cluster = RedisCluster::start("bus").unwrap();
    let source = format!("redisPubSub: {{url: '{}', channel: bus}}", cluster.owner().url());
    super::until_told(&source, "a node of a Cluster");
}

/// It takes what is published, and hands it to nobody.
#[test]
fn what_a_demoted_master_has_taken_is_not_taken_for_published() {
    let (bus, master) = (RedisPubSub::open(), Redis::start().unwrap());
    let app = App::open(&bus.source(), "\n  - {name: quotes, published: true}", "");
    app.say("a", "x");
    bus.redis.follow(Some(master.socket_address())).unwrap();
    let answer = app.publish(&publish::value("b", "y"));
    assert_eq!((answer.status, publish::problem(&answer).as_str()), (504, "publish-unknown"), "{answer:?}");
}

#[test]
fn who_may_not_hear_the_channel_is_told_so() {
    let bus = RedisPubSub::open();
    bus.redis.command::<String>(&["ACL", "SETUSER", "default", "resetchannels"]).unwrap();
    super::until_told(&bus.source(), "no permissions to access one of the channels");
}

#[test]
fn the_rights_in_the_reference_are_enough() {
    let page = include_str!("../../../../docs/reference/cachebinding.md");
    let of = |begin: &str| page.split(begin).nth(1).and_then(|rest| rest.split('`').next()).unwrap();
    let (rights, more) = (of("The user needs `+hello"), of("`+publish"));
    let bus = RedisPubSub::open();
    let rules =
        format!("ACL SETUSER freshet on >change-me resetchannels resetkeys -@all +hello{rights} &bus");
    bus.redis.command::<String>(&rules.split(' ').collect::<Vec<_>>()).unwrap();
    let source = "redisPubSub: {urlFrom: {secretKeyRef: {name: redis, key: url}}, channel: bus}";
    let url = format!("redis://freshet:change-me@{}", bus.redis.address());
    let text = manifest_over(source, "\n  - {name: quotes, published: true}", "");
    let builder = Sidecar::builder(executable(), &text).secret("redis", "url", &url);
    let mut app = App { sidecar: builder.start().unwrap() };
    app.until_fresh();
    let said = publications::value("a", "x").to_string();
    bus.redis.command::<u64>(&["PUBLISH", "bus", &said]).unwrap();
    app.until_get("/v1/quotes/a", "hit x");
    let answer = app.publish(&publish::value("b", "y"));
    assert_eq!((answer.status, publish::problem(&answer).as_str()), (502, "publish-refused"), "{answer:?}");
    bus.redis.command::<String>(&["ACL", "LOG", "RESET"]).unwrap();
    let rules = format!("ACL SETUSER freshet +publish{more}");
    bus.redis.command::<String>(&rules.split(' ').collect::<Vec<_>>()).unwrap();
    app.say("b", "y");
    let denied: Vec<redis::Value> = bus.redis.command(&["ACL", "LOG"]).unwrap();
    assert_eq!((denied, app.breaks()), (vec![], vec![]), "something else was asked for");
    assert!(!app.sidecar.log().contains("change-me"));
}
