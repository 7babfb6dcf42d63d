//! What the API answers when all is well.

use freshet_e2e::process::{Redis, Sidecar, http::Connection};
use serde_json::json;

use crate::bad_input::problem;
use crate::drift::beat;
use crate::shop::{CACHES, SOON, Shop, ask, event, executable, manifest, outcome};

#[test]
fn a_miss_gives_a_lease_and_a_fill_makes_a_hit_over_tcp_and_the_socket() {
    let mut shop = Shop::open();
    shop.settle();
    for (target, key) in [(shop.sidecar.tcp(), "1"), (shop.sidecar.socket(), "2")] {
        let path = format!("/v1/stock/{key}");
        let miss = ask(&target, "GET", &path, &[]);
        assert_eq!(miss.status, 404);
        assert_eq!(miss.header("cache-status"), Some("freshet; fwd=miss"));
        assert_eq!(miss.header("cache-control"), Some("no-store"));
        assert_eq!(miss.header("freshet-fill"), Some("you"));
        let lease = miss.header("freshet-lease").unwrap();
        let again = ask(&target, "GET", &path, &[]);
        assert_eq!(again.header("freshet-fill"), Some("other"), "somebody is loading already");
        assert!(again.header("freshet-lease").is_some());

        let headers = [("freshet-lease", lease), ("content-type", "application/json")];
        let filled =
            Connection::open(&target).unwrap().request("PUT", &path, &headers, b"{\"n\": 1}").unwrap();
        assert_eq!((filled.status, filled.body.len()), (204, 0));

        let hit = ask(&target, "GET", &path, &[]);
        assert_eq!((hit.status, hit.text().as_str()), (200, "{\"n\": 1}"));
        assert_eq!(hit.header("content-type"), Some("application/json"));
        assert_eq!(hit.header("cache-control"), Some("no-cache"));
        assert!(hit.header("age").unwrap().parse::<u32>().unwrap() < 10, "{hit:?}");
        let status = hit.header("cache-status").unwrap();
        assert!(status.starts_with("freshet; hit; ttl=3") && status.len() == 22, "{status}");
        let etag = hit.header("etag").unwrap();
        assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag} isn't strong");

        let head = ask(&target, "HEAD", &path, &[]);
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some("8"));
        assert_eq!(head.header("etag"), Some(etag));
        for (tag, status) in [(etag, 304), ("*", 304), ("\"other\"", 200), (&format!("\"a\", W/{etag}"), 304)]
        {
            assert_eq!(ask(&target, "GET", &path, &[("if-none-match", tag)]).status, status, "{tag}");
        }
    }
}

#[test]
fn a_head_and_only_if_cached_give_no_lease() {
    let shop = Shop::open();
    let target = shop.sidecar.tcp();
    let head = ask(&target, "HEAD", "/v1/products/1", &[]);
    assert_eq!((head.status, head.header("freshet-lease")), (404, None));
    let only = ask(&target, "GET", "/v1/products/1", &[("cache-control", "only-if-cached")]);
    assert_eq!((only.status, only.header("freshet-lease")), (504, None));
    shop.fill("/v1/products/1", "x");
    assert_eq!(ask(&target, "GET", "/v1/products/1", &[("cache-control", "only-if-cached")]).status, 200);
}

#[test]
fn no_cache_gives_a_lease_where_a_value_is_cached() {
    let shop = Shop::open();
    shop.fill("/v1/products/1", "one");
    let lease = shop.lease("/v1/products/1");
    assert_eq!(shop.get("/v1/products/1"), "hit one");
    assert_eq!(shop.put("/v1/products/1", &lease, "two"), 204);
    assert_eq!(shop.get("/v1/products/1"), "hit two");
}

#[test]
fn an_absence_is_cached_and_ends_with_an_insert() {
    let mut shop = Shop::open();
    let lease = shop.lease("/v1/products/7");
    let headers = [("freshet-lease", lease.as_str()), ("freshet-absent", "?1")];
    assert_eq!(shop.sidecar.request("PUT", "/v1/products/7", &headers, b"").unwrap().status, 204);
    let answer = shop.sidecar.get("/v1/products/7").unwrap();
    assert_eq!((answer.status, outcome(&answer).as_str()), (404, "absent"));
    assert_eq!(answer.header("freshet-lease"), None);
    shop.change("product", "{\"id\":7}", "c", "{\"id\":7}");
    shop.until_get("/v1/products/7", "miss");
}

