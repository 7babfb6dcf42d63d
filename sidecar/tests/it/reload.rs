//! The binding's file changes while the sidecar runs.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::ensure;
use freshet_e2e::process::{Redis, Sidecar};

use crate::{
    bad_input::problem,
    shop::{SOON, Shop, executable, manifest},
};

const ROWS: &str = "\n  - {name: products, table: inventory.product, ttl: 10m}";

fn shop(caches: &str) -> Shop {
    let redis = Redis::start().unwrap();
    let text = manifest(&redis, caches, "");
    Shop::with(redis, Sidecar::builder(executable(), &text))
}

fn until_binding(shop: &mut Shop, state: &str) -> serde_json::Value {
    shop.sidecar
        .until(&format!("the binding is {state}"), SOON, |sidecar| {
            let status = sidecar.status()?;
            ensure!(status["binding"]["state"] == state, "{status}");
            Ok(status)
        })
        .unwrap()
}

#[test]
fn a_new_cache_appears_and_the_others_keep_their_values() {
    let mut shop = shop(ROWS);
    shop.fill("/v1/products/7", "x");
    let more = format!("{ROWS}\n  - {{name: people, table: crm.person}}");
    shop.sidecar.rebind(&manifest(&shop.redis, &more, "")).unwrap();
    shop.sidecar
        .until("the new cache gives leases", SOON, |sidecar| {
            let answer = sidecar.get("/v1/people/1")?;
            ensure!(answer.header("freshet-lease").is_some(), "{answer:?}");
            Ok(())
        })
        .unwrap();
    assert_eq!(shop.get("/v1/products/7"), "hit x");
    shop.fill("/v1/people/1", "Anne");
    let event = crate::shop::event("person", "u", "null").replace("inventory", "crm");
    shop.redis.xadd("shop.crm.person", &[("{\"id\":1}", &event)]).unwrap();
    shop.until_get("/v1/people/1", "miss");
}

#[test]
fn a_changed_definition_starts_empty() {
    let mut shop = shop(ROWS);
    shop.fill("/v1/products/7", "x");
    let lease = shop.lease("/v1/products/8");
    shop.sidecar.rebind(&manifest(&shop.redis, &ROWS.replace("10m", "11m"), "")).unwrap();
    shop.until_get("/v1/products/7", "miss");
    assert_eq!(shop.put("/v1/products/8", &lease, "x"), 409);
    shop.fill("/v1/products/7", "y");
    shop.sidecar.rebind(&manifest(&shop.redis, &ROWS.replace("10m", "11m"), "  epoch: now")).unwrap();
    shop.until_get("/v1/products/7", "miss");
}

#[test]
fn a_bad_change_is_told_and_changes_nothing() {
    let mut shop = shop(ROWS);
    shop.fill("/v1/products/7", "x");
    let bad = manifest(&shop.redis, &ROWS.replace("table:", "tabel:"), "");
    shop.sidecar.rebind(&bad).unwrap();
    let status = until_binding(&mut shop, "BindingRejected");
    let error = status["binding"]["error"].as_str().unwrap();
    assert!(error.contains("unknown field `spec.caches[0].tabel` at line 9"), "{error}");
    assert_eq!(shop.get("/v1/products/7"), "hit x");
    shop.sidecar.rebind(&manifest(&shop.redis, ROWS, "  memory: 65Mi")).unwrap();
    until_binding(&mut shop, "Current");
    assert_eq!(shop.get("/v1/products/7"), "miss", "a change of memory starts empty");
}

#[test]
fn a_binding_that_is_gone_stays_in_force() {
    let mut shop = shop(ROWS);
    shop.fill("/v1/products/7", "x");
    let path = shop.sidecar.binding_path().to_owned();
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    until_binding(&mut shop, "BindingDeleted");
    assert_eq!(shop.get("/v1/products/7"), "hit x");
    shop.change("product", "{\"id\":7}", "u", "null");
    shop.until_get("/v1/products/7", "miss");
    shop.sidecar.rebind(&text).unwrap();
    until_binding(&mut shop, "Current");
}

/// A read's directives are judged as they are where values are served.
fn directives_count_where_nothing_is_served(shop: &Shop, path: &str, detail: &str) {
    for method in ["GET", "HEAD"] {
        let ask = |name, value| shop.sidecar.request(method, path, &[(name, value)], b"").unwrap();
        let only = ask("cache-control", "only-if-cached");
        assert_eq!(only.status, 504, "{path}");
        assert_eq!(
            only.header("cache-status"),
            Some(format!("freshet; fwd=stale; detail={detail}").as_str())
        );
        assert_eq!(ask("cache-control", "max-age=x").status, 400, "{path}");
        assert_eq!(ask("freshet-min-position", "22674008").status, 400, "{path}");
        // Which sources there are isn't known.
        assert_eq!(ask("freshet-min-position", "wire=\"lsn:0/1\"").status, 404, "{path}");
    }
    let only = shop.sidecar.request("GET", path, &[("cache-control", "only-if-cached")], b"").unwrap();
    problem(&only, 504, "not-cached", "cached values only");
}

#[test]
fn without_a_binding_misses_are_served_until_it_comes() {
    let redis = Redis::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("binding.yaml");
    let sidecar = Sidecar::builder(executable(), "").binding_file(&path).start().unwrap();
    let mut shop = Shop::of(redis, sidecar);
    until_binding(&mut shop, "NoBinding");
    assert_eq!(shop.get("/v1/anything/7"), "stale no-binding");
    directives_count_where_nothing_is_served(&shop, "/v1/anything/7", "no-binding");
    assert_eq!(shop.put("/v1/anything/7", "AAAA", "x"), 400);
    fs::write(&path, manifest(&shop.redis, ROWS, "")).unwrap();
    shop.until_fresh();
    shop.fill("/v1/products/7", "x");
}

