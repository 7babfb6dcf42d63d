//! What a reader may want of a value: that it isn't older than so much, or that its freshness was proven lately.

use anyhow::ensure;
use freshet_e2e::process::{Redis, Sidecar};

use crate::{
    drift::beat,
    positions::detail,
    shop::{CACHES, SOON, Shop, executable, manifest, outcome},
};

#[test]
fn a_reader_may_want_a_younger_value() {
    let mut shop = Shop::open();
    shop.settle();
    shop.fill("/v1/products/1", "x");
    let within = |sidecar: &Sidecar, max_age: &str| {
        sidecar.request("GET", "/v1/products/1", &[("cache-control", max_age)], b"")
    };
    let too_old = shop
        .sidecar
        .until("the value is older than a second", SOON, |sidecar| {
            let answer = within(sidecar, "max-age=1")?;
            ensure!(outcome(&answer) == "miss", "{answer:?}");
            Ok(answer)
        })
        .unwrap();
    assert_eq!(detail(&too_old), "max-age");
    assert!(too_old.header("freshet-lease").is_some(), "its reader is to load a younger one");
    assert_eq!(outcome(&within(&shop.sidecar, "max-age=60").unwrap()), "hit x");
    assert_eq!(shop.get("/v1/products/1"), "hit x", "whoever doesn't ask isn't concerned");
}

#[test]
fn a_reader_may_want_a_newer_proof_of_freshness() {
    let redis = Redis::start().unwrap();
    let freshness = "  freshness: {maxStaleness: 5m, heartbeat: Debezium, readLag: 0s}";
    let text = manifest(&redis, CACHES, freshness);
    let mut shop = Shop::of(redis, Sidecar::builder(executable(), &text).start().unwrap());
    shop.until_get("/v1/products/1", "stale starting");
    beat(&shop.redis, "shop");
    shop.until_fresh();
    shop.fill("/v1/products/1", "x");
    let within = |sidecar: &Sidecar, ms: &str| {
        sidecar.request("GET", "/v1/products/1", &[("freshet-max-staleness", ms)], b"")
    };
    let too_old = shop
        .sidecar
        .until("the heartbeat is older than two seconds", SOON, |sidecar| {
            let answer = within(sidecar, "2000")?;
            ensure!(outcome(&answer) == "stale max-staleness", "{answer:?}");
            Ok(answer)
        })
        .unwrap();
    assert!(too_old.header("freshet-lease").is_some(), "its reader goes to the database itself");
    assert_eq!(outcome(&within(&shop.sidecar, "60000").unwrap()), "hit x");
    assert_eq!(shop.get("/v1/products/1"), "hit x", "whoever doesn't ask isn't concerned");
    let Shop { redis, app } = &mut shop;
    app.sidecar
        .until("another heartbeat proves more", SOON, |sidecar| {
            beat(redis, "shop");
            let answer = within(sidecar, "2000")?;
            ensure!(outcome(&answer) == "hit x", "{answer:?}");
            Ok(())
        })
        .unwrap();
}
