//! Following the master that real Sentinels name, through every kind of failover.

use std::time::Instant;

use anyhow::{Result, ensure};
use freshet_e2e::process::{Authority, Redis, Sentinel, Sidecar, SidecarBuilder, until};

use crate::shop::{CACHES, SOON, Shop, event, executable, manifest_of};

const SERVICE: &str = "shop-redis";

/// A master with a replica, three Sentinels, and a sidecar that knows only these.
struct Stage {
    shop: Shop,
    replica: Redis,
    sentinels: Vec<Sentinel>,
}

fn url(sentinels: &[Sentinel]) -> String {
    let hosts: Vec<_> = sentinels.iter().map(Sentinel::address).collect();
    format!("redis+sentinel://{}/{SERVICE}", hosts.join(","))
}

fn sidecar(url: &str) -> SidecarBuilder {
    Sidecar::builder(executable(), &manifest_of(&format!("url: '{url}', stream: shop.cdc"), CACHES, ""))
}

fn change(redis: &Redis, id: u32) {
    let row = format!("{{\"id\":{id}}}");
    redis.xadd("shop.cdc", &[(&row, &event("product", "u", &row))]).unwrap();
}

impl Stage {
    fn open() -> Self {
        let master = Redis::start().unwrap();
        change(&master, 1);
        let replica = Redis::builder().replica_of(master.socket_address()).start().unwrap();
        let sentinels = Sentinel::start(3, SERVICE, &master, None).unwrap();
        let shop = Shop::with(master, sidecar(&url(&sentinels)));
        let stage = Self { shop, replica, sentinels };
        stage.until_replicated();
        stage
    }

    fn until_replicated(&self) {
        let length = |redis: &Redis| redis.command::<u64>(&["XLEN", "shop.cdc"]);
        until("the replica has what the master has", SOON, || {
            ensure!(length(&self.shop.redis)? == length(&self.replica)?);
            Ok(())
        })
        .unwrap();
    }

    /// Waits until the sidecar follows what was the replica, and checks that nothing of before is left.
    fn until_followed(&mut self, epoch: u64) {
        self.shop.until_fresh_after(epoch);
        assert_eq!(self.shop.get("/v1/products/7"), "miss", "it is of another epoch");
        change(&self.replica, 8);
        self.shop.until_get("/v1/rows/8", "hit {\"id\":8}");
        // The old master as a replica would have told the same.
        until("the sidecar reads from the new master", SOON, || {
            let clients: String = self.replica.command(&["CLIENT", "LIST"])?;
            ensure!(clients.contains("cmd=xread"), "{clients}");
            Ok(())
        })
        .unwrap();
    }

    fn until_promoted(&self) -> Result<()> {
        until("the replica is the master", 2 * SOON, || {
            ensure!(self.replica.info("replication", "role")? == "master");
            Ok(())
        })
    }
}

#[test]
fn a_failover_that_was_asked_for_is_followed() {
    let mut stage = Stage::open();
    stage.shop.fill("/v1/products/7", "x");
    let epoch = stage.shop.epoch();
    stage.sentinels[0].command::<String>(&["SENTINEL", "FAILOVER", SERVICE]).unwrap();
    stage.until_promoted().unwrap();
    stage.until_followed(epoch);
    // The old master is a replica now, and in no case followed.
    let text = stage.shop.sidecar.log();
    assert!(text.contains("new epoch") && text.contains("server-changed"), "{text}");
}

#[test]
fn a_killed_master_s_successor_is_followed_and_its_return_changes_nothing() {
    let mut stage = Stage::open();
    stage.shop.fill("/v1/products/7", "x");
    let epoch = stage.shop.epoch();
    stage.shop.redis.kill().unwrap();
    stage.shop.until_get("/v1/products/7", "stale disconnected");
    stage.until_promoted().unwrap();
    let promoted = Instant::now();
    stage.until_followed(epoch);
    assert!(promoted.elapsed() < 2 * SOON, "it took {:?}", promoted.elapsed());
    // One Sentinel gone is no matter, and neither is the old master, which comes back as a master first.
    stage.sentinels[0].process().kill().unwrap();
    stage.shop.until_fills_last();
    stage.shop.fill("/v1/products/7", "y");
    let epoch = stage.shop.epoch();
    stage.shop.redis.restart().unwrap();
    until("the old master is a replica", 2 * SOON, || {
        ensure!(stage.shop.redis.info("replication", "role")? == "slave");
        Ok(())
    })
    .unwrap();
    change(&stage.replica, 9);
    stage.shop.until_get("/v1/rows/9", "hit {\"id\":9}");
    assert_eq!((stage.shop.get("/v1/products/7").as_str(), stage.shop.epoch()), ("hit y", epoch));
}

