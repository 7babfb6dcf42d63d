//! Requests of which not all is written at once.

use std::time::Duration;

use anyhow::ensure;
use freshet_e2e::process::{Nats, Proxy, until};
use serde_json::{Value, json};

use super::{CACHES, Told as _, problem};
use crate::{
    shop::App,
    transports::{broker::Source as _, kafka::OneTopic},
};

/// How long what takes several attempts may take on a busy machine.
const IN_THE_END: Duration = Duration::from_mins(1);

/// So many messages, one after the other, take more than twice as long as one attempt may.
const MANY: u64 = 200;
const DELAY: Duration = Duration::from_millis(20);

#[test]
fn what_takes_longer_than_an_attempt_is_written_once_and_in_its_order() {
    let nats = Nats::builder().jetstream().start().unwrap();
    nats.create_stream("shop", &["shop.>"]).unwrap();
    // Of what is sent to the subject all is heard, and what comes twice the stream passes over.
    let mut sent = nats.subscribe("shop.bus").unwrap();
    let proxy = Proxy::start(nats.address()).unwrap();
    let source = format!(
        "natsJetStream: {{url: 'nats://{}', stream: shop, publishSubject: shop.bus}}",
        proxy.address()
    );
    let mut app = App::open(&source, CACHES, "");
    let put: Vec<_> = (1..=MANY).map(|n| json!({"key": format!("{n}"), "text": "x", "ttl": "10m"})).collect();
    proxy.delay(DELAY);
    let answer = app.publish(&json!({"put": put}));
    assert_eq!((answer.status, problem(&answer).as_str()), (504, "publish-unknown"), "{answer:?}");
    let count = || nats.stream("shop").unwrap().state.messages;
    until("it is there", IN_THE_END, || {
        ensure!(count() >= MANY, "{}", count());
        Ok(())
    })
    .unwrap();
    proxy.pass();
    app.until_fresh();
    let last = app.say("last", "y");
    assert_eq!(last["sequence"].as_u64().map(|it| it > MANY), Some(true), "{last}");
    assert_eq!((app.get("/v1/quotes/1"), app.breaks()), ("hit x".into(), vec![]));
    let numbers = |said: &[Value]| -> Vec<u64> {
        said.iter().map(|envelope| envelope["sequence"].as_u64().unwrap()).collect()
    };
    let there: Vec<Value> = nats.messages("shop").unwrap().iter().map(|it| read(&it.payload)).collect();
    assert_eq!(numbers(&there), (1..=there.len() as u64).collect::<Vec<_>>());
    let mut heard = Vec::new();
    while heard.last() != there.last() {
        heard.push(read(&sent.hear().unwrap().payload));
    }
    // An attempt may have ended with one of them under way, which is the first of the next.
    let (heard, again) = (numbers(&heard), heard.len() - there.len());
    assert!(heard.windows(2).all(|two| two[1] == two[0] || two[1] == two[0] + 1), "{heard:?}");
    assert!(again < 50, "{heard:?}");
}

fn read(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap()
}

/// A request with so many values, each of 100 KiB: more than a broker takes in one batch of records.
fn of_several_batches(topic: &OneTopic, values: usize) {
    let mut app = App::open(&topic.source(), CACHES, "");
    let text = "x".repeat(100 << 10);
    let put: Vec<_> =
        (1..=values).map(|n| json!({"key": format!("{n}"), "text": text, "ttl": "10m"})).collect();
    let answer = app.publish(&json!({"put": put}));
    // Whether it has come back by then is a matter of the machine.
    assert!(matches!(answer.status, 200 | 202), "{answer:?}");
    assert_eq!(answer.json().unwrap()["sequence"], values);
    for key in 1..=values {
        app.until_get(&format!("/v1/quotes/{key}"), &format!("hit {text}"));
    }
    assert_eq!(app.breaks(), [""; 0]);
}

#[test]
fn more_than_a_broker_takes_at_once_is_added_by_several_calls() {
    let topic = OneTopic::open();
    of_several_batches(&topic, 30);
    assert_eq!(topic.count("value"), 30);
    let mut numbers = topic.headers("freshet-sequence");
    numbers.truncate(30);
    assert_eq!(numbers, (1..=30).map(|n: u32| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn more_than_a_broker_takes_at_once_is_added_to_each_partition_by_several_calls() {
    of_several_batches(&OneTopic::spread(), 60);
}
