//! Redis gone, slow or changed: the sidecar comes back by itself and holds nothing it can't vouch for.

use std::time::Duration;

use anyhow::ensure;
use freshet_e2e::process::{Redis, Sidecar, until};

use crate::{
    drift::beat,
    shop::{CACHES, SOON, Shop, executable, manifest},
};

#[test]
fn without_redis_nothing_is_vouched_for_and_the_sidecar_still_answers() {
    let mut shop = Shop::ordinary();
    shop.fill("/v1/products/7", "x");
    shop.redis.kill().unwrap();
    shop.until_get("/v1/products/7", "stale disconnected");
    let reason = shop.sidecar.status().unwrap()["sources"]["cdc"]["reason"].clone();
    assert!(reason.is_string(), "{reason}");
    assert_eq!(freshet_e2e::process::http::get(&shop.sidecar.admin(), "/readyz").unwrap().status, 503);
    assert_eq!(freshet_e2e::process::http::get(&shop.sidecar.admin(), "/livez").unwrap().status, 200);
}

#[test]
fn a_sidecar_that_starts_before_redis_waits_for_it() {
    let mut redis = Redis::start().unwrap();
    redis.kill().unwrap();
    let text = manifest(&redis, CACHES, "");
    let sidecar = Sidecar::builder(executable(), &text).start().unwrap();
    let mut shop = Shop::of(redis, sidecar);
    assert_eq!(shop.get("/v1/products/7"), "stale disconnected");
    assert_eq!(shop.sidecar.get("/v1/products/7").unwrap().header("freshet-lease"), None);
    shop.redis.restart().unwrap();
    shop.until_fresh();
    shop.fill("/v1/products/7", "x");
}

#[test]
fn a_stopped_redis_is_noticed_and_what_it_still_has_is_caught_up() {
    let mut shop = Shop::ordinary();
    shop.settle();
    shop.fill("/v1/products/7", "x");
    shop.fill("/v1/products/8", "y");
    shop.redis.pause().unwrap();
    shop.sidecar
        .until("nothing is vouched for", SOON, |sidecar| {
            let status = sidecar.get("/v1/products/7")?.header("cache-status").unwrap_or_default().to_owned();
            ensure!(status.contains("fwd=stale"), "{status}");
            Ok(())
        })
        .unwrap();
    shop.redis.resume().unwrap();
    shop.until_get("/v1/products/7", "hit x");
    shop.change("product", "{\"id\":7}", "u", "null");
    shop.until_get("/v1/products/7", "miss");
    assert_eq!(shop.get("/v1/products/8"), "hit y", "a pause without loss drops nothing");
}

#[test]
fn a_cut_connection_without_loss_drops_nothing() {
    let mut shop = Shop::ordinary();
    shop.settle();
    shop.fill("/v1/products/7", "x");
    let epoch = shop.epoch();
    shop.redis.command::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
    shop.sidecar
        .until("it is connected again", SOON, |sidecar| {
            let metrics = sidecar.metrics()?;
            let line = |line: &str| {
                line.strip_prefix("freshet_source_connects_total{source=\"cdc\"} ")?.parse().ok()
            };
            let connects: Option<u32> = metrics.lines().find_map(line);
            ensure!(connects >= Some(2), "{connects:?}");
            Ok(())
        })
        .unwrap();
    shop.until_fresh();
    assert_eq!((shop.get("/v1/products/7").as_str(), shop.epoch()), ("hit x", epoch));
}