#[test]
fn a_fill_may_shorten_its_life() {
    let mut shop = Shop::open();
    let lease = shop.lease("/v1/products/7");
    let headers = [("freshet-lease", lease.as_str()), ("cache-control", "max-age=1")];
    assert_eq!(shop.sidecar.request("PUT", "/v1/products/7", &headers, b"x").unwrap().status, 204);
    shop.until_get("/v1/products/7", "miss");
    assert!(ttl(&shop, "/v1/products/8", "max-age=99999") <= 600, "a fill can't outlive its cache's ttl");
}

fn ttl(shop: &Shop, path: &str, control: &str) -> u64 {
    let lease = shop.lease(path);
    let headers = [("freshet-lease", lease.as_str()), ("cache-control", control)];
    assert_eq!(shop.sidecar.request("PUT", path, &headers, b"x").unwrap().status, 204);
    let answer = shop.sidecar.get(path).unwrap();
    let status = answer.header("cache-status").unwrap().to_owned();
    status.split("ttl=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap()
}

#[test]
fn a_change_voids_its_row_in_every_cache_of_the_table() {
    let mut shop = Shop::open();
    shop.settle();
    for path in ["/v1/products/7", "/v1/products/8", "/v1/pages/home"] {
        shop.fill(path, "x");
    }
    shop.change("product", "{\"id\":7}", "u", "{\"id\":7,\"name\":\"new\"}");
    shop.until_get("/v1/rows/7", "hit {\"id\":7,\"name\":\"new\"}");
    assert_eq!(shop.get("/v1/products/7"), "miss");
    assert_eq!(shop.get("/v1/products/8"), "hit x");
    assert_eq!(shop.get("/v1/pages/home"), "miss");
}

#[test]
fn a_hydrated_row_needs_no_reader_and_goes_with_its_delete() {
    let mut shop = Shop::open();
    shop.change("product", "{\"id\":70}", "c", "{\"id\":70,\"price\":9007199254740993}");
    shop.until_get("/v1/rows/70", "hit {\"id\":70,\"price\":9007199254740993}");
    let answer = shop.sidecar.get("/v1/rows/70").unwrap();
    assert_eq!(answer.header("content-type"), Some("application/vnd.freshet.row+json"));
    shop.change("product", "{\"id\":70}", "d", "null");
    shop.until_get("/v1/rows/70", "miss");
    let lease = shop.lease("/v1/rows/70");
    let put = |content_type: &str| {
        let headers = [("freshet-lease", lease.as_str()), ("content-type", content_type)];
        shop.sidecar.request("PUT", "/v1/rows/70", &headers, b"{}").unwrap()
    };
    problem(&put("text/plain"), 415, "media-type", "application/vnd.freshet.row+json");
    assert_eq!(put("application/vnd.freshet.row+json").status, 204);
    let etag = |shop: &Shop| shop.sidecar.get("/v1/rows/70").unwrap().header("etag").map(str::to_owned);
    let plain = etag(&shop);
    // A parameter doesn't make it another type, nor another value.
    assert_eq!(put("Application/vnd.freshet.row+JSON; charset=utf-8").status, 204);
    assert_eq!(etag(&shop), plain);
}

/// As Debezium's `ByLogicalTableRouter` writes the rows of several tables into one stream.
#[test]
fn a_row_that_was_routed_into_a_tables_stream_voids_its_row() {
    let mut shop = Shop::open();
    for path in ["/v1/products/7", "/v1/products/8", "/v1/pages/home"] {
        shop.fill(path, "x");
    }
    let key = "{\"id\":7,\"__dbz__physicalTableIdentifier\":\"shop.inventory.product_1\"}";
    let event = event("product_1", "u", "{\"id\":7}");
    shop.redis.xadd("shop.inventory.product", &[(key, &event)]).unwrap();
    shop.until_get("/v1/products/7", "miss");
    shop.settle();
    assert_eq!(shop.get("/v1/products/8"), "hit x");
    assert_eq!(shop.get("/v1/pages/home"), "miss");
    assert_eq!(shop.get("/v1/rows/7"), "miss", "another table's row isn't hydrated");
}

#[test]
fn a_truncate_voids_the_table_and_what_depends_on_it() {
    let mut shop = Shop::open();
    shop.fill("/v1/products/7", "x");
    shop.fill("/v1/pages/home", "x");
    shop.fill("/v1/stock/7", "x");
    shop.change("product", "default", "t", "null");
    shop.until_get("/v1/products/7", "miss");
    assert_eq!(shop.get("/v1/pages/home"), "miss");
    assert_eq!(shop.get("/v1/stock/7"), "hit x");
}

#[test]
fn a_fill_overtaken_by_a_change_is_refused() {
    let mut shop = Shop::open();
    let lease = shop.lease("/v1/products/7");
    shop.change("product", "{\"id\":7}", "u", "{\"id\":7}");
    shop.settle();
    let headers = [("freshet-lease", lease.as_str())];
    let answer = shop.sidecar.request("PUT", "/v1/products/7", &headers, b"old").unwrap();
    assert_eq!(answer.status, 409);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.json().unwrap()["type"], "https://freshet.dev/problems/fenced");
    assert_eq!(shop.get("/v1/products/7"), "miss");
}

