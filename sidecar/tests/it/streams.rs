//! What becomes of entries in Redis: streams lost, trimmed, evicted, overwritten, or put back to what they were.

use std::{fs, path::Path, process::Command};

use anyhow::ensure;
use freshet_e2e::process::{Redis, Sidecar, until};

use crate::shop::{CACHES, SOON, Shop, executable, manifest};

#[test]
fn a_restarted_redis_voids_everything() {
    let redis = Redis::builder().append_only().start().unwrap();
    let text = manifest(&redis, CACHES, "");
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    shop.fill("/v1/products/7", "x");
    let epoch = shop.epoch();
    shop.redis.restart().unwrap();
    shop.until_fresh_after(epoch);
    assert_eq!(shop.breaks(), ["server-changed"]);
    assert_eq!(shop.get("/v1/products/7"), "miss");
    shop.change("product", "{\"id\":7}", "c", "{\"id\":7}");
    shop.until_get("/v1/rows/7", "hit {\"id\":7}");
}

/// The older file has fewer entries than were read; as many others come before the sidecar looks again, so that it isn't
/// their number that tells.
#[test]
fn a_redis_that_restarts_with_older_data_voids_everything() {
    for (name, append_only) in [("dump.rdb", false), ("appendonlydir", true)] {
        let redis = Redis::builder();
        let redis = if append_only { redis.append_only() } else { redis }.start().unwrap();
        let text = manifest(&redis, CACHES, "");
        let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
        let save = |redis: &Redis| {
            // Each command is in the log once it is answered; a dump is made when it is asked for.
            if !append_only {
                redis.command::<String>(&["SAVE"]).unwrap();
            }
        };
        let length = |redis: &Redis| redis.command::<u64>(&["XLEN", "shop.inventory.product"]).unwrap();
        shop.change("product", "{\"id\":7}", "c", "{\"id\":7,\"v\":1}");
        save(&shop.redis);
        let folder: Vec<String> = shop.redis.command(&["CONFIG", "GET", "dir"]).unwrap();
        let file = Path::new(&folder[1]).join(name);
        let aside = file.with_file_name("aside");
        assert!(Command::new("cp").arg("-r").args([&file, &aside]).status().unwrap().success());

        shop.change("product", "{\"id\":7}", "u", "{\"id\":7,\"v\":2}");
        assert_eq!(length(&shop.redis), 2);
        save(&shop.redis);
        shop.until_get("/v1/rows/7", "hit {\"id\":7,\"v\":2}");
        shop.fill("/v1/products/7", "two");
        let (epoch, lease) = (shop.epoch(), shop.lease("/v1/products/7"));

        shop.sidecar.process().pause().unwrap();
        shop.redis.kill().unwrap();
        if append_only { fs::remove_dir_all(&file) } else { fs::remove_file(&file) }.unwrap();
        fs::rename(&aside, &file).unwrap();
        shop.redis.restart().unwrap();
        assert_eq!(length(&shop.redis), 1, "{name}");
        shop.change("product", "{\"id\":8}", "c", "{\"id\":8}");
        shop.sidecar.process().resume().unwrap();

        shop.until_fresh_after(epoch);
        assert_eq!(shop.breaks(), ["server-changed"], "{name}");
        assert_eq!(shop.put("/v1/products/7", &lease, "two"), 409, "{name}: a lease from before");
        shop.settle();
        for path in ["/v1/products/7", "/v1/rows/7"] {
            assert_eq!(shop.get(path), "miss", "{name}: {path}");
        }
        shop.change("product", "{\"id\":7}", "u", "{\"id\":7,\"v\":3}");
        shop.until_get("/v1/rows/7", "hit {\"id\":7,\"v\":3}");
    }
}

#[test]
fn a_lost_stream_voids_everything() {
    const STREAM: &str = "shop.inventory.stock";
    // Gone and made anew before anyone looked.
    fn anew(redis: &Redis, id: &str) {
        let script = "redis.call('DEL', KEYS[1]); return redis.call('XADD', KEYS[1], ARGV[1], 'a', 'b')";
        redis.command::<String>(&["EVAL", script, "1", STREAM, id]).unwrap();
    }
    type Lose = fn(&Redis);
    let ways: [(&str, Lose, &str); 5] = [
        ("FLUSHALL", |redis| redis.command(&["FLUSHALL"]).unwrap(), "stream-gone"),
        ("DEL", |redis| redis.command(&["DEL", STREAM]).unwrap(), "stream-gone"),
        ("evicted", evict, "stream-gone"),
        ("made anew with an older id", |redis| anew(redis, "1-1"), "id-went-back"),
        ("made anew with a later id", |redis| anew(redis, "*"), "entries-missed"),
    ];
    for (way, lose, why) in ways {
        let mut shop = Shop::ordinary();
        shop.settle();
        shop.fill("/v1/products/7", "x");
        let epoch = shop.epoch();
        lose(&shop.redis);
        shop.until_fresh_after(epoch);
        assert_eq!(shop.breaks(), [why], "{way}");
        assert_eq!(shop.get("/v1/products/7"), "miss", "{way}");
    }
}

