//! Following the one node of a real Cluster that has the stream.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use freshet_e2e::process::{Authority, Redis, RedisCluster, Sidecar, until};

use crate::shop::{CACHES, SOON, Shop, event, executable, manifest_of};

const STREAM: &str = "shop.cdc";

fn change(redis: &Redis, id: u32) {
    let row = format!("{{\"id\":{id}}}");
    redis.xadd(STREAM, &[(&row, &event("product", "u", &row))]).unwrap();
}

/// A sidecar that knows of one node, which hasn't the stream. The shop's own Redis plays no part.
fn follow(cluster: &RedisCluster) -> Shop {
    let source = format!("url: 'redis+cluster://{}', stream: {STREAM}", cluster.other().address());
    Shop::with(Redis::start().unwrap(), Sidecar::builder(executable(), &manifest_of(&source, CACHES, "")))
}

#[test]
fn the_node_that_has_the_stream_is_followed_when_the_slot_moves() {
    let mut cluster = RedisCluster::start(STREAM).unwrap();
    // Before the first entry there is only the place where it will be.
    let mut shop = follow(&cluster);
    change(cluster.owner(), 1);
    shop.until_get("/v1/rows/1", "hit {\"id\":1}");
    shop.fill("/v1/products/7", "x");
    let epoch = shop.epoch();
    cluster.move_slot(STREAM).unwrap();
    shop.until_fresh_after(epoch);
    assert_eq!(shop.get("/v1/products/7"), "miss", "it is another server");
    change(cluster.owner(), 8);
    shop.until_get("/v1/rows/8", "hit {\"id\":8}");
}

#[test]
fn a_killed_node_s_replica_is_followed() {
    let mut cluster = RedisCluster::start(STREAM).unwrap();
    change(cluster.owner(), 1);
    let mut shop = follow(&cluster);
    shop.fill("/v1/products/7", "x");
    let epoch = shop.epoch();
    cluster.owner_mut().kill().unwrap();
    shop.until_get("/v1/products/7", "stale disconnected");
    until("the replica is the master", Duration::from_secs(30), || {
        ensure!(cluster.replica().info("replication", "role")?.trim() == "master");
        Ok(())
    })
    .unwrap();
    shop.until_fresh_after(epoch);
    assert_eq!(shop.get("/v1/products/7"), "miss");
    until("the Cluster takes writes again", SOON, || {
        ensure!(cluster.replica().command::<String>(&["CLUSTER", "INFO"])?.contains("cluster_state:ok"));
        Ok(())
    })
    .unwrap();
    change(cluster.replica(), 8);
    shop.until_get("/v1/rows/8", "hit {\"id\":8}");
}

#[test]
fn the_node_that_has_the_stream_is_found_and_followed_by_tls() {
    let authority = Authority::new("test").unwrap();
    let mut cluster = RedisCluster::start_tls(STREAM, &authority.issue(&["127.0.0.1"]).unwrap()).unwrap();
    change(cluster.owner(), 1);
    let url = format!("rediss+cluster://{}", cluster.other().tls_address());
    let source =
        format!("url: '{url}', stream: {STREAM}, caFrom: {{secretKeyRef: {{name: redis, key: ca.crt}}}}");
    let builder = Sidecar::builder(executable(), &manifest_of(&source, CACHES, ""));
    let mut shop = Shop::with(Redis::start().unwrap(), builder.secret("redis", "ca.crt", &authority.pem()));
    change(cluster.owner(), 8);
    shop.until_get("/v1/rows/8", "hit {\"id\":8}");
    let port = cluster.owner().tls_address();
    let reader = until("somebody reads", SOON, || {
        let clients: String = cluster.owner().command(&["CLIENT", "LIST"])?;
        let reader = clients.lines().find(|client| client.contains("cmd=xread"));
        reader.map(str::to_owned).context(clients.clone())
    })
    .unwrap();
    assert!(reader.contains(&format!("laddr={port}")), "its plain port is open, too: {reader}");
    let epoch = shop.epoch();
    cluster.move_slot(STREAM).unwrap();
    shop.until_fresh_after(epoch);
    change(cluster.owner(), 9);
    shop.until_get("/v1/rows/9", "hit {\"id\":9}");
}
