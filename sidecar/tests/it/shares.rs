//! How caches share the binding's memory.

use anyhow::ensure;
use freshet_e2e::process::{Redis, Sidecar, until};

use crate::shop::{SOON, Shop, event, executable, manifest};

/// A quarter of 4 MiB is products', and the rest is for the other two.
const CACHES: &str = "
  - {name: products, table: inventory.product, share: 25%}
  - {name: rows, table: inventory.product}
  - {name: stock, table: inventory.stock}";
const MORE: &str = "  memory: 4Mi\n  sidecar: {maxValue: 100k}";

#[test]
fn a_cache_that_is_flooded_leaves_anothers_share_alone_and_limits_are_told() {
    let redis = Redis::start().unwrap();
    for table in ["product", "stock"] {
        redis
            .xadd(&format!("shop.inventory.{table}"), &[("{\"id\":1}", &event(table, "u", "null"))])
            .unwrap();
    }
    let text = manifest(&redis, CACHES, MORE);
    let shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    let value = "x".repeat(50_000);
    for key in 1..=10 {
        shop.fill(&format!("/v1/products/{key}"), &value);
    }
    for key in 1..=200 {
        shop.fill(&format!("/v1/stock/{key}"), &value);
    }
    // What is pushed out is freed by moka's epochs, a little later.
    let status = until("what was pushed out is freed", SOON, || {
        let status = shop.sidecar.status()?;
        let entries = status["caches"]["stock"]["entries"].as_u64();
        ensure!(entries.is_some_and(|entries| entries < 100), "{status}");
        Ok(status)
    })
    .unwrap();
    let of = |cache: &str, what: &str| status["caches"][cache][what].as_u64().unwrap();
    assert_eq!(of("products", "entries"), 10, "{status}");
    let limits = ["products", "rows", "stock"].map(|cache| of(cache, "limitBytes"));
    assert_eq!(limits, [1 << 20, 3 << 20, 3 << 20], "{status}");
    let metrics = shop.sidecar.metrics().unwrap();
    for line in [
        "freshet_cache_limit_bytes{cache=\"products\"} 1048576.0",
        "freshet_cache_limit_bytes{cache=\"stock\"} 3145728.0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    for key in 1..=10 {
        assert!(shop.get(&format!("/v1/products/{key}")).starts_with("hit"), "{key}");
    }
}
