//! `POST /v1/{cache}/_batch`: many keys at one instant, many fills in one request.

use std::{sync::mpsc, thread};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use freshet_e2e::process::{
    Redis, Sidecar,
    http::{Connection, Response},
};
use serde_json::{Value, json};

use crate::{
    bad_input::problem,
    log::{Log, STEADY},
    shop::{CACHES, SOON, Shop, executable, manifest},
};

const JSON: (&str, &str) = ("content-type", "application/json");

fn post(sidecar: &Sidecar, cache: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let headers = [headers, &[JSON]].concat();
    sidecar.request("POST", &format!("/v1/{cache}/_batch"), &headers, body.as_bytes()).unwrap()
}

fn batch_with(sidecar: &Sidecar, cache: &str, headers: &[(&str, &str)], body: &Value) -> Value {
    let answer = post(sidecar, cache, headers, &body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.json().unwrap()
}

fn batch(shop: &Shop, cache: &str, body: &Value) -> Value {
    batch_with(&shop.sidecar, cache, &[], body)
}

/// What a GET's answer says, as a batch tells it; without the lease, of which each is another.
fn as_item(key: &str, answer: &Response) -> Value {
    let mut item = json!({"key": key, "status": answer.status});
    let mut member = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            item[name] = value;
        }
    };
    let header = |name| answer.header(name).map(Value::from);
    let status = answer.header("cache-status").unwrap_or_default();
    let part = |name| status.split("; ").find_map(|part| part.strip_prefix(name));
    member("cacheStatus", header("cache-status"));
    member("detail", part("detail=").map(Value::from));
    member("ttl", part("ttl=").map(|ttl| ttl.parse::<i64>().unwrap().into()));
    member("age", answer.header("age").map(|age| age.parse::<u64>().unwrap().into()));
    member("position", header("freshet-position"));
    member("fill", header("freshet-fill"));
    member("etag", header("etag"));
    if answer.header("content-type") == Some("application/problem+json") {
        member("problem", Some(answer.json().unwrap()));
    } else if answer.status == 200 {
        member("type", header("content-type"));
        let json =
            answer.header("content-type").unwrap().contains("json").then(|| answer.json().ok()).flatten();
        member("base64", json.is_none().then(|| BASE64_STANDARD.encode(&answer.body).into()));
        member("value", json);
    }
    item
}

fn fill(shop: &Shop, path: &str, headers: &[(&str, &str)], body: &[u8]) {
    let lease = shop.lease(path);
    let headers = [headers, &[("freshet-lease", lease.as_str())]].concat();
    assert_eq!(shop.sidecar.request("PUT", path, &headers, body).unwrap().status, 204);
}

