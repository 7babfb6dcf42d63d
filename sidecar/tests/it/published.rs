//! Caches of what applications publish, over a stream of Redis, by a plain producer.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use freshet_e2e::process::{Redis, until};
use serde_json::{Value, json};

use crate::shop::{App, SOON, outcome};

const CACHES: &str = "
  - {name: quotes, published: true}
  - {name: rates, published: true, ttl: 1h}
  - {name: products, table: inventory.product}";

struct Stage {
    redis: Redis,
    app: App,
}

impl Stage {
    fn open(more: &str) -> Self {
        let redis = Redis::start().unwrap();
        let source = format!("redisStream: {{url: '{}', stream: bus}}", redis.url());
        let app = App::open(&source, CACHES, more);
        Self { redis, app }
    }

    /// Publishes an envelope, and waits until it has come.
    fn say(&mut self, envelope: &Value) {
        self.say_text(&envelope.to_string());
    }

    fn say_text(&mut self, text: &str) {
        let before = self.app.entries().unwrap();
        self.redis.xadd("bus", &[("freshet", text)]).unwrap();
        self.app.until_applied(before + 1);
    }

    /// What a read answers, or will in a moment on a busy machine.
    fn is(&mut self, path: &str, expected: &str) {
        self.app.until_get(path, expected);
    }

    fn value(&mut self, key: &str, value: &str, start: u64) {
        self.say(&envelope("value", json!({"key": key, "text": value, "start": start, "ttl": 600_000})));
    }
}

pub(crate) fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A time after this one that has come.
fn after(time: u64) -> u64 {
    until("the clock has gone on", SOON, || {
        let now = now();
        ensure!(now > time + 1, "{now}");
        Ok(now)
    })
    .unwrap()
}

/// An envelope about the quotes.
fn envelope(kind: &str, more: Value) -> Value {
    let mut envelope = json!({"freshet": 1, "kind": kind, "cache": "quotes"});
    let Value::Object(more) = more else { panic!("{more}") };
    envelope.as_object_mut().unwrap().extend(more);
    envelope
}

#[test]
fn what_is_published_is_served_as_it_came_for_what_is_left_of_its_life() {
    let mut stage = Stage::open("");
    let start = now() - 200_000;
    stage.say(&envelope(
        "value",
        json!({"key": ["eur", "us/d"], "value": {"bid": 1.08}, "start": start, "ttl": 260_000}),
    ));
    let answer = stage.app.sidecar.get("/v1/quotes/eur/us%2Fd").unwrap();
    assert_eq!(
        (outcome(&answer), answer.header("content-type")),
        ("hit {\"bid\":1.08}".into(), Some("application/json"))
    );
    let age: u64 = answer.header("age").unwrap().parse().unwrap();
    assert!((200..230).contains(&age), "{age}");
    let status = answer.header("cache-status").unwrap();
    let ttl: u64 = status.rsplit_once("ttl=").unwrap().1.parse().unwrap();
    assert!((30..=60).contains(&ttl), "{status}");
    let bytes =
        json!({"key": "logo", "base64": "AP8=", "type": "image/x-dot", "start": now(), "ttl": 60_000});
    stage.say(&envelope("value", bytes));
    let answer = stage.app.sidecar.get("/v1/quotes/logo").unwrap();
    assert_eq!((answer.body.as_slice(), answer.header("content-type")), (&[0, 255][..], Some("image/x-dot")));
    stage.say(&envelope("value", json!({"key": "old", "text": "x", "start": start, "ttl": 200_000})));
    stage.is("/v1/quotes/old", "miss");
    stage.is("/v1/rates/logo", "miss");
    stage.say(&json!({"freshet": 1, "kind": "clear", "cache": "unknown", "start": now()}));
    stage.is("/v1/quotes/eur/us%2Fd", "hit {\"bid\":1.08}");
    assert_eq!(stage.app.breaks(), [""; 0]);
}

#[test]
fn the_last_wins_in_whatever_order_they_come() {
    let mut stage = Stage::open("");
    let t = now() - 60_000;
    stage.value("a", "new", t);
    stage.value("a", "old", t - 10);
    stage.is("/v1/quotes/a", "hit new");
    stage.value("a", "newer", t + 1);
    stage.is("/v1/quotes/a", "hit newer");
    stage.say(&envelope("delete", json!({"key": "a", "start": t})));
    stage.is("/v1/quotes/a", "hit newer");
    stage.say(&envelope("delete", json!({"key": "a", "start": t + 2})));
    stage.is("/v1/quotes/a", "miss");
    stage.value("a", "newer", t + 1);
    stage.is("/v1/quotes/a", "miss");
    stage.value("a", "newest", t + 3);
    stage.value("b", "x", t + 3);
    stage.is("/v1/quotes/a", "hit newest");
    stage.is("/v1/quotes/b", "hit x");
    stage.say(&envelope("clear", json!({"start": t + 4})));
    stage.is("/v1/quotes/a", "miss");
    stage.is("/v1/quotes/b", "miss");
    stage.value("b", "x", t + 3);
    stage.is("/v1/quotes/b", "miss");
    stage.value("b", "y", t + 5);
    stage.say(&envelope("clear", json!({"start": t + 4})));
    stage.is("/v1/quotes/b", "hit y");
    let of = |publisher: &str, text: &str| json!({"key": "c", "text": text, "start": t + 6, "ttl": 600_000, "publisher": publisher, "sequence": 1});
    stage.say(&envelope("value", of("q", "of q")));
    stage.say(&envelope("value", of("p", "of p")));
    stage.is("/v1/quotes/c", "hit of q");
}

