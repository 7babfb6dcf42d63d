//! Clocks and names that change: what goes on under the old name, or with ids that stand still.

use anyhow::ensure;
use freshet_e2e::process::{Redis, Sidecar};

use crate::shop::{CACHES, SOON, Shop, event, executable, manifest};

/// A new master's clock may be behind the old one's: its ids keep the newest time there was and count on.
#[test]
fn ids_of_a_clock_that_went_back_only_count_on() {
    let mut shop = Shop::open();
    shop.settle();
    shop.fill("/v1/products/7", "x");
    shop.fill("/v1/products/8", "y");
    let epoch = shop.epoch();
    // As if an hour ahead were the newest time that the old master had given.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let (ahead, value) = (format!("{}-0", now + 3_600_000), event("product", "u", "{\"id\":1}"));
    let add = ["XADD", "shop.inventory.product", &ahead, "{\"id\":1}", &value];
    shop.redis.command::<String>(&add).unwrap();
    let id = shop.change("product", "{\"id\":7}", "u", "{\"id\":7}");
    assert_eq!(id, ahead.replace("-0", "-1"), "the time stands still");
    shop.until_get("/v1/products/7", "miss");
    shop.until_fresh();
    assert_eq!(shop.get("/v1/products/8"), "hit y");
    assert_eq!(shop.epoch(), epoch);
}

/// Under another `topic.prefix` Debezium writes other streams: nothing comes in those that are followed, and only a
/// heartbeat that is declared tells that from a quiet database.
#[test]
fn under_another_prefix_nothing_is_vouched_for() {
    let redis = Redis::start().unwrap();
    let text = manifest(&redis, CACHES, "  freshness: {maxStaleness: 3s, heartbeat: Debezium}");
    let sidecar = Sidecar::builder(executable(), &text).start().unwrap();
    let mut shop = Shop::of(redis, sidecar);
    let positioned = |sidecar: &Sidecar| {
        let status = sidecar.status()?;
        ensure!(
            status["sources"]["cdc"]["position"].as_object().is_some_and(|at| !at.is_empty()),
            "{status}"
        );
        Ok(())
    };
    shop.sidecar.until("the streams have positions", SOON, positioned).unwrap();
    beat(&shop.redis, "shop");
    shop.until_get("/v1/products/7", "miss");
    shop.until_fills_last();
    beat(&shop.redis, "shop");
    shop.until_get("/v1/products/7", "miss");
    shop.fill("/v1/products/7", "x");
    assert_eq!(shop.get("/v1/products/7"), "hit x");
    let add = ["XADD", "store.inventory.product", "*", "{\"id\":7}", &event("product", "u", "{\"id\":7}")];
    shop.redis.command::<String>(&add).unwrap();
    beat(&shop.redis, "store");
    shop.until_get("/v1/products/7", "stale lagging");
}

/// A heartbeat of Debezium's own, as of now.
pub(crate) fn beat(redis: &Redis, prefix: &str) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let (key, value) = (format!("{{\"serverName\":\"{prefix}\"}}"), format!("{{\"ts_ms\":{now}}}"));
    redis.xadd(&format!("__debezium-heartbeat.{prefix}"), &[(&key, &value)]).unwrap();
}