#[test]
fn a_batch_answers_what_single_reads_answer() {
    let mut shop = Shop::open();
    shop.settle();
    fill(&shop, "/v1/products/1", &[JSON], b"{\"a\": [1,\n 2]}");
    fill(&shop, "/v1/products/2", &[("content-type", "image/png")], b"\x89PNG\xff");
    fill(&shop, "/v1/products/3", &[("freshet-absent", "?1")], b"");
    fill(&shop, "/v1/products/4", &[JSON], b"{\"not\": JSON");
    fill(&shop, "/v1/products/5", &[("content-type", "application/vnd.x+json")], b"null");
    let large = format!("\"{}\"", "x".repeat(100_000));
    fill(&shop, "/v1/products/6", &[JSON], large.as_bytes());
    // Of each somebody is loading already: of two who ask only one is told to.
    for key in 1..=8 {
        shop.lease(&format!("/v1/products/{key}"));
    }
    let keys = ["1", "2", "3", "4", "5", "6", "7", "007", "a//b", "%zz", "_x", "", "1", "8"];
    for headers in [
        &[][..],
        &[("cache-control", "no-cache")],
        &[("cache-control", "only-if-cached")],
        &[("cache-control", "max-age=0, only-if-cached")],
        &[("freshet-min-position", "cdc=\"lsn:0/1\"")],
        &[("freshet-max-staleness", "60000")],
    ] {
        let told = batch_with(&shop.sidecar, "products", headers, &json!({"get": keys}));
        assert_eq!(told["put"], json!([]));
        let told = told["get"].as_array().unwrap();
        assert_eq!(told.len(), keys.len());
        for (item, key) in told.iter().zip(keys) {
            let single = shop.sidecar.request("GET", &format!("/v1/products/{key}"), headers, b"").unwrap();
            let mut item = item.clone();
            let lease = item.as_object_mut().unwrap().remove("lease");
            let mut expected = as_item(key, &single);
            // Some time has gone by in between.
            for moving in ["ttl", "age"] {
                let [told, asked] = [&mut item, &mut expected].map(|it| it[moving].take().as_i64());
                let apart = told.zip(asked).map_or(0, |(told, asked)| told.abs_diff(asked));
                assert!(
                    told.is_some() == asked.is_some() && apart < 10,
                    "{key}: {moving}: {told:?}, {asked:?}"
                );
            }
            for it in [&mut item, &mut expected] {
                let text = it["cacheStatus"].as_str().map(|text| text.replace(char::is_numeric, ""));
                it["cacheStatus"] = text.into();
            }
            assert_eq!(item, expected, "{headers:?}");
            assert_eq!(lease.is_some(), single.header("freshet-lease").is_some(), "{key} {headers:?}");
        }
    }
    // As it stands, not as somebody else would write it.
    let text = post(&shop.sidecar, "products", &[], "{\"get\":[\"1\"]}").text();
    assert!(text.contains("\"value\":{\"a\": [1,\n 2]}"), "{text}");
}

