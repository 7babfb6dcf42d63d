//! What a publisher says when nobody has anything to say.

use anyhow::ensure;
use freshet_e2e::process::{Redis, until};
use serde_json::Value;

use super::CACHES;
use crate::{
    shop::{App, SOON},
    transports::redis_stream::envelopes,
};

fn open() -> (Redis, App) {
    let redis = Redis::start().unwrap();
    let source = format!("redisStream: {{url: '{}', stream: bus}}", redis.url());
    let app = App::open(&source, CACHES, "");
    (redis, app)
}

/// Kinds, in the order of their numbers, which have no gap.
fn kinds(envelopes: &[Value]) -> Vec<String> {
    let numbers: Vec<_> = envelopes.iter().map(|envelope| envelope["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    envelopes.iter().map(|envelope| envelope["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn who_has_nothing_more_to_say_beats_for_a_while_and_says_bye() {
    let (redis, app) = open();
    app.say("a", "x");
    let said = until("it says bye", 2 * SOON, || {
        let said = envelopes(&redis, "bus");
        ensure!(said.last().unwrap()["kind"] == "bye", "{said:?}");
        Ok(said)
    })
    .unwrap();
    let expected = [vec!["value"], vec!["beat"; 10], vec!["bye"]].concat();
    assert_eq!(kinds(&said), expected);
    let name = said[0]["publisher"].as_str().unwrap();
    assert!(said.iter().all(|envelope| envelope["publisher"] == name));
    let next = app.say("a", "y");
    assert_eq!(next["sequence"], 1);
    assert_ne!(next["publisher"], name);
    assert_eq!((app.get("/v1/quotes/a").as_str(), app.breaks()), ("hit y", vec![]));
}

#[test]
fn who_is_told_to_stop_says_bye() {
    let (redis, mut app) = open();
    app.say("a", "x");
    app.sidecar.stop().unwrap();
    let kinds = kinds(&envelopes(&redis, "bus"));
    assert_eq!((kinds.first().unwrap().as_str(), kinds.last().unwrap().as_str()), ("value", "bye"));
}

#[test]
fn who_is_not_in_the_binding_any_more_says_bye() {
    let (redis, mut app) = open();
    app.say("a", "x");
    let other = Redis::start().unwrap();
    let source = format!("redisStream: {{url: '{}', stream: bus}}", other.url());
    app.sidecar.rebind(&crate::shop::manifest_over(&source, CACHES, "")).unwrap();
    until("it says bye", SOON, || {
        let said = envelopes(&redis, "bus");
        ensure!(said.last().unwrap()["kind"] == "bye", "{said:?}");
        Ok(())
    })
    .unwrap();
    app.until_fresh();
    app.say("a", "y");
    assert_eq!(envelopes(&other, "bus")[0]["kind"], "value");
}
