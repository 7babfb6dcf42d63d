//! What applications publish through their sidecars, over every transport that it can be written to.

mod large;
mod limits;
mod notices;

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{self, TryRecvError},
    },
    thread,
};

use anyhow::ensure;
use freshet_e2e::process::{
    Redis, Silence,
    http::{Connection, Response, Target},
    until,
};
use serde_json::{Value, json};

use crate::{
    shop::{App, SOON, outcome},
    transports::{
        broker::{Server, Source},
        jet_stream::JetStream,
        kafka::OneTopic,
        nats::Subject,
        postgres_notify::PostgresNotify,
        redis_pub_sub::RedisPubSub,
        redis_stream::RedisStream,
    },
};

pub(crate) const CACHES: &str = "
  - {name: quotes, published: true}
  - {name: rates, published: true, ttl: 1h}";

const QUOTES: &str = "/v1/quotes/_publish";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A source that two pods follow.
struct Stage<B> {
    broker: B,
    here: App,
    there: App,
}

impl<B: Server> Stage<B> {
    fn open() -> Self {
        Self::over(B::open())
    }

    fn over(broker: B) -> Self {
        let app = || App::open(&broker.source(), CACHES, "");
        Self { here: app(), there: app(), broker }
    }
}

/// Asks a sidecar to publish.
pub(crate) fn publish(target: &Target, path: &str, body: &Value) -> Response {
    let body = body.to_string();
    Connection::open(target).unwrap().request("POST", path, &[JSON], body.as_bytes()).unwrap()
}

impl App {
    pub(crate) fn publish(&self, body: &Value) -> Response {
        publish(&self.sidecar.tcp(), QUOTES, body)
    }

    /// Publishes a value, which is there when that is answered.
    pub(crate) fn say(&self, key: &str, text: &str) -> Value {
        let answer = self.publish(&value(key, text));
        assert!(matches!(answer.status, 200 | 202), "{answer:?}");
        if answer.status == 202 {
            // It is written, and hasn't come back in time.
            let path = format!("/v1/quotes/{key}");
            until(&path, SOON, || {
                let found = self.get(&path);
                ensure!(found == format!("hit {text}"), "{found}");
                Ok(())
            })
            .unwrap();
        }
        answer.json().unwrap()
    }
}

pub(crate) fn value(key: &str, text: &str) -> Value {
    json!({"put": [{"key": key, "text": text, "ttl": "10m"}]})
}

/// The problem's type.
pub(crate) fn problem(answer: &Response) -> String {
    let problem = answer.json().unwrap();
    problem["type"].as_str().unwrap().rsplit_once('/').unwrap().1.to_owned()
}

fn told(broker: impl Server) {
    let mut stage = Stage::over(broker);
    let said = stage.here.say("a", "one");
    // Whoever has published finds it at once.
    assert_eq!(stage.here.get("/v1/quotes/a"), "hit one");
    stage.there.until_get("/v1/quotes/a", "hit one");
    assert_eq!((&said["applied"], &said["sequence"]), (&json!(true), &json!(1)));
    // All at once, in the order in which it stands there.
    let body = json!({
        "put": [
            {"key": ["b", "c/d"], "value": {"bid": 1.0800}, "ttl": 60_000},
            {"key": "e", "base64": "AP8=", "type": "image/x-dot", "ttl": "1m"},
            {"key": "e", "text": "last", "ttl": "1m"},
        ],
        "delete": ["e"],
        "clear": true,
    });
    // As it was written: JSON of others has other numbers.
    let body = body.to_string().replace("1.08", "1.0800");
    let answer = stage.there.sidecar.request("POST", QUOTES, &[JSON], body.as_bytes()).unwrap();
    assert_eq!((answer.status, answer.json().unwrap()["sequence"].as_u64()), (200, Some(5)), "{answer:?}");
    for app in [&mut stage.there, &mut stage.here] {
        app.until_get("/v1/quotes/b/c%2Fd", "hit {\"bid\":1.0800}");
        app.until_get("/v1/quotes/a", "miss");
        app.until_get("/v1/quotes/e", "hit last");
    }
    let answer = stage.here.publish(&json!({"delete": ["e", ["b", "c/d"]]}));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(stage.here.get("/v1/quotes/e"), "miss");
    stage.there.until_get("/v1/quotes/b/c%2Fd", "miss");
    // A later one wins, whoever says it.
    for (text, app) in ["x", "y", "z"].iter().zip([&stage.there, &stage.here, &stage.there]) {
        app.say("f", text);
    }
    stage.here.until_get("/v1/quotes/f", "hit z");
    assert_eq!((stage.here.breaks(), stage.there.breaks()), (vec![], vec![]));
    let metrics = stage.here.sidecar.metrics().unwrap();
    assert!(metrics.contains("freshet_published_total{source=\"cdc\",outcome=\"written\"} 4\n"), "{metrics}");
}