#[test]
fn a_message_that_never_came_is_noticed_by_its_publishers_next_one() {
    let mut stage = Stage::open("");
    let (t, epoch) = (now() - 60_000, stage.app.epoch());
    let said = |stage: &mut Stage, publisher: &str, sequence: u64, key: &str| {
        let more = json!({"key": key, "text": "x", "start": t + sequence, "ttl": 600_000, "publisher": publisher, "sequence": sequence});
        stage.say(&envelope("value", more));
    };
    stage.value("plain", "x", t);
    for sequence in [1, 2, 2, 1, 3] {
        said(&mut stage, "p", sequence, "a");
    }
    stage.is("/v1/quotes/a", "hit x");
    assert_eq!(stage.app.epoch(), epoch);
    said(&mut stage, "q", 1, "b");
    stage.is("/v1/quotes/plain", "hit x");
    said(&mut stage, "p", 5, "c");
    stage.app.until_fresh_after(epoch);
    assert_eq!(stage.app.breaks(), ["messages-missed"]);
    for key in ["plain", "a", "b"] {
        stage.is(&format!("/v1/quotes/{key}"), "miss");
    }
    stage.is("/v1/quotes/c", "hit x");
    said(&mut stage, "r", 9, "d");
    stage.is("/v1/quotes/c", "miss");
    stage.is("/v1/quotes/d", "hit x");
    assert_eq!(stage.app.epoch(), epoch + 1);
}

#[test]
fn what_can_t_be_read_voids_what_it_may_be_about() {
    let mut stage = Stage::open("");
    let fill = |stage: &mut Stage| {
        stage.value("a", "x", now());
        stage.say(&json!({"freshet": 1, "kind": "value", "cache": "rates", "key": "a", "text": "y", "start": now(), "ttl": 60_000}));
        stage.app.until_fills_last();
        stage.app.fill("/v1/products/1", "z");
        stage.is("/v1/quotes/a", "hit x");
        stage.is("/v1/rates/a", "hit y");
    };
    for (bad, quotes, rates, product) in [
        (
            "{\"freshet\":1,\"kind\":\"value\",\"cache\":\"quotes\",\"key\":\"a\",\"text\":\"z\",\"start\":1}",
            "miss",
            "hit y",
            "hit z",
        ),
        ("{\"freshet\":2,\"kind\":\"rename\",\"cache\":\"quotes\",\"to\":\"b\"}", "miss", "hit y", "hit z"),
        (
            "{\"freshet\":1,\"kind\":\"clear\",\"cache\":\"quotes\",\"start\":1,\"more\":true}",
            "miss",
            "hit y",
            "hit z",
        ),
        ("{\"freshet\":1,\"kind\":\"clear\",\"start\":1}", "miss", "miss", "hit z"),
        ("{\"freshet\":2,\"kind\":\"change\",\"table\":\"inventory.product\"}", "hit x", "hit y", "miss"),
        ("{\"freshet\":1,\"kind\":\"change\",\"table\":\"inventory.other\"}", "hit x", "hit y", "hit z"),
        ("what?", "miss", "miss", "miss"),
    ] {
        assert_eq!(stage.app.breaks(), [""; 0]);
        fill(&mut stage);
        stage.say_text(bad);
        stage.is("/v1/quotes/a", quotes);
        stage.is("/v1/rates/a", rates);
        stage.is("/v1/products/1", product);
    }
    let status = stage.app.sidecar.status().unwrap();
    assert_eq!(status["sources"]["cdc"]["unreadable"], 7, "{status}");
    // It may have been a change of anything.
    assert_eq!(stage.app.breaks(), ["unreadable"]);
}

