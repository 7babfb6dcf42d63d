//! What others tell of changes, over every transport: the same story, with what each of them promises.

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
    Story::<RedisStream, Told>::open().tell_of_a_server();
}

#[test]
fn over_channels_of_redis() {
    Story::<RedisPubSub, Told>::open().tell_of_a_server();
}

#[test]
fn over_subjects_of_nats() {
    Story::<Subject, Told>::open().tell_of_a_server();
}

#[test]
fn over_one_topic_of_kafka() {
    Story::<OneTopic, Told>::open().tell_of_a_server();
}

#[test]
fn over_notifications_of_postgres() {
    Story::<PostgresNotify, Told>::open().tell_of_a_server();
}

#[test]
fn over_jet_stream() {
    Story::<JetStream, Told>::open().tell_of_a_server();
}

#[test]
fn over_a_file() {
    Story::<File, Told>::open().tell();
}

/// Changes of rows, which are void when they were heard.
struct Told;

impl Said for Told {
    const STORY: &'static str = "changes that others tell of";
    const CACHES: &'static str = "
  - {name: product, table: inventory.product, key: [{column: id}]}
  - {name: stock, table: inventory.stock, key: [{column: id}]}
  - {name: pages, dependsOn: [inventory.product]}";
    const HEARD: &'static str = "its row is void, once it is heard of";
    const LAST: &'static str = "its row is void";
    const LAST_OR_VOID: &'static str = "its row is void, or all is";

    fn chapters<B: Bus>() -> Vec<Chapter<B, Self>> {
        vec![
            ("a change of a row", Story::row),
            ("a changed key", Story::moved),
            ("a change without a key", Story::table),
            ("truncate", Story::truncate),
            ("replay", Story::replay),
        ]
    }

    /// How keys look the first change teaches.
    fn begin<B: Bus>(story: &mut Story<B, Self>) {
        let before = story.app.entries().unwrap();
        for path in Self::paths(0) {
            story.say(&path, "");
        }
        story.app.until_applied(before + 2);
    }

    /// A row, and one of another table.
    fn paths(number: u64) -> [String; 2] {
        ["product", "stock"].map(|table| format!("/v1/{table}/{number}"))
    }

    fn hold<B: Bus>(story: &mut Story<B, Self>, path: &str) {
        story.app.fill_to_last(path, "x");
    }

    fn of(path: &str, _text: &str) -> Value {
        change(path, "update")
    }

    fn found(_text: &str) -> String {
        "miss".to_owned()
    }

    /// Of another row.
    fn one_of_many(_path: &str) -> Value {
        let [other, _] = Self::paths(0);
        change(&other, "update")
    }

    /// Of another table, which has long keys.
    fn long(_path: &str, bytes: usize) -> Value {
        let key = json!({"id": "y".repeat(bytes)});
        json!({"freshet": 1, "kind": "change", "table": "inventory.other", "op": "update", "key": key})
    }
}

impl<B: Bus> Story<B, Told> {
    fn row(&mut self) -> &'static str {
        let ([path, stock], [other, _]) = (self.held(), self.held());
        let page = "/v1/pages/1";
        self.app.fill_to_last(page, "x");
        self.say(&path, "");
        self.is(&path, "miss");
        self.is(page, "miss");
        assert_eq!([&other, &stock].map(|path| self.app.get(path)), ["hit x", "hit x"]);
        "its row is void"
    }

    fn moved(&mut self) -> &'static str {
        let ([old, stock], [new, _], [other, _]) = (self.held(), self.held(), self.held());
        self.bus.publish(&change(&old, "delete"));
        self.bus.publish(&change(&new, "insert"));
        self.is(&new, "miss");
        assert_eq!([&old, &other, &stock].map(|path| self.app.get(path)), ["miss", "hit x", "hit x"]);
        "both rows are void"
    }

    fn table(&mut self) -> &'static str {
        self.voids_its_table("update")
    }

    fn truncate(&mut self) -> &'static str {
        self.voids_its_table("truncate")
    }

    fn voids_its_table(&mut self, op: &str) -> &'static str {
        let ([path, stock], [other, _]) = (self.held(), self.held());
        let mut whole = change(&path, op);
        whole.as_object_mut().unwrap().remove("key");
        self.bus.publish(&whole);
        self.is(&path, "miss");
        assert_eq!([&other, &stock].map(|path| self.app.get(path)), ["miss", "hit x"]);
        "the table is void"
    }

    /// What is said once more may have happened once more.
    fn replay(&mut self) -> &'static str {
        let ([path, stock], epoch) = (self.held(), self.app.epoch());
        let mut said = change(&path, "update");
        (said["publisher"], said["sequence"]) = ("replay".into(), 1.into());
        self.bus.publish(&said);
        self.is(&path, "miss");
        let [other, _] = self.held();
        self.app.fill_to_last(&path, "x");
        self.bus.publish(&said);
        self.is(&path, "miss");
        assert_eq!([&other, &stock].map(|path| self.app.get(path)), ["hit x", "hit x"]);
        assert_eq!(self.app.epoch(), epoch, "{:?}", self.app.breaks());
        self.bus.publish(&json!({"freshet": 1, "kind": "bye", "publisher": "replay", "sequence": 2}));
        "its row is void once more"
    }
}

/// Says that the row that is found there has changed.
fn change(path: &str, op: &str) -> Value {
    let mut parts = path.rsplit('/');
    let id: u64 = parts.next().unwrap().parse().unwrap();
    let table = format!("inventory.{}", parts.next().unwrap());
    json!({"freshet": 1, "kind": "change", "table": table, "op": op, "key": {"id": id}})
}
