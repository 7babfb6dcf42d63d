//! What applications publish, over every transport: the same story, with what each of them promises.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::ensure;
use freshet_e2e::process::Sidecar;
use serde_json::{Value, json};

use super::{
    ALL_VOID, broker::Bus, jet_stream::JetStream, kafka::OneTopic, nats::Subject,
    postgres_notify::PostgresNotify, redis_pub_sub::RedisPubSub, redis_stream::RedisStream, report,
};
use crate::shop::{App, executable, manifest_over};

const CACHES: &str = "
  - {name: quotes, published: true}";

/// How much is published to a sidecar that stands still: more than any server or sidecar holds for one connection.
const TOO_MUCH: usize = 160 << 20;
/// What became of the last value where it may have been lost.
const OR_VOID: &str = "the last is served, or all is void";
/// How long a burst may take to be read on a busy machine.
const CAUGHT_UP: Duration = Duration::from_mins(2);

#[test]
fn over_redis_streams() {
    Story::<RedisStream>::open().tell();
}

#[test]
fn over_channels_of_redis() {
    Story::<RedisPubSub>::open().tell();
}

#[test]
fn over_subjects_of_nats() {
    Story::<Subject>::open().tell();
}

#[test]
fn over_one_topic_of_kafka() {
    Story::<OneTopic>::open().tell();
}

#[test]
fn over_notifications_of_postgres() {
    Story::<PostgresNotify>::open().tell();
}

#[test]
fn over_jet_stream() {
    Story::<JetStream>::open().tell();
}

/// A name, and what happens: whatever it is, it says in two words what became of the values.
type Chapter<B> = (&'static str, fn(&mut Story<B>) -> &'static str);

struct Story<B> {
    bus: B,
    app: App,
    /// The last number that was given to anything.
    number: u64,
}

impl<B: Bus> Story<B> {
    fn open() -> Self {
        let bus = B::open();
        let text = manifest_over(&bus.source(), CACHES, "");
        let mut app = App { sidecar: Sidecar::builder(executable(), &text).start().unwrap() };
        app.until_fresh();
        app.until_fills_last();
        Self { bus, app, number: 0 }
    }

    fn tell(mut self) {
        let chapters: [Chapter<B>; 13] = [
            ("a value", Self::value),
            ("what is left of a life", Self::life),
            ("delete", Self::delete),
            ("clear", Self::clear),
            ("replay", Self::replay),
            ("a lost message", Self::lost),
            ("restart", Self::restart),
            ("kill", Self::kill),
            ("partition", Self::partition),
            ("a connection that is half open", Self::half_open),
            ("a server that stands still", Self::standstill),
            ("burst", Self::burst),
            ("a consumer that is too slow", Self::slow),
        ];
        let mut told = Vec::new();
        for (name, chapter) in chapters {
            println!("{name}");
            self.app.until_fresh();
            told.push((name, chapter(&mut self)));
        }
        report::hold("publications", B::NAME, &told);
    }

    /// A key that no chapter has had so far.
    fn next(&mut self) -> String {
        self.number += 1;
        format!("key-{}", self.number)
    }

    /// Publishes a value that lasts.
    fn put(&self, key: &str, text: &str) {
        self.bus.publish(&value(key, text));
    }

    /// A key with a value, and another one.
    fn held(&mut self) -> [String; 2] {
        let keys = [self.next(), self.next()];
        for key in &keys {
            self.put(key, "x");
            self.is(key, "hit x");
        }
        keys
    }

    fn is(&mut self, key: &str, expected: &str) {
        self.app.until_get(&path(key), expected);
    }

