//! What applications publish, over every transport: the same story, with what each of them promises.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    broker::Bus,
    file::File,
    jet_stream::JetStream,
    kafka::OneTopic,
    nats::Subject,
    postgres_notify::PostgresNotify,
    redis_pub_sub::RedisPubSub,
    redis_stream::RedisStream,
    said::{Chapter, Said, Story},
};

#[test]
fn over_redis_streams() {
    Story::<RedisStream, Publications>::open().tell_of_a_server();
}

#[test]
fn over_channels_of_redis() {
    Story::<RedisPubSub, Publications>::open().tell_of_a_server();
}

#[test]
fn over_subjects_of_nats() {
    Story::<Subject, Publications>::open().tell_of_a_server();
}

#[test]
fn over_one_topic_of_kafka() {
    Story::<OneTopic, Publications>::open().tell_of_a_server();
}

#[test]
fn over_notifications_of_postgres() {
    Story::<PostgresNotify, Publications>::open().tell_of_a_server();
}

#[test]
fn over_jet_stream() {
    Story::<JetStream, Publications>::open().tell_of_a_server();
}

#[test]
fn over_a_file() {
    Story::<File, Publications>::open().tell();
}

/// Values, which are there when they were heard.
struct Publications;

impl Said for Publications {
    const STORY: &'static str = "publications";
    const CACHES: &'static str = "
  - {name: quotes, published: true}";
    const HEARD: &'static str = "it is served, once it is heard of";
    const LAST: &'static str = "the last is served";
    const LAST_OR_VOID: &'static str = "the last is served, or all is void";

    fn chapters<B: Bus>() -> Vec<Chapter<B, Self>> {
        vec![
            ("a value", Story::value),
            ("what is left of a life", Story::life),
            ("delete", Story::delete),
            ("clear", Story::clear),
            ("replay", Story::replay),
        ]
    }

    fn paths(number: u64) -> [String; 2] {
        ["key", "other"].map(|name| format!("/v1/quotes/{name}-{number}"))
    }

    fn hold<B: Bus>(story: &mut Story<B, Self>, path: &str) {
        story.say(path, "x");
        story.is(path, "hit x");
    }

    fn of(path: &str, text: &str) -> Value {
        value(key(path), text)
    }

    fn found(text: &str) -> String {
        format!("hit {text}")
    }

    fn one_of_many(path: &str) -> Value {
        Self::of(path, "y")
    }

    fn long(path: &str, bytes: usize) -> Value {
        Self::of(path, &"y".repeat(bytes))
    }
}

impl<B: Bus> Story<B, Publications> {
    fn value(&mut self) -> &'static str {
        let [first, other] = self.held();
        self.say(&first, "y");
        self.is(&first, "hit y");
        assert_eq!(self.app.get(&other), "hit x");
        "it is served"
    }

    fn life(&mut self) -> &'static str {
        let [path, over] = self.next();
        let start = now() - 200_000;
        for (path, ttl) in [(&over, 150_000), (&path, 260_000)] {
            let more = json!({"key": key(path), "text": "x", "start": start, "ttl": ttl});
            self.bus.publish(&envelope("value", more));
        }
        self.is(&path, "hit x");
        assert_eq!(self.app.get(&over), "miss", "its life was over");
        let answer = self.app.answer(&path);
        let status = answer.header("cache-status").unwrap();
        let ttl: u64 = status.rsplit_once("ttl=").unwrap().1.parse().unwrap();
        assert!((30..=60).contains(&ttl), "{status}");
        "what is left of it"
    }

    fn delete(&mut self) -> &'static str {
        let [path, other] = self.held();
        self.bus.publish(&envelope("delete", json!({"key": key(&path), "start": later()})));
        self.is(&path, "miss");
        assert_eq!(self.app.get(&other), "hit x");
        "its key is void"
    }

    fn clear(&mut self) -> &'static str {
        let [path, other] = self.held();
        self.bus.publish(&envelope("clear", json!({"start": later()})));
        self.is(&path, "miss");
        assert_eq!(self.app.get(&other), "miss");
        "all is void"
    }

    /// What is said once more takes nothing back.
    fn replay(&mut self) -> &'static str {
        let [path, _] = self.next();
        let said = ["old", "new"].map(|text| Publications::of(&path, text));
        let before = self.app.entries().unwrap();
        for said in said.iter().chain(&said) {
            self.bus.publish(said);
        }
        self.app.until_applied(before + 4);
        self.is(&path, "hit new");
        "nothing is taken back"
    }
}

/// What is the key's in a path.
fn key(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// An envelope about the quotes.
fn envelope(kind: &str, more: Value) -> Value {
    let mut envelope = json!({"freshet": 1, "kind": kind, "cache": "quotes"});
    let Value::Object(more) = more else { panic!("{more}") };
    envelope.as_object_mut().unwrap().extend(more);
    envelope
}

/// A value that lasts, and is newer than all that was said before it.
pub(super) fn value(key: &str, text: &str) -> Value {
    envelope("value", json!({"key": key, "text": text, "start": later(), "ttl": 3_600_000}))
}

/// This moment, or one right after all that were asked for before.
fn later() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    // Read once: two that became so at once void each other.
    let now = now();
    let next = |last: u64| now.max(last + 1);
    LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last))).map(next).unwrap()
}