#[test]
fn a_batch_fills_what_single_fills_would() {
    let mut shop = Shop::open();
    let leases = |keys: &[&str]| -> Vec<String> {
        let told = batch(&shop, "products", &json!({"get": keys}));
        let told = told["get"].as_array().unwrap().iter();
        told.map(|item| item["lease"].as_str().unwrap().to_owned()).collect()
    };
    let lease = &leases(&["1", "2", "3", "4", "5", "6"]);
    shop.change("product", "{\"id\":5}", "u", "{\"id\":5}");
    shop.settle();
    let large = BASE64_STANDARD.encode(vec![0; (1 << 20) + 1]);
    let put = json!([
        {"key": "1", "lease": lease[0], "value": {"n": 1}},
        {"key": "2", "lease": lease[1], "base64": "aGVsbG8=", "type": "text/plain", "maxAge": 30},
        {"key": "3", "lease": lease[2], "absent": true},
        {"key": "4", "lease": lease[3], "value": null, "type": "application/vnd.x+json", "position": "cdc=\"lsn:0/1\""},
        {"key": "5", "lease": lease[4], "value": 5},
        {"key": "6", "value": 6},
        {"key": "6", "lease": lease[0], "value": 6},
        {"key": "6", "lease": "AAAA", "value": 6},
        {"key": "6", "lease": lease[5], "base64": large},
        {"key": "6", "lease": lease[5], "depends": ["inventory.nope"], "value": 6},
        {"key": "6", "lease": lease[5], "value": 6, "base64": "eA=="},
        {"key": "6", "lease": lease[5]},
        {"key": "6", "lease": lease[5], "absent": true, "value": 6},
        {"key": "6", "lease": lease[5], "base64": "%"},
        {"key": "6", "lease": lease[5], "value": 6, "type": "text/plain"},
        {"key": "6", "lease": lease[5], "value": 6, "type": "text/plain\nx: y"},
        {"key": "6", "lease": lease[5], "value": 6, "position": "7"},
        {"key": "006", "lease": lease[5], "value": 6},
        {"key": "_6", "lease": lease[5], "value": 6},
    ]);
    let told = batch(&shop, "products", &json!({"put": put, "get": ["1", "2", "3", "4", "5", "6"]}));
    let became: Vec<_> = told["put"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let slug = item["problem"]["type"].as_str().map_or("", |slug| slug.rsplit('/').next().unwrap());
            assert!(slug.is_empty() || item["problem"]["status"] == item["status"], "{item}");
            (item["key"].as_str().unwrap(), item["status"].as_u64().unwrap(), slug)
        })
        .collect();
    assert_eq!(
        became,
        [
            ("1", 204, ""),
            ("2", 204, ""),
            ("3", 204, ""),
            ("4", 204, ""),
            ("5", 409, "fenced"),
            ("6", 428, "lease-required"),
            ("6", 400, "lease"),
            ("6", 400, "lease"),
            ("6", 413, "value-too-large"),
            ("6", 422, "unknown-table"),
            ("6", 400, "batch"),
            ("6", 400, "batch"),
            ("6", 400, "batch"),
            ("6", 400, "batch"),
            ("6", 400, "batch"),
            ("6", 400, "batch"),
            ("6", 400, "position"),
            ("006", 400, "key-form"),
            ("_6", 404, "reserved"),
        ]
    );
    // What was filled is read by the same batch.
    let get = &told["get"];
    assert_eq!((&get[0]["value"], &get[0]["type"]), (&json!({"n": 1}), &json!("application/json")));
    assert_eq!((&get[1]["base64"], &get[1]["type"]), (&json!("aGVsbG8="), &json!("text/plain")));
    assert!(get[1]["ttl"].as_u64().unwrap() <= 30, "{get}");
    assert_eq!((&get[2]["status"], get[2]["ttl"].is_u64()), (&json!(404), true));
    assert_eq!((&get[3]["value"], &get[3]["type"]), (&Value::Null, &json!("application/vnd.x+json")));
    assert!(get[4].get("lease").is_some() && get[5].get("lease").is_some(), "{get}");
    assert_eq!(shop.fills("products"), [("fenced", 1), ("held-off", 0), ("refused", 14), ("stored", 4)]);
    // The same value is the same, however it was filled.
    let etag = get[1]["etag"].clone();
    fill(&shop, "/v1/products/2", &[("content-type", "text/plain")], b"hello");
    assert_eq!(batch(&shop, "products", &json!({"get": ["2"]}))["get"][0]["etag"], etag);
}

#[test]
fn a_row_is_filled_as_its_type() {
    let shop = Shop::open();
    let lease = shop.lease("/v1/rows/7");
    let row = "application/vnd.freshet.row+json";
    let put = json!({"put": [
        {"key": "7", "lease": lease, "value": {"id": 7}},
        {"key": "7", "lease": lease, "value": {"id": 7}, "type": row},
    ]});
    let told = batch(&shop, "rows", &put);
    assert_eq!(told["put"][0]["problem"]["type"], "https://freshet.dev/problems/media-type");
    assert_eq!(told["put"][1]["status"], 204);
    assert_eq!(batch(&shop, "rows", &json!({"get": ["7"]}))["get"][0]["type"], row);
}