/// Fills a Redis that evicts what was used longest ago, until one of the streams has gone.
fn evict(redis: &Redis) {
    let used: u64 = redis.info("memory", "used_memory").unwrap().parse().unwrap();
    redis.command::<String>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).unwrap();
    redis.command::<String>(&["CONFIG", "SET", "maxmemory", &(used + (2 << 20)).to_string()]).unwrap();
    let filler = "x".repeat(256 << 10);
    let mut number = 0;
    until("a stream is evicted", SOON, || {
        number += 1;
        redis.command::<String>(&["SET", &format!("filler-{number}"), &filler])?;
        let streams = ["product", "category", "stock"].map(|table| format!("shop.inventory.{table}"));
        let words: Vec<_> = ["EXISTS"].into_iter().chain(streams.iter().map(String::as_str)).collect();
        let left: usize = redis.command(&words)?;
        ensure!(left < streams.len(), "all streams are there after {number} fillers");
        Ok(())
    })
    .unwrap();
    assert_ne!(redis.info("stats", "evicted_keys").unwrap(), "0");
    redis.command::<String>(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
}

#[test]
fn entries_trimmed_before_they_were_read_void_everything() {
    // Each in one step, so that the waiting read finds nothing, or nothing but the entry after it.
    for (lose, left) in [
        ("redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)", 0),
        ("redis.call('XDEL', KEYS[1], id)", 1),
        ("redis.call('XADD', KEYS[1], '*', '{\"id\":8}', ARGV[2]); redis.call('XDEL', KEYS[1], id)", 2),
    ] {
        let mut shop = Shop::ordinary();
        shop.settle();
        shop.fill("/v1/products/7", "x");
        let epoch = shop.epoch();
        let script = format!(
            "local id = redis.call('XADD', KEYS[1], '*', ARGV[1], ARGV[2]); {lose}; return redis.call('XLEN', KEYS[1])"
        );
        let event = crate::shop::event("product", "u", "null");
        let stream = "shop.inventory.product";
        let length =
            shop.redis.command::<u64>(&["EVAL", &script, "1", stream, "{\"id\":7}", &event]).unwrap();
        assert_eq!(length, left, "{lose}");
        shop.until_fresh_after(epoch);
        assert_eq!(shop.breaks(), ["entries-missed"], "{lose}");
        assert_eq!(shop.get("/v1/products/7"), "miss", "{lose}");
    }
}

/// What the operator's retention does all the time.
#[test]
fn entries_trimmed_after_they_were_read_void_nothing() {
    let mut shop = Shop::ordinary();
    shop.settle();
    shop.fill("/v1/products/7", "x");
    let epoch = shop.epoch();
    let stream = "shop.inventory.product";
    for _ in 0..2 {
        shop.apply("product", "{\"id\":8}", "u", "null");
        shop.redis.command::<i64>(&["XTRIM", stream, "MAXLEN", "0"]).unwrap();
    }
    assert_eq!(shop.redis.command::<u64>(&["XLEN", stream]).unwrap(), 0);
    let looks = |redis: &Redis| -> u64 {
        let stats: String = redis.command(&["INFO", "commandstats"]).unwrap();
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_xinfo|stream:calls=")).unwrap();
        calls.split(',').next().unwrap().parse().unwrap()
    };
    // Each check of the continuity looks at every stream: so many are two or more.
    let before = looks(&shop.redis);
    until("the continuity is checked", SOON, || {
        ensure!(looks(&shop.redis) > before + 40);
        Ok(())
    })
    .unwrap();
    shop.apply("product", "{\"id\":8}", "u", "null");
    assert_eq!((shop.get("/v1/products/7").as_str(), shop.epoch()), ("hit x", epoch));
}

#[test]
fn a_key_that_is_no_stream_is_reported_and_mended() {
    let mut shop = Shop::ordinary();
    shop.settle();
    shop.fill("/v1/products/7", "x");
    shop.redis.command::<String>(&["SET", "shop.inventory.stock", "oops"]).unwrap();
    shop.sidecar
        .until("the wrong type is reported", SOON, |sidecar| {
            let status = sidecar.status()?;
            ensure!(
                status["sources"]["cdc"]["reason"] == "`shop.inventory.stock` isn't a stream",
                "{status}"
            );
            Ok(())
        })
        .unwrap();
    assert_eq!(
        (shop.get("/v1/products/7").as_str(), shop.breaks()),
        ("stale gapped", vec!["wrong-type".to_owned()])
    );
    shop.redis.command::<i64>(&["DEL", "shop.inventory.stock"]).unwrap();
    shop.until_fresh();
    assert_eq!(shop.get("/v1/products/7"), "miss");
}
