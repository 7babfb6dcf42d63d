//! What isn't published, and what is said of it.

use freshet_e2e::process::{Nats, Redis, Sidecar};
use serde_json::{Value, json};

use super::{CACHES, problem, publish, value};
use crate::shop::{App, executable, manifest_over};

fn over_redis(caches: &str) -> (Redis, App) {
    let redis = Redis::start().unwrap();
    let source = format!("redisStream: {{url: '{}', stream: bus}}", redis.url());
    let app = App::open(&source, caches, "");
    (redis, app)
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_written() {
    let caches = format!("{CACHES}\n  - {{name: products, table: inventory.product}}");
    let (redis, app) = over_redis(&caches);
    let large = "x".repeat((1 << 20) + 1);
    let good = json!({"key": "a", "text": "x", "ttl": 1000});
    let with = |bad: Value| json!({"put": [good, bad]});
    for (path, body, status, slug) in [
        ("quotes", json!({}), 400, "publish"),
        ("quotes", with(json!({"key": "b", "text": "x"})), 400, "publish"),
        ("quotes", with(json!({"key": "b", "text": large, "ttl": 1})), 413, "value-too-large"),
        ("quotes", json!({"delete": vec!["a"; 1001]}), 413, "publish-too-large"),
        ("products", value("a", "x"), 409, "not-published"),
        ("nope", value("a", "x"), 404, "unknown-cache"),
    ] {
        let answer = publish(&app.sidecar.tcp(), &format!("/v1/{path}/_publish"), &body);
        assert_eq!((answer.status, problem(&answer).as_str()), (status, slug), "{path}: {answer:?}");
    }
    let text = app.sidecar.request("POST", "/v1/quotes/_publish", &[], b"{}").unwrap();
    assert_eq!((text.status, problem(&text).as_str()), (415, "media-type"));
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(app.sidecar.request(method, "/v1/quotes/_publish", &[], b"").unwrap().status, 405);
    }
    assert_eq!(redis.command::<u64>(&["XLEN", "bus"]).unwrap(), 0);
    // Another kind of key is there, and nothing can be added.
    redis.command::<()>(&["SET", "bus", "x"]).unwrap();
    let answer = app.publish(&value("a", "x"));
    assert_eq!((answer.status, problem(&answer).as_str()), (502, "publish-refused"), "{answer:?}");
}

#[test]
fn to_a_file_nothing_is_published() {
    let app = App::open("file: {path: '-', stream: bus}", CACHES, "");
    let answer = app.publish(&value("a", "x"));
    assert_eq!((answer.status, problem(&answer).as_str()), (409, "not-publishable"), "{answer:?}");
    let status = app.sidecar.status().unwrap();
    assert_eq!(status["sources"]["cdc"]["publishing"]["reason"], "a file is only read");
}

#[test]
fn the_rights_in_the_guides_are_enough_and_the_last_of_them_is_needed() {
    let guide = include_str!("../../../../docs/guides/redis.md");
    let rights = guide.split("```\nACL SETUSER freshet ").nth(1).unwrap().split('\n').next().unwrap();
    let rights = format!("ACL SETUSER freshet {} +xadd", rights.replace("%R~", "~"));
    let redis = Redis::start().unwrap();
    redis.command::<()>(&rights.split(' ').collect::<Vec<_>>()).unwrap();
    let url = format!("redis://freshet:change-me@{}", redis.address());
    let source = "redisStream: {urlFrom: {secretKeyRef: {name: redis, key: url}}, stream: shop.cdc}";
    let builder = Sidecar::builder(executable(), &manifest_over(source, CACHES, ""));
    let mut app = App { sidecar: builder.secret("redis", "url", &url).start().unwrap() };
    app.until_fresh();
    app.say("a", "x");
    redis.command::<()>(&["ACL", "SETUSER", "freshet", "-xadd"]).unwrap();
    let answer = app.publish(&value("a", "y"));
    assert_eq!((answer.status, problem(&answer).as_str()), (502, "publish-refused"), "{answer:?}");
    assert_eq!(app.get("/v1/quotes/a"), "hit x");

    let guide = include_str!("../../../../docs/guides/nats.md").replace("DebeziumStream", "shop");
    let permissions = guide.split("```\npermissions: ").nth(1).unwrap().split("```").next().unwrap();
    for (subject, status) in [("\"shop.bus\", ", 200), ("", 502)] {
        let permissions = permissions.replacen("publish: [", &format!("publish: [{subject}"), 1);
        let users = format!(
            "{{users: [{{user: admin, password: admin}}, {{user: freshet, password: change-me, permissions: {permissions}}}]}}"
        );
        let nats = Nats::builder().jetstream().set("authorization", &users).set("no_auth_user", "admin");
        let nats = nats.start().unwrap();
        nats.create_stream("shop", &["shop.>"]).unwrap();
        let source = "natsJetStream: {urlFrom: {secretKeyRef: {name: nats, key: url}}, stream: shop, publishSubject: shop.bus}";
        let url = format!("nats://freshet:change-me@{}", nats.address());
        let builder = Sidecar::builder(executable(), &manifest_over(source, CACHES, ""));
        let mut app = App { sidecar: builder.secret("nats", "url", &url).start().unwrap() };
        app.until_fresh();
        let answer = app.publish(&value("a", "x"));
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[test]
fn the_subject_has_to_be_named_and_captured_and_messages_small_enough() {
    let nats = Nats::builder().jetstream().max_payload(64 << 10).start().unwrap();
    nats.create_stream("shop", &["shop.>"]).unwrap();
    let app = |more: &str| {
        let source = format!("natsJetStream: {{url: '{}', stream: shop{more}}}", nats.url());
        App::open(&source, CACHES, "")
    };
    let answer = app("").publish(&value("a", "x"));
    assert_eq!((answer.status, problem(&answer).as_str()), (409, "not-publishable"), "{answer:?}");
    assert!(answer.text().contains("publishSubject"), "{answer:?}");
    let answer = app(", publishSubject: bus").publish(&value("a", "x"));
    assert_eq!((answer.status, problem(&answer).as_str()), (502, "publish-refused"), "{answer:?}");
    assert!(answer.text().contains("doesn't capture the subject `bus`"), "{answer:?}");
    let app = app(", publishSubject: shop.bus");
    let large = "x".repeat(64 << 10);
    let put = [("a", "small"), ("b", large.as_str())]
        .map(|(key, text)| json!({"key": key, "text": text, "ttl": "1m"}));
    let answer = app.publish(&json!({"put": put}));
    assert_eq!((answer.status, problem(&answer).as_str()), (502, "publish-refused"), "{answer:?}");
    assert!(answer.text().contains("max_payload"), "{answer:?}");
    assert_eq!(nats.stream("shop").unwrap().state.messages, 0, "none of it");
    assert_eq!(app.say("a", "small")["sequence"], 1);
}