#[test]
fn a_batch_that_cannot_be_taken_is_told_why() {
    let shop = Shop::open();
    let told = |body: &str| post(&shop.sidecar, "products", &[], body);
    problem(&told("{\"get\": [1]}"), 400, "batch", "at line 1 column 10");
    problem(&told("{\"get\": [\"1\"]"), 400, "batch", "EOF");
    problem(&told("{\"gets\": []}"), 400, "batch", "unknown field `gets`");
    problem(&told("{\"put\": [{\"key\": \"1\", \"maxage\": 1}]}"), 400, "batch", "expected one of");
    problem(&told("{\"put\": [{}]}"), 400, "batch", "missing field `key`");
    problem(&told(""), 400, "batch", "EOF");
    assert_eq!(told("{}").json().unwrap(), json!({"get": [], "put": []}));
    let (all, one_more) = (vec!["1"; 1000], vec!["1"; 999]);
    assert_eq!(batch(&shop, "products", &json!({"get": all}))["get"].as_array().unwrap().len(), 1000);
    let put = [json!({"key": "1", "value": 1}), json!({"key": "2", "value": 1})];
    let over = told(&json!({"get": one_more, "put": put}).to_string());
    problem(&over, 413, "batch-too-large", "1001 keys and fills, of at most 1000");
    problem(&told(&" ".repeat((16 << 20) + 1)), 413, "batch-too-large", "16777216 bytes");
    let raw = |method, headers: &[(&str, &str)]| {
        shop.sidecar.request(method, "/v1/products/_batch", headers, b"{}").unwrap()
    };
    problem(&raw("POST", &[]), 415, "media-type", "application/json");
    problem(&raw("POST", &[("content-type", "text/plain")]), 415, "media-type", "application/json");
    problem(&raw("GET", &[]), 405, "method-not-allowed", "POST");
    assert_eq!(raw("PUT", &[JSON]).header("allow"), Some("POST"));
    problem(&raw("POST", &[JSON, ("cache-control", "max-age=x")]), 400, "header", "max-age");
    problem(&post(&shop.sidecar, "nope", &[], "{}"), 404, "unknown-cache", "products");
}

#[test]
fn an_answer_is_bounded() {
    let shop = Shop::open();
    let value = vec![b'x'; 1 << 20];
    let keys: Vec<_> = (1..=14).map(|key| key.to_string()).collect();
    for key in &keys {
        fill(&shop, &format!("/v1/products/{key}"), &[], &value);
    }
    let told = batch(&shop, "products", &json!({"get": keys}));
    let told = told["get"].as_array().unwrap();
    let whole = told.iter().filter(|item| item["status"] == 200).count();
    assert_eq!(whole, 11, "of 1.33 MiB in base64, in 16 MiB");
    let left_out = &told[11];
    assert_eq!(left_out["problem"]["type"], "https://freshet.dev/problems/batch-too-large");
    assert_eq!(left_out["status"], 413);
}

#[test]
fn where_nothing_is_served_a_batch_says_so_of_each_key() {
    let redis = Redis::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("binding.yaml");
    let sidecar = Sidecar::builder(executable(), "").binding_file(&path).start().unwrap();
    let body = json!({"get": ["1", "007"], "put": [{"key": "1", "lease": "x", "value": 1}]});
    let told = batch_with(&sidecar, "products", &[], &body);
    for item in told["get"].as_array().unwrap() {
        assert_eq!(item["cacheStatus"], "freshet; fwd=stale; detail=no-binding");
    }
    assert_eq!(told["put"][0]["problem"]["type"], "https://freshet.dev/problems/lease");
    drop(redis);
}

