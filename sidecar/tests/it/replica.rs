//! A tailed replica, and connections that nobody closes: what isn't known to be whole is not vouched for.

use std::time::Duration;

use anyhow::ensure;
use freshet_e2e::process::{Proxy, Redis, Sidecar, until};

use crate::shop::{CACHES, SOON, Shop, event, executable, manifest, manifest_of};

fn change(redis: &Redis, id: u32) {
    let row = format!("{{\"id\":{id}}}");
    redis.xadd("shop.cdc", &[(&row, &event("product", "u", &row))]).unwrap();
}

/// A master, and a sidecar on its replica. Between the servers is a proxy.
struct Stage {
    master: Redis,
    between: Proxy,
    /// Of the replica.
    shop: Shop,
}

/// A Redis that tells its replicas each second that it is there, and copies what it has to them without waiting for more.
fn master() -> Redis {
    let often = Redis::builder().set("repl-ping-replica-period", "1");
    often.set("repl-diskless-sync-delay", "0").start().unwrap()
}

impl Stage {
    fn open() -> Self {
        let master = master();
        change(&master, 1);
        let between = Proxy::start(master.socket_address()).unwrap();
        let replica = Redis::builder().replica_of(between.address()).start().unwrap();
        until("the replica has a link", SOON, || {
            ensure!(replica.info("replication", "master_link_status")?.trim() == "up");
            Ok(())
        })
        .unwrap();
        let source = format!("url: '{}', stream: shop.cdc", replica.url());
        let shop = Shop::with(replica, Sidecar::builder(executable(), &manifest_of(&source, CACHES, "")));
        Self { master, between, shop }
    }

    fn replica_says(&self, name: &str) -> String {
        self.shop.redis.info("replication", name).unwrap().trim().to_owned()
    }
}

#[test]
fn a_replica_is_followed_and_stays_fresh_by_its_master_s_pings() {
    let mut stage = Stage::open();
    stage.shop.fill("/v1/products/7", "x");
    change(&stage.master, 8);
    stage.shop.until_get("/v1/rows/8", "hit {\"id\":8}");
    // Of an idle stream, for longer than any single answer counts.
    let begin = std::time::Instant::now();
    let (mut hits, mut reads) = (0, 0);
    while begin.elapsed() < Duration::from_secs(6) {
        let hit = stage.shop.get_now("/v1/products/7") == "hit x";
        if begin.elapsed() > Duration::from_secs(3) {
            reads += 1;
            hits += u32::from(hit);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // Without pings there would be none; on a busy machine some come late.
    assert!(hits * 4 >= reads, "{hits} of {reads}");
    change(&stage.master, 7);
    stage.shop.until_get("/v1/products/7", "miss");
}

#[test]
fn a_replica_that_has_lost_its_master_proves_nothing_until_it_has_caught_up() {
    let mut stage = Stage::open();
    stage.shop.fill("/v1/products/7", "x");
    stage.shop.fill("/v1/products/9", "y");
    let epoch = stage.shop.epoch();
    stage.between.refuse();
    stage.shop.until_get("/v1/products/7", "stale lagging");
    stage.shop.until_reason("the replica has no link to its master");
    change(&stage.master, 7);
    assert_eq!(stage.replica_says("role"), "slave");
    assert_eq!(stage.shop.get_now("/v1/products/7"), "stale lagging");
    stage.between.pass();
    stage.shop.until_get("/v1/products/7", "miss");
    stage.shop.until_get("/v1/products/9", "hit y");
    assert_eq!(stage.shop.epoch(), epoch, "it missed nothing in the end");
}

#[test]
fn a_replica_whose_link_is_half_open_proves_nothing() {
    let mut stage = Stage::open();
    stage.shop.fill("/v1/products/7", "x");
    stage.between.stall();
    change(&stage.master, 7);
    stage.shop.until_get("/v1/products/7", "stale lagging");
    assert_eq!(stage.replica_says("master_link_status"), "up", "it hasn't noticed itself");
    stage.between.pass();
    stage.shop.until_get("/v1/products/7", "miss");
}

#[test]
fn a_replica_that_is_promoted_under_a_waiting_reader_voids_everything() {
    let mut stage = Stage::open();
    stage.shop.fill("/v1/products/7", "x");
    let epoch = stage.shop.epoch();
    until("the sidecar waits for entries", SOON, || {
        let clients: String = stage.shop.redis.command(&["CLIENT", "LIST"])?;
        ensure!(
            clients.lines().any(|client| client.contains("cmd=xread") && client.contains("flags=b")),
            "{clients}"
        );
        Ok(())
    })
    .unwrap();
    stage.shop.redis.follow(None).unwrap();
    stage.shop.until_fresh_after(epoch);
    assert_eq!(stage.shop.breaks(), ["server-changed"]);
    assert_eq!(stage.shop.get("/v1/products/7"), "miss");
    change(&stage.shop.redis, 8);
    stage.shop.until_get("/v1/rows/8", "hit {\"id\":8}");
}

#[test]
fn a_replica_that_copies_another_master_voids_everything() {
    let mut stage = Stage::open();
    stage.shop.fill("/v1/products/7", "x");
    let epoch = stage.shop.epoch();
    let other = master();
    for id in [1, 2] {
        change(&other, id);
    }
    stage.shop.redis.follow(Some(other.socket_address())).unwrap();
    stage.shop.until_fresh_after(epoch);
    assert_eq!(stage.shop.breaks(), ["server-changed"]);
    assert_eq!(stage.shop.get("/v1/products/7"), "miss");
    change(&other, 8);
    stage.shop.until_get("/v1/rows/8", "hit {\"id\":8}");
}

#[test]
fn a_connection_that_is_left_half_open_is_noticed_and_nothing_is_lost() {
    let redis = Redis::start().unwrap();
    redis.xadd("shop.inventory.product", &[("{\"id\":1}", &event("product", "u", "null"))]).unwrap();
    let proxy = Proxy::start(redis.socket_address()).unwrap();
    let text = manifest(&redis, CACHES, "").replace(&redis.address(), &proxy.address().to_string());
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    shop.settle();
    shop.fill("/v1/products/7", "x");
    shop.fill("/v1/products/9", "y");
    let epoch = shop.epoch();
    assert!(proxy.abandon() > 0);
    shop.change("product", "{\"id\":7}", "u", "null");
    // The old value isn't served for longer than continuity allows, and the new connection reads on.
    shop.sidecar
        .until("the old value is gone", SOON, |sidecar| {
            let answer = sidecar.get("/v1/products/7")?;
            ensure!(answer.status == 404, "{answer:?}");
            Ok(())
        })
        .unwrap();
    shop.until_get("/v1/products/7", "miss");
    shop.until_get("/v1/products/9", "hit y");
    assert_eq!(shop.epoch(), epoch);
}