/// Whoever knows that a row has changed can say so, over any source and beside Debezium.
#[test]
fn a_row_s_change_is_told_by_whoever_knows_of_it() {
    let mut stage = Stage::open("");
    let told = |op: &str, more: Value| {
        let mut told = json!({"freshet": 1, "kind": "change", "table": "inventory.product", "op": op});
        told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        told
    };
    // How keys look the first change teaches.
    stage.say(&told("insert", json!({"key": {"id": 9}})));
    stage.app.until_fills_last();
    let fill = |stage: &Stage| ["/v1/products/7", "/v1/products/8"].map(|path| stage.app.fill(path, "x"));
    fill(&stage);
    let lease = stage.app.lease("/v1/products/7");
    stage.say(&told("update", json!({"key": {"id": 7}})));
    stage.is("/v1/products/7", "miss");
    stage.is("/v1/products/8", "hit x");
    assert_eq!(stage.app.put("/v1/products/7", &lease, "older"), 409);
    for whole in
        [told("truncate", json!({})), told("delete", json!({})), told("delete", json!({"oversized": true}))]
    {
        stage.app.until_fills_last();
        fill(&stage);
        stage.say(&whole);
        stage.is("/v1/products/7", "miss");
        stage.is("/v1/products/8", "miss");
    }
    assert_eq!(stage.app.sidecar.status().unwrap()["sources"]["cdc"]["oversized"], 1);
    assert_eq!(stage.app.breaks(), [""; 0]);
    // Numbers show what never came, which may have been such a change.
    let numbered =
        |sequence: u64| told("update", json!({"key": {"id": 1}, "publisher": "p", "sequence": sequence}));
    for sequence in [1, 2, 4] {
        stage.say(&numbered(sequence));
    }
    assert_eq!(stage.app.breaks(), ["messages-missed"]);
    let epoch = stage.app.epoch();
    let mut late = numbered(7);
    late["publisher"] = "q".into();
    stage.say(&late);
    assert_eq!(stage.app.epoch(), epoch + 1, "nobody knows what q has said before");
}

#[test]
fn who_misses_may_fill_and_what_is_published_fences_the_fill() {
    let redis = Redis::start().unwrap();
    let source = format!("redisStream: {{url: '{}', stream: bus}}", redis.url());
    let app = App::open(&source, "\n  - {name: quotes, published: true}", "  freshness: {clockSkew: 0s}");
    let mut stage = Stage { redis, app };
    stage.app.fill("/v1/quotes/a", "filled");
    stage.is("/v1/quotes/a", "hit filled");
    let lease = stage.app.lease("/v1/quotes/a");
    let later = after(now());
    stage.value("a", "published", later);
    assert_eq!(stage.app.put("/v1/quotes/a", &lease, "late"), 409);
    stage.is("/v1/quotes/a", "hit published");
    // What is said late fences as well: whoever is reading may not have seen it.
    let lease = stage.app.lease("/v1/quotes/a");
    stage.value("a", "older", later - 1);
    assert_eq!(stage.app.put("/v1/quotes/a", &lease, "late"), 409);
    stage.is("/v1/quotes/a", "hit published");
    let later = after(later);
    stage.say(&envelope("clear", json!({"start": later})));
    let lease = stage.app.lease("/v1/quotes/a");
    stage.say(&envelope("clear", json!({"start": later - 1})));
    assert_eq!(stage.app.put("/v1/quotes/a", &lease, "late"), 409);
    let large = "x".repeat(2 << 20);
    let later = after(later);
    stage.value("a", &large, later);
    stage.is("/v1/quotes/a", "miss");
    let status = stage.app.sidecar.status().unwrap();
    assert_eq!(status["caches"]["quotes"]["imagesRefused"]["too-large"], 1, "{status}");
}

#[test]
fn of_two_values_of_one_instant_none_is_kept_and_none_of_the_future() {
    let mut stage = Stage::open("");
    let t = now();
    stage.value("a", "one", t);
    stage.value("a", "one", t);
    stage.is("/v1/quotes/a", "hit one");
    stage.value("a", "two", t);
    stage.is("/v1/quotes/a", "miss");
    stage.value("a", "one", t);
    stage.is("/v1/quotes/a", "miss");
    let later = after(t);
    stage.value("a", "three", later);
    stage.is("/v1/quotes/a", "hit three");
    stage.value("a", "of the future", now() + 3_600_000);
    stage.is("/v1/quotes/a", "miss");
    let status = stage.app.sidecar.status().unwrap();
    assert_eq!(status["caches"]["quotes"]["imagesRefused"]["ahead"], 1, "{status}");
    let later = after(later);
    stage.value("a", "four", later);
    stage.is("/v1/quotes/a", "hit four");
}

#[test]
fn no_database_has_to_beat_for_what_is_published() {
    let redis = Redis::start().unwrap();
    let source = format!("redisStream: {{url: '{}', stream: bus}}", redis.url());
    let app = App::open(
        &source,
        "\n  - {name: quotes, published: true}",
        "  freshness: {maxStaleness: 3s, heartbeat: Database}",
    );
    let mut stage = Stage { redis, app };
    stage.value("a", "x", now());
    stage.is("/v1/quotes/a", "hit x");
    stage.redis.kill().unwrap();
    stage.app.until_get("/v1/quotes/a", "stale disconnected");
}