/// Writes as kubelet does: a new folder, then the link to it swapped in one step.
fn publish(volume: &Path, version: &str, text: &str) {
    fs::create_dir(volume.join(version)).unwrap();
    fs::write(volume.join(version).join("binding.yaml"), text).unwrap();
    symlink(version, volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    if !volume.join("binding.yaml").exists() {
        symlink("..data/binding.yaml", volume.join("binding.yaml")).unwrap();
    }
}

#[test]
fn a_mounted_config_map_is_followed_through_its_link() {
    let redis = Redis::start().unwrap();
    let volume = tempfile::tempdir().unwrap();
    publish(volume.path(), "..1", &manifest(&redis, ROWS, ""));
    let sidecar = Sidecar::builder(executable(), "").binding_file(volume.path().join("binding.yaml"));
    let mut shop = Shop::with(redis, sidecar);
    shop.fill("/v1/products/7", "x");
    publish(volume.path(), "..2", &manifest(&shop.redis, &ROWS.replace("products", "goods"), ""));
    fs::remove_dir_all(volume.path().join("..1")).unwrap();
    shop.sidecar
        .until("the new cache is there", SOON, |sidecar| {
            let status = sidecar.get("/v1/products/7")?.status;
            let goods = sidecar.get("/v1/goods/7")?;
            ensure!(goods.header("freshet-lease").is_some(), "products: {status}, goods: {goods:?}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_newer_operators_binding_is_read_as_far_as_it_goes() {
    let redis = Redis::start().unwrap();
    let caches = format!("{ROWS}\n  - {{name: shards, table: inventory.product, sharding: 3}}");
    let text = manifest(&redis, &caches, "  colour: blue")
        .replace("{name: shop}", "{name: shop, annotations: {freshet.dev/rendered-by: 9.9.9}}");
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    shop.fill("/v1/products/7", "x");
    assert_eq!(shop.get("/v1/shards/7"), "stale binding-too-new");
    assert_eq!(shop.sidecar.get("/v1/shards/7").unwrap().header("freshet-lease"), None);
    let status = until_binding(&mut shop, "Current");
    assert_eq!(status["binding"]["newerFields"], serde_json::json!(["spec.colour"]));
    assert_eq!(status["caches"]["shards"]["off"], "BindingTooNew");
}

/// A read that failed for another reason than absence, and content that was refused, leave no trace once they have
/// passed.
#[test]
fn a_refusal_ends_with_its_cause() {
    let mut shop = shop(ROWS);
    shop.fill("/v1/products/7", "x");
    let path = shop.sidecar.binding_path().to_owned();
    let good = fs::read_to_string(&path).unwrap();

    // A folder can't be read, whoever asks.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let status = until_binding(&mut shop, "BindingRejected");
    assert!(status["binding"]["error"].as_str().unwrap().contains("binding.yaml"), "{status}");
    fs::remove_dir(&path).unwrap();
    shop.sidecar.rebind(&good).unwrap();
    until_binding(&mut shop, "Current");

    shop.sidecar.rebind(&good.replace("table:", "tabel:")).unwrap();
    until_binding(&mut shop, "BindingRejected");
    fs::remove_file(&path).unwrap();
    until_binding(&mut shop, "BindingDeleted");
    shop.sidecar.rebind(&good).unwrap();
    let status = until_binding(&mut shop, "Current");
    assert_eq!(status["binding"].get("error"), None, "{status}");
    assert_eq!(shop.get("/v1/products/7"), "hit x", "the definition in force was the same all the time");
}

#[test]
fn what_only_a_newer_version_knows_is_off_and_the_rest_works() {
    let redis = Redis::start().unwrap();
    let caches = "
  - {name: products, source: cdc, table: inventory.product, ttl: 10m}
  - {name: repos, source: cdc, search: {index: repos, refresh: 5m}}
  - {name: news, source: wire, table: press.news}";
    let text = manifest(&redis, caches, "")
        .replace("{name: shop}", "{name: shop, annotations: {freshet.dev/rendered-by: 9.9.9}}")
        .replace("  sources:", "  sources:\n  - {name: wire, pulsar: {url: 'pulsar://a'}}");
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    for path in ["/v1/repos/7", "/v1/repos/a/b/c", "/v1/repos/a?b=c", "/v1/news/7"] {
        assert_eq!(shop.get(path), "stale binding-too-new", "{path}");
        directives_count_where_nothing_is_served(&shop, path, "binding-too-new");
        assert_eq!(shop.sidecar.get(path).unwrap().header("freshet-lease"), None, "{path}");
        assert_eq!(shop.put(path, "AAAA", "x"), 400, "{path}");
        assert_eq!(shop.sidecar.request("DELETE", path, &[], b"").unwrap().status, 204, "{path}");
    }
    let status = until_binding(&mut shop, "Current");
    for cache in ["repos", "news"] {
        assert_eq!(status["caches"][cache], serde_json::json!({"off": "BindingTooNew"}), "{cache}");
    }
    assert_eq!(status["binding"]["newerFields"], serde_json::json!(["spec.sources[wire].pulsar"]));
    shop.fill("/v1/products/7", "x");
    assert_eq!(shop.get("/v1/products/7"), "hit x");
    // What it knows from then on it serves, beside what it served all along.
    let known = text.replace("search: {index: repos, refresh: 5m}", "table: inventory.repo");
    shop.sidecar.rebind(&known).unwrap();
    shop.until_get("/v1/repos/7", "miss");
    shop.fill("/v1/repos/7", "y");
    assert_eq!(shop.get("/v1/products/7"), "hit x");
    shop.change("product", "{\"id\":7}", "u", "null");
    shop.until_get("/v1/products/7", "miss");
}