#[test]
fn a_lasting_fault_at_the_start_is_told_once() {
    let redis = Redis::start().unwrap();
    redis.command::<String>(&["SET", "shop.inventory.stock", "oops"]).unwrap();
    let text = manifest(&redis, CACHES, "");
    let mut shop = Shop::of(redis, Sidecar::builder(executable(), &text).start().unwrap());
    let attempts = |redis: &Redis| {
        let stats: String = redis.command(&["INFO", "stats"]).unwrap();
        let made = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
        made.trim().parse::<u64>().unwrap()
    };
    let before = attempts(&shop.redis);
    let Shop { redis, app } = &mut shop;
    app.sidecar
        .until("several attempts are made", SOON, |sidecar| {
            let status = sidecar.status()?;
            ensure!(attempts(redis) >= before + 10, "{status}");
            Ok(())
        })
        .unwrap();
    let log = shop.sidecar.log();
    assert_eq!(log.matches("source is unavailable").count(), 1, "{log}");
    assert_eq!(log.matches("following").count(), 0, "{log}");
    assert!(shop.sidecar.metrics().unwrap().contains("freshet_source_connects_total{source=\"cdc\"} 0"));
    shop.redis.command::<i64>(&["DEL", "shop.inventory.stock"]).unwrap();
    shop.until_fresh();
    until("it says that it follows", SOON, || {
        ensure!(shop.sidecar.log().matches("following").count() == 1);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_wrong_password_is_told_and_a_right_one_is_taken_without_a_restart() {
    let redis = Redis::builder().password("right-one").start().unwrap();
    let from = "urlFrom: {secretKeyRef: {name: redis, key: url}}";
    let text = manifest(&redis, CACHES, "").replacen(&format!("url: '{}'", redis.url()), from, 1);
    let url = |password: &str| format!("redis://:{password}@{}/", redis.address());
    let sidecar =
        Sidecar::builder(executable(), &text).secret("redis", "url", &url("wrong-one")).start().unwrap();
    let right = url("right-one");
    let mut shop = Shop::of(redis, sidecar);
    shop.sidecar
        .until("the refusal is told", SOON, |sidecar| {
            let status = sidecar.status()?;
            let reason = status["sources"]["cdc"]["reason"].as_str().unwrap_or_default().to_owned();
            ensure!(reason.to_lowercase().contains("auth") || reason.contains("WRONGPASS"), "{status}");
            Ok(())
        })
        .unwrap();
    std::fs::write(shop.sidecar.folder().join("secrets/redis/url"), right).unwrap();
    shop.until_fresh();
    let seen =
        [shop.sidecar.log(), shop.sidecar.status().unwrap().to_string(), shop.sidecar.metrics().unwrap()];
    for password in ["wrong-one", "right-one"] {
        assert!(seen.iter().all(|text| !text.contains(password)), "a password was told");
    }
}

#[test]
fn a_missing_secret_is_told_and_waited_for() {
    let redis = Redis::start().unwrap();
    let from = "urlFrom: {secretKeyRef: {name: redis, key: url}}";
    let text = manifest(&redis, CACHES, "").replacen(&format!("url: '{}'", redis.url()), from, 1);
    let mut shop = Shop::of(redis, Sidecar::builder(executable(), &text).start().unwrap());
    shop.sidecar
        .until("the missing Secret is named", SOON, |sidecar| {
            let status = sidecar.status()?;
            let reason = status["sources"]["cdc"]["reason"].as_str().unwrap_or_default().to_owned();
            ensure!(reason.contains("Secret `redis`, key `url`"), "{status}");
            Ok(())
        })
        .unwrap();
    let folder = shop.sidecar.folder().join("secrets/redis");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("url"), format!("{}\n", shop.redis.url())).unwrap();
    shop.until_fresh();
}

#[test]
fn a_stopped_sidecar_serves_nothing_old_when_it_wakes() {
    let mut shop = Shop::ordinary();
    shop.settle();
    shop.fill("/v1/products/7", "old");
    shop.sidecar.process().pause().unwrap();
    shop.change("product", "{\"id\":7}", "u", "null");
    // Longer than continuity alone vouches for, so that only a look at the clock can tell.
    std::thread::sleep(Duration::from_millis(2500));
    shop.sidecar.process().resume().unwrap();
    let first = shop.get("/v1/products/7");
    assert!(first.starts_with("stale") || first == "miss", "{first}");
    shop.until_get("/v1/products/7", "miss");
}

#[test]
fn a_heartbeat_that_is_declared_bounds_staleness() {
    let redis = Redis::start().unwrap();
    let freshness = "  freshness: {maxStaleness: 3s, heartbeat: Debezium}";
    let text = manifest(&redis, CACHES, freshness);
    let sidecar = Sidecar::builder(executable(), &text).start().unwrap();
    let mut shop = Shop::of(redis, sidecar);
    shop.until_get("/v1/products/7", "stale starting");
    until_vouched(&mut shop);
    shop.until_get("/v1/products/7", "stale lagging");
    until_vouched(&mut shop);
}

/// Heartbeats come until one vouches for a read.
fn until_vouched(shop: &mut Shop) {
    until("a heartbeat vouches for it", SOON, || {
        beat(&shop.redis, "shop");
        let found = shop.get_now("/v1/products/7");
        ensure!(found == "miss", "{found}");
        Ok(())
    })
    .unwrap();
}

/// A stopped sidecar finds heartbeats and many more changes than one read takes.
#[test]
fn a_heartbeat_vouches_for_nothing_before_what_came_with_it_is_applied() {
    let redis = Redis::start().unwrap();
    let freshness = "  freshness: {maxStaleness: 2s, heartbeat: Debezium, clockSkew: 0s, readLag: 0s}";
    let text = manifest(&redis, CACHES, freshness);
    let sidecar = Sidecar::builder(executable(), &text).start().unwrap();
    let mut shop = Shop::of(redis, sidecar);
    shop.change("product", "{\"id\":1}", "u", "null");
    shop.until_get("/v1/products/7", "stale starting");
    beat(&shop.redis, "shop");
    shop.until_get("/v1/products/7", "miss");
    let proven = std::time::Instant::now();
    shop.fill("/v1/products/7", "old");
    shop.sidecar.process().pause().unwrap();
    let add = "for i = 1, 10000 do redis.call('XADD', KEYS[1], '*', '{\"id\":' .. i + 100 .. '}', ARGV[1]) end \
               return redis.call('XADD', KEYS[1], '*', '{\"id\":7}', ARGV[1])";
    let event = crate::shop::event("product", "u", "null");
    shop.redis.command::<String>(&["EVAL", add, "1", "shop.inventory.product", &event]).unwrap();
    // Until what was proven before the stop is too old, so that only the new heartbeat can vouch.
    std::thread::sleep(Duration::from_millis(2200).saturating_sub(proven.elapsed()));
    beat(&shop.redis, "shop");
    shop.sidecar.process().resume().unwrap();
    let mut stale = 0;
    let Shop { redis, app } = &mut shop;
    app.sidecar
        .until("the last change is applied", SOON, |sidecar| {
            let found = crate::shop::outcome(&sidecar.get("/v1/products/7")?);
            assert_ne!(found, "hit old", "after {stale} stale answers");
            stale += 1;
            beat(redis, "shop");
            ensure!(found == "miss", "{found}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn stale_values_are_served_marked_where_the_binding_says_so() {
    let redis = Redis::start().unwrap();
    let freshness = "  freshness: {maxStaleness: 1s, heartbeat: Debezium, onStale: Serve, serveStaleFor: 1h, clockSkew: 0s, readLag: 0s}";
    let text = manifest(&redis, CACHES, freshness);
    let mut shop = Shop::of(redis, Sidecar::builder(executable(), &text).start().unwrap());
    shop.until_get("/v1/products/7", "stale starting");
    beat(&shop.redis, "shop");
    shop.sidecar
        .until("a value is stored", SOON, |sidecar| {
            let answer = sidecar.get("/v1/products/7")?;
            let headers = [("freshet-lease", answer.header("freshet-lease").unwrap_or_default())];
            let put = sidecar.request("PUT", "/v1/products/7", &headers, b"x")?;
            ensure!(put.status == 204, "{put:?}");
            Ok(())
        })
        .unwrap();
    let status = |sidecar: &Sidecar, path: &str| -> anyhow::Result<String> {
        Ok(sidecar.get(path)?.header("cache-status").unwrap_or_default().to_owned())
    };
    shop.sidecar
        .until("it is stale", SOON, |sidecar| {
            let found = status(sidecar, "/v1/products/7")?;
            ensure!(
                found.starts_with("freshet; hit; ttl=-") && found.ends_with("; detail=lagging"),
                "{found}"
            );
            Ok(())
        })
        .unwrap();
    assert_eq!(status(&shop.sidecar, "/v1/products/8").unwrap(), "freshet; fwd=stale; detail=lagging");
    assert!(shop.sidecar.get("/v1/products/8").unwrap().header("freshet-lease").is_some());
}

/// The guide to the installation tells what a sidecar's user in Redis has to be allowed: that, word for word.
#[test]
fn the_documented_permissions_are_enough() {
    let guide =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guides/install.md")).unwrap();
    let rule = guide.lines().find(|line| line.starts_with("ACL SETUSER freshet ")).unwrap();
    let rule = rule.replace("<password>", "some-password");
    let redis = Redis::start().unwrap();
    redis.command::<String>(&rule.split(' ').collect::<Vec<_>>()).unwrap();
    let from = "urlFrom: {secretKeyRef: {name: redis, key: url}}";
    let freshness = "  freshness: {maxStaleness: 60s, heartbeat: Debezium}";
    let text = manifest(&redis, CACHES, freshness).replacen(&format!("url: '{}'", redis.url()), from, 1);
    let url = format!("redis://freshet:some-password@{}", redis.address());
    let sidecar = Sidecar::builder(executable(), &text).secret("redis", "url", &url).start().unwrap();
    let mut shop = Shop::of(redis, sidecar);
    shop.until_state("Starting");
    beat(&shop.redis, "shop");
    shop.until_fresh();
    shop.fill("/v1/products/7", "x");
    shop.change("product", "{\"id\":7}", "u", "null");
    shop.until_get("/v1/products/7", "miss");
}