#[test]
fn what_is_published_is_in_every_pod_over_redis() {
    told(RedisStream::open());
}

#[test]
fn what_is_published_is_in_every_pod_over_jet_stream() {
    told(JetStream::open());
}

#[test]
fn what_is_published_is_in_every_pod_over_channels_of_redis() {
    told(RedisPubSub::open());
}

#[test]
fn what_is_published_is_in_every_pod_over_subjects_of_nats() {
    told(Subject::one());
}

#[test]
fn what_is_published_is_in_every_pod_over_notify() {
    told(PostgresNotify::open());
}

#[test]
fn what_is_published_is_in_every_pod_over_kafka() {
    told(OneTopic::open());
}

#[test]
fn what_is_published_is_in_every_pod_over_partitions() {
    told(OneTopic::spread());
}

/// Both publish about the same keys as fast as they can.
fn contended(broker: impl Server) {
    let mut stage = Stage::over(broker);
    let targets = [stage.here.sidecar.tcp(), stage.there.sidecar.tcp()];
    let writers = targets.map(|target| {
        thread::spawn(move || {
            let tell = |n: usize| {
                let put = ["a", "b", "c"]
                    .map(|key| json!({"key": key, "text": format!("{target:?} {n}"), "ttl": 600_000}));
                let answer = publish(&target, QUOTES, &json!({"put": put}));
                assert!(matches!(answer.status, 200 | 202), "{answer:?}");
                let said = answer.json().unwrap();
                (
                    said["start"].as_u64(),
                    said["publisher"].as_str().unwrap().to_owned(),
                    format!("{target:?} {n}"),
                )
            };
            (0..40).map(tell).collect::<Vec<_>>()
        })
    });
    let said: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
    let (.., last) = said.iter().max_by_key(|(start, publisher, _)| (*start, publisher)).unwrap();
    // Of one publisher's with the same start the number decides.
    let same = |app: &App| ["a", "b", "c"].map(|key| app.get(&format!("/v1/quotes/{key}")));
    let prefix = last.rsplit_once(' ').unwrap().0;
    until("both have the same", SOON, || {
        let (here, there) = (same(&stage.here), same(&stage.there));
        ensure!(
            here == there && here.iter().all(|it| it.starts_with(&format!("hit {prefix}"))),
            "{here:?} {there:?}"
        );
        Ok(())
    })
    .unwrap();
    assert_eq!((stage.here.breaks(), stage.there.breaks()), (vec![], vec![]));
    stage.here.say("a", "the end");
    stage.there.until_get("/v1/quotes/a", "hit the end");
}

#[test]
fn the_last_wins_in_every_pod_over_redis() {
    contended(RedisStream::open());
}

#[test]
fn the_last_wins_in_every_pod_over_jet_stream() {
    contended(JetStream::open());
}

#[test]
fn the_last_wins_in_every_pod_over_channels_of_redis() {
    contended(RedisPubSub::open());
}

#[test]
fn the_last_wins_in_every_pod_over_subjects_of_nats() {
    contended(Subject::one());
}

#[test]
fn the_last_wins_in_every_pod_over_notify() {
    contended(PostgresNotify::open());
}

#[test]
fn the_last_wins_in_every_pod_over_partitions() {
    contended(OneTopic::spread());
}

/// What stands in the source of what was published.
trait Told: Server {
    /// How many envelopes are of this kind.
    fn count(&self, kind: &str) -> usize;
}