#[test]
fn fills_are_counted_by_what_became_of_them() {
    let redis = Redis::start().unwrap();
    let freshness = "  freshness: {maxStaleness: 5m, heartbeat: Debezium, readLag: 1h}";
    let text = manifest(&redis, CACHES, freshness);
    let mut shop = Shop::of(redis, Sidecar::builder(executable(), &text).start().unwrap());
    shop.until_state("Starting");
    beat(&shop.redis, "shop");
    shop.until_fresh();
    // Within `readLag` of the streams' positioning.
    shop.fill("/v1/products/7", "x");
    assert_eq!(shop.fills("products"), [("fenced", 0), ("held-off", 1), ("refused", 0), ("stored", 0)]);
    let lease = shop.lease("/v1/products/7");
    shop.sidecar.request("DELETE", "/v1/products/7", &[], b"").unwrap();
    assert_eq!(shop.put("/v1/products/7", &lease, "x"), 409);
    assert_eq!(shop.put("/v1/products/8", &lease, "x"), 400);
    assert_eq!(shop.fills("products"), [("fenced", 1), ("held-off", 1), ("refused", 1), ("stored", 0)]);
    let status = shop.sidecar.status().unwrap()["caches"]["products"].clone();
    assert_eq!((status["stored"].as_u64(), status["fenced"].as_u64()), (Some(1), Some(1)), "{status}");
}

#[test]
fn a_delete_drops_the_value_and_fences_its_leases() {
    let shop = Shop::open();
    shop.fill("/v1/products/7", "x");
    let lease = shop.lease("/v1/products/7");
    assert_eq!(shop.sidecar.request("DELETE", "/v1/products/7", &[], b"").unwrap().status, 204);
    assert_eq!(shop.get("/v1/products/7"), "miss");
    assert_eq!(shop.put("/v1/products/7", &lease, "x"), 409);
}

#[test]
fn keys_with_slashes_and_all_of_unicode() {
    let mut shop = Shop::open();
    shop.change("stock", "{\"house\":\"a/b\",\"shelf\":3}", "u", "null");
    shop.settle();
    // settle() has changed the shape of the keys: teach it again.
    shop.change("stock", "{\"house\":\"a/b\",\"shelf\":3}", "u", "null");
    shop.sidecar
        .until("keys have two columns", SOON, |sidecar| {
            let status = sidecar.get("/v1/stock/x")?.status;
            if status == 400 { Ok(()) } else { anyhow::bail!("{status}") }
        })
        .unwrap();
    shop.fill("/v1/stock/a%2Fb/3", "x");
    assert_eq!(shop.get("/v1/stock/a%2fb/3"), "hit x");
    shop.fill("/v1/stock/z%C3%BCrich/3", "y");
    shop.change("stock", "{\"house\":\"zürich\",\"shelf\":3}", "u", "null");
    shop.until_get("/v1/stock/z%C3%BCrich/3", "miss");
    assert_eq!(shop.get("/v1/stock/a%2Fb/3"), "hit x", "another row");
    assert_eq!(shop.sidecar.get("/v1/stock/a%2Fb/x").unwrap().status, 400);
}

#[test]
fn every_pod_answers_the_same_etag() {
    let shop = Shop::open();
    let text = manifest(&shop.redis, CACHES, "");
    let other = Shop::with(Redis::start().unwrap(), Sidecar::builder(executable(), &text));
    shop.fill("/v1/products/7", "same");
    other.fill("/v1/products/7", "same");
    let etag = |shop: &Shop| shop.sidecar.get("/v1/products/7").unwrap().header("etag").map(str::to_owned);
    assert_eq!(etag(&shop), etag(&other));
}