    fn value(&mut self) -> &'static str {
        let [first, other] = self.held();
        self.put(&first, "y");
        self.is(&first, "hit y");
        assert_eq!(self.app.get(&path(&other)), "hit x");
        "it is served"
    }

    fn life(&mut self) -> &'static str {
        let [key, over] = [self.next(), self.next()];
        let start = now() - 200_000;
        for (key, ttl) in [(&over, 150_000), (&key, 260_000)] {
            let more = json!({"key": key, "text": "x", "start": start, "ttl": ttl});
            self.bus.publish(&envelope("value", more));
        }
        self.is(&key, "hit x");
        assert_eq!(self.app.get(&path(&over)), "miss", "its life was over");
        let answer = self.app.sidecar.get(&path(&key)).unwrap();
        let status = answer.header("cache-status").unwrap();
        let ttl: u64 = status.rsplit_once("ttl=").unwrap().1.parse().unwrap();
        assert!((30..=60).contains(&ttl), "{status}");
        "what is left of it"
    }

    fn delete(&mut self) -> &'static str {
        let [key, other] = self.held();
        self.bus.publish(&envelope("delete", json!({"key": key, "start": later()})));
        self.is(&key, "miss");
        assert_eq!(self.app.get(&path(&other)), "hit x");
        "its key is void"
    }

    fn clear(&mut self) -> &'static str {
        let [key, other] = self.held();
        self.bus.publish(&envelope("clear", json!({"start": later()})));
        self.is(&key, "miss");
        assert_eq!(self.app.get(&path(&other)), "miss");
        "all is void"
    }

    /// What is said once more takes nothing back.
    fn replay(&mut self) -> &'static str {
        let key = self.next();
        let said = ["old", "new"].map(|text| value(&key, text));
        let before = self.app.entries().unwrap();
        for said in said.iter().chain(&said) {
            self.bus.publish(said);
        }
        self.app.until_applied(before + 4);
        self.is(&key, "hit new");
        "nothing is taken back"
    }

    /// The next number shows it, whatever the transport notices.
    fn lost(&mut self) -> &'static str {
        let [key, other] = self.held();
        let numbered = |key: &str, sequence: u64| {
            let mut said = value(key, &sequence.to_string());
            said["publisher"] = "story".into();
            said["sequence"] = sequence.into();
            said
        };
        self.bus.publish(&numbered(&key, 1));
        self.is(&key, "hit 1");
        let epoch = self.app.epoch();
        self.bus.publish(&numbered(&key, 3));
        self.app.until_fresh_after(epoch);
        self.is(&other, "miss");
        assert!(self.app.breaks().contains(&"messages-missed".to_owned()), "{:?}", self.app.breaks());
        self.bus.publish(&numbered(&key, 4));
        self.is(&key, "hit 4");
        // So that its silence means nothing.
        self.bus.publish(&json!({"freshet": 1, "kind": "bye", "publisher": "story", "sequence": 5}));
        "all is void, with the next number"
    }

    fn restart(&mut self) -> &'static str {
        self.over_a_restart(|story| story.bus.restart())
    }

    fn kill(&mut self) -> &'static str {
        self.over_a_restart(|story| story.bus.kill_and_restart())
    }

    fn over_a_restart(&mut self, restart: impl FnOnce(&mut Self)) -> &'static str {
        if B::KEEPS_ITS_PLACE_OVER_RESTARTS {
            return self.over(|story, key| {
                restart(story);
                story.put(key, "y");
            });
        }
        let [key, other] = self.held();
        let epoch = self.app.epoch();
        restart(self);
        self.app.until_fresh_after(epoch);
        assert_eq!([&key, &other].map(|key| self.app.get(&path(key))), ["miss", "miss"]);
        ALL_VOID
    }

    /// Something `happens` while a value is published: where the transport keeps it, it is there in the end and nothing
    /// else is void; where it doesn't, everything is.
    fn over(&mut self, happens: impl FnOnce(&mut Self, &str)) -> &'static str {
        let [key, other] = self.held();
        let (epoch, breaks) = (self.app.epoch(), self.app.breaks());
        happens(self, &key);
        if B::KEEPS {
            self.is(&key, "hit y");
            self.app.until_fresh();
            assert_eq!(self.app.get(&path(&other)), "hit x", "nothing was said of it");
            assert_eq!((self.app.epoch(), self.app.breaks()), (epoch, breaks));
            "it is served, once it is heard of"
        } else {
            self.app.until_fresh_after(epoch);
            assert_eq!([&key, &other].map(|key| self.app.get(&path(key))), ["miss", "miss"]);
            assert!(self.app.breaks().contains(&"reconnected".to_owned()), "{:?}", self.app.breaks());
            ALL_VOID
        }
    }

    fn partition(&mut self) -> &'static str {
        self.over(|story, key| {
            story.bus.proxy().refuse();
            story.is(key, "stale disconnected");
            story.put(key, "y");
            story.bus.proxy().pass();
        })
    }

    fn half_open(&mut self) -> &'static str {
        self.over(|story, key| {
            story.bus.proxy().abandon();
            story.put(key, "y");
        })
    }

    fn standstill(&mut self) -> &'static str {
        self.over(|story, key| {
            story.bus.pause();
            story.is(key, "stale disconnected");
            story.bus.resume();
            if B::KEEPS {
                story.put(key, "y");
            }
        })
    }

    /// So much at once, and the last is what counts.
    fn burst(&mut self) -> &'static str {
        let [key, _] = self.held();
        self.bus.publish_many(&value(&key, "y"), 100_000);
        self.put(&key, "z");
        self.until_last(&key);
        if B::KEEPS { "the last is served" } else { OR_VOID }
    }

    /// A sidecar that stood still while more was published than anybody holds for it.
    fn slow(&mut self) -> &'static str {
        let [key, _] = self.held();
        let epoch = self.app.epoch();
        self.app.sidecar.process().pause().unwrap();
        let long = "y".repeat(B::MOST);
        self.bus.publish_many(&value(&key, &long), TOO_MUCH / B::MOST);
        self.put(&key, "z");
        self.app.sidecar.process().resume().unwrap();
        self.until_last(&key);
        if B::KEEPS {
            assert_eq!(self.app.epoch(), epoch, "{:?}", self.app.breaks());
            assert_eq!(self.app.get(&path(&key)), "hit z");
        }
        if B::KEEPS { "the last is served" } else { OR_VOID }
    }

    /// Waits until what was published last is there, or is known to have been lost.
    fn until_last(&mut self, key: &str) {
        let key = path(key);
        self.app
            .sidecar
            .until("all that came is read", CAUGHT_UP, |sidecar| {
                let found = crate::shop::outcome(&sidecar.get(&key)?);
                let is_last = found == "hit z" || !B::KEEPS && found == "miss";
                ensure!(is_last, "{}", found.chars().take(80).collect::<String>());
                let status = sidecar.status()?;
                let source = &status["sources"]["cdc"];
                ensure!(source["pending"] == 0 && source["state"] == "Fresh", "{source}");
                Ok(())
            })
            .unwrap();
    }
}

fn path(key: &str) -> String {
    format!("/v1/quotes/{key}")
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
    let next = |last: u64| now().max(last + 1);
    LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last))).map(next).unwrap()
}