impl Told for RedisStream {
    fn count(&self, kind: &str) -> usize {
        self.envelopes().iter().filter(|envelope| envelope["kind"] == kind).count()
    }
}

impl Told for JetStream {
    fn count(&self, kind: &str) -> usize {
        self.envelopes().iter().filter(|envelope| envelope["kind"] == kind).count()
    }
}

impl Told for OneTopic {
    fn count(&self, kind: &str) -> usize {
        self.headers("freshet-kind").iter().filter(|found| *found == kind).count()
    }
}

/// Somebody publishes, and no answer comes.
fn in_doubt<B: Told>(twice: bool) {
    let broker = B::open();
    let mut here = App::open(&broker.source(), CACHES, "");
    let mut there = App::open(&broker.source(), CACHES, "");
    here.say("a", "before");
    there.until_get("/v1/quotes/a", "hit before");
    there.say("kept", "x");
    let epoch = there.epoch();
    broker.proxy().silence(Silence::ToClient);
    let target = here.sidecar.tcp();
    let asked = thread::spawn(move || {
        publish(
            &target,
            QUOTES,
            &json!({"clear": true, "put": [{"key": "b", "text": "in doubt", "ttl": "10m"}]}),
        )
    });
    until("it is written", SOON, || {
        ensure!(broker.count("clear") == 1);
        Ok(())
    })
    .unwrap();
    // The answers that were on their way never come.
    broker.proxy().cut();
    broker.proxy().pass();
    let answer = asked.join().unwrap();
    assert!(matches!(answer.status, 200 | 202), "{answer:?}");
    here.until_fresh();
    here.say("c", "after");
    there.until_get("/v1/quotes/c", "hit after");
    there.until_fresh();
    assert_eq!(there.get("/v1/quotes/b"), "hit in doubt");
    assert_eq!((there.epoch(), there.breaks()), (epoch, vec![]));
    assert_eq!(broker.count("clear"), if twice { 2 } else { 1 });
}

#[test]
fn what_may_have_been_written_is_written_once_more_over_redis() {
    in_doubt::<RedisStream>(true);
}

#[test]
fn what_may_have_been_written_is_passed_over_by_jet_stream() {
    in_doubt::<JetStream>(false);
}

#[test]
fn what_may_have_been_written_is_written_once_more_over_kafka() {
    in_doubt::<OneTopic>(true);
}

