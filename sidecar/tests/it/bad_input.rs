//! Bad input gets a clear answer: what was wrong, where, what to do.

use anyhow::ensure;
use freshet_e2e::process::{
    Redis, Sidecar,
    http::{Connection, Response},
    until,
};

use crate::shop::{CACHES, SOON, Shop, event, executable, manifest};

pub(crate) fn problem(answer: &Response, status: u16, slug: &str, says: &str) {
    assert_eq!(answer.status, status, "{slug}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let body = answer.json().unwrap();
    assert_eq!(body["type"], format!("https://freshet.dev/problems/{slug}"), "{body}");
    assert_eq!(body["status"], status);
    assert!(body["detail"].as_str().unwrap().contains(says), "{body}");
}

#[test]
fn requests_that_cannot_be_answered_are_told_why() {
    let shop = Shop::open();
    let long = format!("/v1/products/{}", "x".repeat(1025));
    for (path, status, slug, says) in [
        ("/v1/nope/1", 404, "unknown-cache", "it has: pages, products, rows, stock"),
        ("/nope", 404, "no-such-path", "/v1/<cache>/<key>"),
        ("/v1/products", 404, "no-such-path", "/v1/<cache>/<key>"),
        ("/v1/_other/x", 404, "reserved", "%5F"),
        ("/v1/products/_x", 404, "reserved", "%5F"),
        ("/v1/products/_batch/1", 404, "reserved", "%5F"),
        ("/v1/products/_batch", 405, "method-not-allowed", "POST"),
        ("/v1/products/1?x=1", 400, "query", "%3F"),
        ("/v1/products/", 400, "key-syntax", "empty"),
        ("/v1/products/a//b", 400, "key-syntax", "empty"),
        ("/v1/products/..", 400, "key-syntax", "`..`"),
        ("/v1/products/%zz", 400, "key-syntax", "percent-encoded"),
        ("/v1/products/%ff", 400, "key-syntax", "UTF-8"),
        ("/v1/products/007", 400, "key-form", "`007`"),
        ("/v1/products/seven", 400, "key-form", "`seven`"),
        (&long, 400, "key-too-long", "1024 bytes"),
    ] {
        problem(&shop.sidecar.get(path).unwrap(), status, slug, says);
    }
    // On one connection, since what came before must not matter.
    let mut connection = Connection::open(&shop.sidecar.tcp()).unwrap();
    for (path, known) in [("/v1/products/1", true), ("/v1/products/1#b", false), ("/v1/products/1", true)] {
        let answer = connection.request("GET", path, &[("referer", "x#y")], b"").unwrap();
        if known {
            assert_eq!(answer.header("cache-status"), Some("freshet; fwd=miss"), "{answer:?}");
        } else {
            problem(&answer, 400, "fragment", "%23");
        }
    }
    let caches = shop.sidecar.get("/v1/nope/1").unwrap().json().unwrap()["caches"].clone();
    assert_eq!(caches, serde_json::json!(["pages", "products", "rows", "stock"]));
    let post = shop.sidecar.request("POST", "/v1/products/1", &[], b"").unwrap();
    problem(&post, 405, "method-not-allowed", "GET, HEAD, PUT, DELETE");
    assert_eq!(post.header("allow"), Some("GET, HEAD, PUT, DELETE"));
    assert_eq!(shop.sidecar.request("PUT", "/v1/status", &[], b"").unwrap().status, 405);
}

#[test]
fn what_is_not_http_is_told_so() {
    let shop = Shop::open();
    for bytes in [
        &b"garbage\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    ] {
        let mut connection = Connection::open(&shop.sidecar.tcp()).unwrap();
        connection.send(bytes).unwrap();
        let answer = connection.response("GET").unwrap();
        problem(&answer, 400, "request-syntax", "request line");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(connection.closed().unwrap());
    }
    // Behind a whole request: that one is answered first.
    let mut connection = Connection::open(&shop.sidecar.tcp()).unwrap();
    connection.send(b"GET /v1/products/1 HTTP/1.1\r\nhost: x\r\n\r\ngarbage\r\n\r\n").unwrap();
    assert_eq!(connection.response("GET").unwrap().header("cache-status"), Some("freshet; fwd=miss"));
    problem(&connection.response("GET").unwrap(), 400, "request-syntax", "request line");
}

#[test]
fn fills_that_cannot_be_taken_are_told_why() {
    let shop = Shop::open();
    let (mine, other) = (shop.lease("/v1/products/1"), shop.lease("/v1/products/2"));
    let mine = ("freshet-lease", mine.as_str());
    let put = |headers: &[(&str, &str)], body: &[u8]| {
        shop.sidecar.request("PUT", "/v1/products/1", headers, body).unwrap()
    };
    problem(&put(&[], b"x"), 428, "lease-required", "GET first");
    problem(&put(&[("freshet-lease", "AAAA")], b"x"), 400, "lease", "never gave");
    problem(&put(&[("freshet-lease", &other)], b"x"), 400, "lease", "another key");
    problem(&put(&[mine], &vec![0; (1 << 20) + 1]), 413, "value-too-large", "1048576");
    problem(&put(&[mine, ("freshet-depends", "a.b")], b"x"), 422, "unknown-table", "nothing was stored");
    problem(&put(&[mine, ("freshet-absent", "?1")], b"x"), 400, "absent-body", "empty body");
    problem(&put(&[mine, ("freshet-absent", "yes")], b""), 400, "header", "?1 or ?0");
    problem(&put(&[mine, ("cache-control", "max-age=soon")], b"x"), 400, "header", "max-age");
    problem(&put(&[mine, ("content-encoding", "deflate")], b"x"), 415, "media-type", "gzip, br, zstd");
    problem(&put(&[mine, ("freshet-position", "22674008")], b"x"), 400, "position", "dictionary");
    assert_eq!(shop.get("/v1/products/1"), "miss", "nothing was stored");
    assert_eq!(put(&[mine], b"x").status, 204, "and nothing was used up");
    assert_eq!(shop.fills("products"), [("fenced", 0), ("held-off", 0), ("refused", 10), ("stored", 1)]);
}

#[test]
fn directives_that_are_not_understood_are_told_so() {
    let shop = Shop::open();
    let get = |name, value| shop.sidecar.request("GET", "/v1/products/1", &[(name, value)], b"").unwrap();
    problem(&get("freshet-min-position", "22674008"), 400, "position", "dictionary");
    problem(&get("freshet-min-position", "other=\"lsn:0/1\""), 400, "position", "`other`");
    problem(&get("freshet-min-position", "cdc=7"), 400, "position", "text values");
    problem(&get("freshet-max-staleness", "1s"), 400, "header", "whole number");
    problem(&get("cache-control", "max-age=x"), 400, "header", "max-age");
    let only = get("cache-control", "only-if-cached");
    problem(&only, 504, "not-cached", "cached values only");
    assert_eq!(only.header("cache-status"), Some("freshet; fwd=miss"));
    let undecidable = get("freshet-min-position", "cdc=\"lsn:0/157D6E8\"");
    assert_eq!(undecidable.status, 404);
    assert!(undecidable.header("cache-status").unwrap().ends_with("detail=position-unknown"));
    assert!(undecidable.header("freshet-lease").is_some());
}

/// What a sidecar says of a binding that it refuses.
fn refusal(binding: &str) -> String {
    let (status, said) = Sidecar::builder(executable(), binding).refused().unwrap();
    assert_eq!(status.code(), Some(2), "{said}");
    said
}

#[test]
fn a_binding_that_cannot_be_used_ends_the_start_with_its_place() {
    let redis = Redis::start().unwrap();
    let good = manifest(&redis, CACHES, "");
    for (from, to, says) in [
        ("kind: CacheBinding", "kind: [", "line"),
        ("kind: CacheBinding", "kind: Pod", "not a freshet.dev/v1alpha1 CacheBinding"),
        ("{name: stock, table:", "{name: stock, tabel:", "unknown field `spec.caches[3].tabel` at line 12"),
        ("ttl: 10m", "ttl: [10m]", "spec.caches[0].ttl: invalid type: sequence, expected a string at line 9"),
        ("ttl: 10m", "ttl: long", "spec.caches[products].ttl: `long` isn't a duration"),
        ("url: 'redis://", "url: 'redis://:secret@", "urlFrom"),
    ] {
        assert!(good.contains(from), "{from}");
        let said = refusal(&good.replacen(from, to, 1));
        assert!(said.contains(says), "{to}: `{says}` isn't in\n{said}");
        assert!(said.contains("binding.yaml"), "the file is named: {said}");
    }
    assert!(!refusal(&good.replacen("url: 'redis://", "url: 'redis://:hunter2@", 1)).contains("hunter2"));
}

#[test]
fn arguments_that_cannot_be_used_are_told_so() {
    let redis = Redis::start().unwrap();
    let taken = redis.address();
    let (status, said) =
        Sidecar::builder(executable(), &manifest(&redis, CACHES, "")).flag("--nonsense").refused().unwrap();
    assert_eq!(status.code(), Some(2));
    assert!(said.contains("--nonsense"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let binding = folder.path().join("shop.yaml");
    std::fs::write(&binding, manifest(&redis, CACHES, "")).unwrap();
    let busy = std::process::Command::new(executable())
        .args(["--admin", "127.0.0.1:0", "--listen", &taken, "--binding"])
        .arg(binding)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&busy.stderr).into_owned();
    assert!(busy.status.code() == Some(1) && said.contains(&format!("can't listen on {taken}")), "{said}");
}

#[test]
fn entries_that_cannot_be_read_void_what_they_may_concern_and_stop_nothing() {
    let mut shop = Shop::open();
    let stream = "shop.inventory.product";
    for fields in [
        vec![("{\"id\":1}", "not JSON")],
        vec![("a", "b"), ("c", "d")],
        vec![("key", "{\"id\":1}"), ("value", "\u{0}")],
        vec![("not JSON", event("product", "u", "null").leak() as &str)],
        vec![("{\"id\":1}", "{\"id\":1,\"status\":\"open\"}")],
    ] {
        shop.fill("/v1/products/7", "x");
        shop.fill("/v1/stock/7", "x");
        let before = unreadable(&shop);
        shop.redis.xadd(stream, &fields).unwrap();
        until(&format!("{fields:?} is counted"), SOON, || {
            let now = unreadable(&shop);
            ensure!(now == before + 1, "{now}, after {before}");
            Ok(())
        })
        .unwrap();
        shop.until_get("/v1/products/7", "miss");
        assert_eq!(shop.get("/v1/stock/7"), "hit x", "another table");
    }
    shop.change("product", "{\"id\":70}", "c", "{\"id\":70}");
    shop.until_get("/v1/rows/70", "hit {\"id\":70}");
    let before = unreadable(&shop);
    shop.redis.xadd("__debezium-heartbeat.shop", &[("{\"id\":1}", "not JSON")]).unwrap();
    shop.redis.xadd("shop.inventory.stock", &[("{\"id\":1}", "not JSON either")]).unwrap();
    shop.until_get("/v1/stock/7", "miss");
    assert_eq!(unreadable(&shop), before + 2, "where no rows are, too");
    let log = shop.sidecar.log();
    for (kind, times) in [
        ("an entry can't be read", 4),
        ("its value isn't an event's JSON", 1),
        ("its fields are of neither format of the sink", 1),
        ("its key isn't an object of columns", 1),
        ("its value has no envelope", 1),
    ] {
        assert_eq!(log.matches(kind).count(), times, "each kind is told once: {kind}");
    }
}

fn unreadable(shop: &Shop) -> u64 {
    shop.sidecar.status().unwrap()["sources"]["cdc"]["unreadable"].as_u64().unwrap()
}

#[test]
fn a_tombstone_alone_is_a_delete_and_after_its_delete_it_is_nothing() {
    let mut shop = Shop::open();
    let (stream, key) = ("shop.inventory.product", "{\"id\":7}");
    let tombstone = |shop: &Shop| shop.redis.xadd(stream, &[(key, "default")]).unwrap();
    for path in ["/v1/products/7", "/v1/products/8", "/v1/pages/home"] {
        shop.fill(path, "x");
    }
    tombstone(&shop);
    shop.until_get("/v1/products/7", "miss");
    assert_eq!((shop.get("/v1/products/8").as_str(), shop.get("/v1/pages/home").as_str()), ("hit x", "miss"));
    shop.change("product", key, "d", "null");
    shop.settle();
    shop.fill("/v1/products/7", "x");
    tombstone(&shop);
    shop.settle();
    assert_eq!(shop.get("/v1/products/7"), "hit x");
}

#[test]
fn images_that_are_not_hydrated_are_counted_by_reason_and_told_once() {
    let mut shop = Shop::open();
    for id in [70, 71] {
        let defaults = event("product", "u", &format!("{{\"id\":{id}}}"));
        let defaults = defaults.replace("\"snapshot\":null", "\"snapshot\":\"false\"");
        shop.redis.xadd("shop.inventory.product", &[(&format!("{{\"id\":{id}}}"), &defaults)]).unwrap();
    }
    shop.settle();
    assert_eq!(shop.get("/v1/rows/70"), "miss");
    let status = shop.sidecar.status().unwrap();
    assert_eq!(
        status["caches"]["rows"]["imagesRefused"],
        serde_json::json!({"nulls-replaced": 2}),
        "{status}"
    );
    let line = "freshet_images_refused_total{cache=\"rows\",reason=\"nulls-replaced\"} 2";
    assert!(shop.sidecar.metrics().unwrap().contains(line));
    assert_eq!(shop.sidecar.log().matches("replace.null.with.default=false").count(), 1);
}

/// An insert voids its own row only, where the event has that row's key; an update could void the cache for another
/// reason, because it doesn't tell the key from before.
#[test]
fn a_key_that_is_not_in_the_event_voids_the_cache() {
    let caches = "\n  - {name: skus, table: inventory.product, key: [{column: sku}]}";
    let redis = Redis::start().unwrap();
    let text = manifest(&redis, caches, "");
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    // The first event teaches how keys look.
    shop.apply("product", "{\"id\":7}", "c", "{\"id\":7,\"sku\":\"b\"}");
    shop.fill_to_last("/v1/skus/a", "x");
    shop.apply("product", "{\"id\":8}", "c", "{\"id\":8,\"sku\":\"c\"}");
    assert_eq!(shop.get("/v1/skus/a"), "hit x", "that row is another");
    shop.change("product", "{\"id\":9}", "c", "{\"id\":9}");
    shop.until_get("/v1/skus/a", "miss");
}

#[test]
fn what_came_before_an_unreadable_entry_in_one_stream_is_all_void() {
    let redis = Redis::start().unwrap();
    let text = manifest(&redis, CACHES, "").replace("topicPrefix: shop", "stream: all");
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    shop.fill("/v1/products/7", "x");
    shop.fill("/v1/stock/7", "x");
    let epoch = shop.epoch();
    shop.redis.xadd("all", &[("{\"id\":1}", "not JSON")]).unwrap();
    shop.until_fresh_after(epoch);
    assert_eq!(shop.get("/v1/products/7"), "miss");
    assert_eq!(shop.get("/v1/stock/7"), "miss");
    shop.redis.xadd("all", &[("{\"id\":70}", &event("product", "c", "{\"id\":70}"))]).unwrap();
    shop.until_get("/v1/rows/70", "hit {\"id\":70}");
}