#[test]
fn the_admin_listener_tells_health_metrics_and_status_but_no_values() {
    let shop = Shop::open();
    shop.fill("/v1/products/7", "a-secret-value");
    let admin = shop.sidecar.admin();
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(ask(&admin, "GET", path, &[]).status, 200, "{path}");
    }
    let metrics = ask(&admin, "GET", "/metrics", &[]);
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    for line in [
        "freshet_fills_total{cache=\"products\",outcome=\"stored\"} 1",
        "freshet_cache_requests_total{cache=\"products\",outcome=\"stale\"} 0",
        "freshet_cache_requests_total{cache=\"products\",outcome=\"stale-hit\"} 0",
        "freshet_source_state{source=\"cdc\",state=\"Fresh\"} 1.0",
    ] {
        assert!(metrics.text().contains(line), "{line} is not in\n{}", metrics.text());
    }
    assert!(metrics.text().ends_with("# EOF\n"));
    let status = ask(&admin, "GET", "/status", &[]);
    assert_eq!(status.json().unwrap()["caches"]["products"]["entries"], 1);
    for text in [metrics.text(), status.text(), shop.sidecar.log()] {
        assert!(!text.contains("a-secret-value"));
    }
    assert_eq!(ask(&admin, "GET", "/v1/products/7", &[]).status, 404);
    let mut connection = Connection::open(&admin).unwrap();
    assert_eq!(connection.request("PUT", "/log-level", &[], b"debug").unwrap().status, 200);
    assert_eq!(connection.request("PUT", "/log-level", &[], b"loud").unwrap().status, 400);
}

#[test]
fn tables_of_which_no_event_was_seen_are_named() {
    let redis = Redis::start().unwrap();
    redis.xadd("shop.inventory.product", &[("{\"id\":1}", &event("product", "u", "null"))]).unwrap();
    let sidecar = Sidecar::builder(executable(), &manifest(&redis, CACHES, ""));
    let mut shop = Shop::with(redis, sidecar);
    let told = |shop: &mut Shop, cache: &str| {
        let told = shop.sidecar.status().unwrap()["caches"][cache].clone();
        (told["tableSeen"].clone(), told["unseenTables"].clone())
    };
    assert_eq!(told(&mut shop, "products"), (json!(true), json!([])));
    assert_eq!(told(&mut shop, "pages"), (json!(false), json!(["inventory.category"])));
    assert_eq!(told(&mut shop, "stock"), (json!(false), json!(["inventory.stock"])));
    shop.settle();
    assert_eq!(told(&mut shop, "stock"), (json!(true), json!([])));
}

/// `Age` and `ttl=` of a hit.
fn told(shop: &Shop, path: &str) -> Option<(u64, u64)> {
    let answer = shop.sidecar.get(path).unwrap();
    let number = |text: &str| text.split(';').next().unwrap().parse().unwrap();
    let ttl = answer.header("cache-status").unwrap().split_once("; ttl=")?.1.to_owned();
    Some((number(answer.header("age").unwrap()), number(&ttl)))
}

#[test]
fn a_value_that_comes_with_an_age_lives_no_longer_than_the_original() {
    let shop = Shop::open();
    let put = |path: &str, headers: &[(&str, &str)]| {
        let lease = shop.lease(path);
        let headers = [&[("freshet-lease", lease.as_str())], headers].concat();
        shop.sidecar.request("PUT", path, &headers, b"x").unwrap()
    };
    assert_eq!(put("/v1/products/7", &[("cache-control", "max-age=300"), ("age", "100")]).status, 204);
    let (age, ttl) = told(&shop, "/v1/products/7").unwrap();
    assert!((100..120).contains(&age) && (180..=200).contains(&ttl), "{age} {ttl}");
    // Over already: there was no time in which it could have been served.
    for headers in [
        &[("cache-control", "max-age=0")][..],
        &[("cache-control", "no-store")],
        &[("cache-control", "max-age=5"), ("age", "5")],
        &[("age", "99999999999999999999")],
    ] {
        assert_eq!(put("/v1/products/8", headers).status, 204, "{headers:?}");
        assert_eq!(told(&shop, "/v1/products/8"), None, "{headers:?}");
    }
    let metrics = shop.sidecar.metrics().unwrap();
    assert!(metrics.contains("freshet_fills_total{cache=\"products\",outcome=\"expired\"} 4"), "{metrics}");
    problem(&put("/v1/products/7", &[("age", "old")]), 400, "header", "Age is a whole number, not `old`");
}