#[test]
fn what_is_not_known_in_time_is_said_and_known_later() {
    let broker = RedisStream::open();
    let mut here = App::open(&broker.source(), CACHES, "");
    let mut there = App::open(&broker.source(), CACHES, "");
    here.say("a", "before");
    // What is sent isn't heard before the request's time is up.
    broker.proxy().silence(Silence::ToServer);
    let answer = here.publish(&value("b", "late"));
    assert_eq!((answer.status, problem(&answer).as_str()), (504, "publish-unknown"), "{answer:?}");
    // Nothing else is written before it.
    let answer = here.publish(&value("c", "never"));
    assert_eq!((answer.status, problem(&answer).as_str()), (503, "publish-unavailable"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let status = here.sidecar.status().unwrap();
    assert!(status["sources"]["cdc"]["publishing"]["reason"].is_string(), "{status}");
    assert_eq!(broker.count("value"), 1);
    broker.proxy().cut();
    broker.proxy().pass();
    there.until_get("/v1/quotes/b", "hit late");
    here.until_fresh();
    here.say("d", "after");
    there.until_get("/v1/quotes/d", "hit after");
    there.until_fresh();
    assert_eq!((there.get("/v1/quotes/c"), there.breaks()), ("miss".into(), vec![]));
    let status = here.sidecar.status().unwrap();
    let publishing = &status["sources"]["cdc"]["publishing"];
    assert_eq!(publishing, &json!({"reason": null, "written": 2, "failed": 1, "unknown": 1}));
}

fn away<B: Told>() {
    let broker = B::open();
    let mut here = App::open(&broker.source(), CACHES, "");
    let mut there = App::open(&broker.source(), CACHES, "");
    here.say("a", "before");
    there.until_get("/v1/quotes/a", "hit before");
    broker.proxy().refuse();
    here.until_state("Disconnected");
    let answer = here.publish(&json!({"clear": true, "put": [{"key": "b", "text": "never", "ttl": "10m"}]}));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!((problem(&answer).as_str(), answer.header("retry-after")), ("publish-unavailable", Some("1")));
    broker.proxy().pass();
    here.until_fresh();
    here.say("c", "after");
    there.until_get("/v1/quotes/c", "hit after");
    assert_eq!((there.get("/v1/quotes/a"), there.get("/v1/quotes/b")), ("hit before".into(), "miss".into()));
    assert_eq!(there.breaks(), [""; 0]);
}

#[test]
fn nothing_is_written_while_redis_is_away() {
    away::<RedisStream>();
}

#[test]
fn nothing_is_written_while_jet_stream_is_away() {
    away::<JetStream>();
}

#[test]
fn nothing_is_written_while_kafka_is_away() {
    away::<OneTopic>();
}

/// A broker dies while two pods publish as fast as they can.
fn killed<B: Told>() {
    let mut stage = Stage::<B>::open();
    let epochs = [stage.here.epoch(), stage.there.epoch()];
    let targets = [("h", stage.here.sidecar.tcp()), ("t", stage.there.sidecar.tcp())];
    let (stop, stopped) = mpsc::channel::<()>();
    let stopped = Arc::new(Mutex::new(stopped));
    let writers = targets.map(|(key, target)| {
        let stopped = Arc::clone(&stopped);
        thread::spawn(move || {
            let mut n = 0;
            loop {
                let is_last = stopped.lock().unwrap().try_recv() != Err(TryRecvError::Empty);
                n += 1;
                let answer = publish(&target, QUOTES, &value(key, &n.to_string()));
                assert!(matches!(answer.status, 200 | 202 | 503 | 504), "{answer:?}");
                if is_last && answer.status == 200 {
                    return n;
                }
            }
        })
    });
    stage.here.until_applied(20);
    stage.broker.kill_and_restart();
    for (app, epoch) in [&mut stage.here, &mut stage.there].into_iter().zip(epochs) {
        if B::KEEPS_ITS_PLACE_OVER_RESTARTS {
            app.until_fresh();
        } else {
            app.until_fresh_after(epoch);
        }
    }
    drop(stop);
    let [h, t] = writers.map(|writer| writer.join().unwrap());
    for app in [&mut stage.here, &mut stage.there] {
        app.until_get("/v1/quotes/h", &format!("hit {h}"));
        app.until_get("/v1/quotes/t", &format!("hit {t}"));
        let breaks = app.breaks();
        assert!(!breaks.contains(&"messages-missed".to_owned()), "{breaks:?}");
        if B::KEEPS_ITS_PLACE_OVER_RESTARTS {
            assert_eq!(breaks, [""; 0]);
        }
    }
}

#[test]
fn what_redis_has_said_it_has_is_there_after_its_death() {
    killed::<RedisStream>();
}

#[test]
fn what_jet_stream_has_said_it_has_is_there_after_its_death() {
    killed::<JetStream>();
}

#[test]
fn what_kafka_has_said_it_has_is_there_after_its_death() {
    killed::<OneTopic>();
}

#[test]
fn what_was_heard_is_won_over_by_what_is_said_after_it() {
    let redis = Redis::start().unwrap();
    let source = format!("redisStream: {{url: '{}', stream: bus}}", redis.url());
    let mut app = App::open(&source, CACHES, "  freshness: {clockSkew: 1m}");
    let ahead = crate::published::now() + 40_000;
    let envelope = json!({"freshet": 1, "kind": "value", "cache": "quotes", "key": "a", "text": "ahead", "start": ahead, "ttl": 600_000});
    redis.xadd("bus", &[("freshet", &envelope.to_string())]).unwrap();
    app.until_get("/v1/quotes/a", "hit ahead");
    assert_eq!(app.say("a", "mine")["start"], ahead + 1);
    assert_eq!(app.get("/v1/quotes/a"), "hit mine");
    let answer = app.sidecar.get("/v1/quotes/a").unwrap();
    assert_eq!((outcome(&answer), answer.header("age")), ("hit mine".into(), Some("0")));
}