#[test]
fn a_master_that_only_its_sentinels_have_lost_is_left() {
    let master = Redis::builder().password("all").start().unwrap();
    master.command::<String>(&["ACL", "SETUSER", "watcher", "on", ">all", "~*", "&*", "+@all"]).unwrap();
    change(&master, 1);
    let replica = Redis::builder().password("all").set("masterauth", "all");
    let replica = replica.replica_of(master.socket_address()).start().unwrap();
    replica.command::<String>(&["ACL", "SETUSER", "watcher", "on", ">all", "~*", "&*", "+@all"]).unwrap();
    let sentinels = Sentinel::start(3, SERVICE, &master, Some("guard")).unwrap();
    for sentinel in &sentinels {
        sentinel.command::<String>(&["SENTINEL", "SET", SERVICE, "auth-user", "watcher"]).unwrap();
    }
    let hosts = url(&sentinels).replace("redis+sentinel://", "redis+sentinel://:all@");
    let source = "urlFrom: {secretKeyRef: {name: redis, key: url}}, stream: shop.cdc";
    let builder =
        Sidecar::builder(executable(), &manifest_of(source, CACHES, "")).secret("redis", "url", &hosts);
    let mut shop = Shop::of(master, builder.start().unwrap());
    shop.until_reason("Redis refuses the credentials: NOAUTH");
    let url = format!("{hosts}?sentinelPassword=guard");
    shop.sidecar.change_secret("redis", "url", &url).unwrap();
    shop.until_fresh();
    shop.fill("/v1/products/7", "x");
    let epoch = shop.epoch();
    let mut stage = Stage { shop, replica, sentinels };
    stage.until_replicated();
    // The master goes on as one, and would answer for ever.
    stage.shop.redis.command::<String>(&["ACL", "SETUSER", "watcher", "off"]).unwrap();
    stage.shop.redis.command::<i64>(&["CLIENT", "KILL", "USER", "watcher"]).unwrap();
    stage.until_promoted().unwrap();
    assert_eq!(stage.shop.redis.info("replication", "role").unwrap().trim(), "master");
    stage.until_followed(epoch);
    assert!(stage.shop.sidecar.log().contains("Sentinels name another master"));
    assert!(!stage.shop.sidecar.log().contains("guard"));
}

#[test]
fn a_replica_is_never_taken_for_the_master() {
    let mut stage = Stage::open();
    let elsewhere = Redis::start().unwrap();
    stage.shop.redis.follow(Some(elsewhere.socket_address())).unwrap();
    let says = format!("{}, which isn't one", stage.shop.redis.address());
    stage.shop.until_reason(&says);
    assert_eq!(stage.shop.get("/v1/products/7"), "stale disconnected");
}

#[test]
fn a_master_that_becomes_a_replica_under_its_reader_is_left() {
    let mut stage = Stage::open();
    stage.shop.fill("/v1/products/7", "x");
    // Redis itself closes connections that wait at that instant; one between two reads it leaves open.
    stage.shop.sidecar.process().pause().unwrap();
    until("nobody waits for entries", SOON, || {
        let clients: String = stage.shop.redis.command(&["CLIENT", "LIST"])?;
        let waits = |client: &str| client.contains("cmd=xread") && client.contains("flags=b");
        ensure!(!clients.lines().any(waits), "{clients}");
        Ok(())
    })
    .unwrap();
    stage.replica.follow(None).unwrap();
    stage.shop.redis.follow(Some(stage.replica.socket_address())).unwrap();
    stage.shop.sidecar.process().resume().unwrap();
    stage
        .shop
        .sidecar
        .until("it is left", SOON, |sidecar| {
            ensure!(sidecar.log().contains("the server isn't a master any more"), "{}", sidecar.log());
            Ok(())
        })
        .unwrap();
    assert_ne!(stage.shop.get("/v1/products/7"), "hit x");
}

#[test]
fn sentinels_and_master_are_asked_by_tls() {
    let authority = Authority::new("test").unwrap();
    let certificate = authority.issue(&["127.0.0.1"]).unwrap();
    let master = Redis::builder().tls(&certificate).start().unwrap();
    let sentinel = Sentinel::start_tls(SERVICE, &master, &certificate).unwrap();
    let url = format!("rediss+sentinel://{}/{SERVICE}", sentinel.tls_address());
    let source =
        format!("url: '{url}', stream: shop.cdc, caFrom: {{secretKeyRef: {{name: redis, key: ca.crt}}}}");
    let builder = Sidecar::builder(executable(), &manifest_of(&source, CACHES, ""));
    let mut shop = Shop::with(master, builder.secret("redis", "ca.crt", &authority.pem()));
    change(&shop.redis, 8);
    shop.until_get("/v1/rows/8", "hit {\"id\":8}");
}

#[test]
fn why_there_is_no_master_is_said() {
    let redis = Redis::start().unwrap();
    let plain = redis.address();
    let mut shop = Shop::of(redis, sidecar(&format!("redis+sentinel://{plain}/m")).start().unwrap());
    shop.until_reason(&format!("no master: {plain} isn't a Sentinel"));

    let stage = Stage::open();
    let asked = url(&stage.sentinels).replace(SERVICE, "another");
    shop.sidecar = sidecar(&asked).start().unwrap();
    shop.until_reason("knows no service another");

    shop.redis.kill().unwrap();
    shop.sidecar = sidecar(&format!("redis+sentinel://{plain}/m")).start().unwrap();
    shop.until_reason(&format!("no connection to {plain}: connection refused"));
}