/// While two rows are changed in turn, always the first one first, no batch sees the second one ahead of the first, nor
/// the first one by more than the change that is between the two.
#[test]
fn all_keys_of_a_batch_are_read_between_two_changes() {
    const ROUNDS: u32 = 4000;
    let redis = Redis::start().unwrap();
    let text = manifest(&redis, CACHES, "").replace("topicPrefix: shop", "stream: all");
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    let script = "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do for _, id in ipairs({1, 2}) do \
                  local lsn = i * 2 + id; \
                  redis.call('XADD', KEYS[1], '*', '{\"id\":' .. id .. '}', \
                  '{\"before\":null,\"after\":{\"id\":' .. id .. ',\"n\":' .. i .. '},\"source\":{\"connector\":\"postgresql\",' .. \
                  '\"db\":\"postgres\",\"schema\":\"inventory\",\"table\":\"product\",\"snapshot\":null,\"lsn\":' .. lsn .. \
                  ',\"ts_ms\":4000000000000},\"op\":\"u\",\"ts_ms\":1}') end end";
    let feed = |shop: &Shop, from: u32, to: u32| {
        let eval = ["EVAL", script, "1", "all", &from.to_string(), &to.to_string()];
        shop.redis.command::<Option<String>>(&eval).unwrap();
    };
    feed(&shop, 1, 1);
    shop.until_get("/v1/rows/2", "hit {\"id\":2,\"n\":1}");
    // Between the two, so that there is time for a change.
    let others = (100..1000).map(|key| key.to_string());
    let keys: Vec<_> = ["1".to_owned()].into_iter().chain(others).chain(["2".to_owned()]).collect();
    let body = json!({"get": keys}).to_string();
    let target = shop.sidecar.tcp();
    let (last_seen, tells) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut connection = Connection::open(&target).unwrap();
        let (mut seen, mut moved) = (0, 0);
        while seen < ROUNDS {
            let answer = connection.request("POST", "/v1/rows/_batch", &[JSON], body.as_bytes()).unwrap();
            let told = answer.json().unwrap();
            let told = told["get"].as_array().unwrap();
            let n = |item: &Value| {
                u32::try_from(item["value"]["n"].as_u64().unwrap_or_else(|| panic!("{item}"))).unwrap()
            };
            let ends = [&told[0], told.last().unwrap()];
            // What proves that nothing lags may come between the two: of that there is no instant.
            if ends.iter().any(|item| item["cacheStatus"].as_str().unwrap_or_default().contains("fwd=stale"))
            {
                continue;
            }
            let [first, second] = ends.map(n);
            assert!(first == second || first == second + 1, "{first} and {second}");
            moved += u32::from(second != seen && seen > 0);
            seen = second;
            last_seen.send(seen).unwrap();
        }
        moved
    });
    // A part at a time, so that what is served isn't lagging for long.
    for from in (1..ROUNDS).step_by(500) {
        feed(&shop, from + 1, ROUNDS.min(from + 500));
        let last = ROUNDS.min(from + 500);
        shop.until_get("/v1/rows/2", &format!("hit {{\"id\":2,\"n\":{last}}}"));
        while tells.recv_timeout(SOON).unwrap() < last {}
    }
    let moved = reader.join().unwrap();
    assert!(moved > 3, "it was changed while it was read: {moved}");
}

#[test]
fn a_batch_waits_for_its_position_and_for_nobodys_load() {
    let mut log = Log::open("\n  - {name: products, table: inventory.product}", STEADY);
    log.shop.fill("/v1/products/8", "x");
    log.shop.lease("/v1/products/9");
    let (entries, position) = log.transaction("product", &[7]);
    let ask = |headers: &[(&str, &str)]| {
        let told = batch_with(&log.shop.sidecar, "products", headers, &json!({"get": ["7", "8", "9"]}));
        let told = told["get"].as_array().unwrap().iter();
        told.map(|item| item["detail"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let min = ("freshet-min-position", position.as_str());
    assert_eq!(ask(&[min]), ["behind"; 3]);
    assert_eq!(ask(&[min, ("prefer", "wait=0.3")]), ["behind"; 3], "no longer than it prefers");
    let began = std::time::Instant::now();
    ask(&[("prefer", "wait=20")]);
    assert!(began.elapsed() < SOON, "others' loads aren't waited for");
    let (target, position) = (log.shop.sidecar.tcp(), position.clone());
    let waiting = thread::spawn(move || {
        let headers = [JSON, ("freshet-min-position", position.as_str()), ("prefer", "wait=20")];
        let mut connection = Connection::open(&target).unwrap();
        connection.request("POST", "/v1/products/_batch", &headers, b"{\"get\":[\"7\"]}").unwrap()
    });
    log.send(&entries);
    log.read_up();
    let answer = waiting.join().unwrap().json().unwrap();
    assert_eq!(answer["get"][0]["cacheStatus"], "freshet; fwd=miss", "the change has been applied");
}
