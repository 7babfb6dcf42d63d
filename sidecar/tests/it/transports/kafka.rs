//! Topics of Kafka: one for each table with several partitions, or one that all events are routed into.

use std::num::NonZeroU32;

use anyhow::ensure;
use freshet_connect::kafka::partition_of;
use freshet_e2e::process::{
    Authority, Kafka, Proxy, Sidecar,
    kafka::{Mechanism, Message},
};
use serde_json::Value;

mod cluster;

use super::{
    CACHES, Story,
    broker::{Broker, Bus, Server, Source, value},
};
use crate::shop::{App, SOON, executable, manifest_over};

/// Topics, each with so many partitions, behind a proxy that is also where Kafka says that it is.
pub(crate) struct Topics<const TABLES: bool> {
    kafka: Kafka,
    proxy: Proxy,
}

/// One topic for each table.
pub(crate) type TopicPerTable = Topics<true>;
/// One topic for all.
pub(crate) type OneTopic = Topics<false>;

impl<const TABLES: bool> Topics<TABLES> {
    /// Without topics.
    fn empty() -> Self {
        // Of itself nothing is there: it is pointed to Kafka before anybody asks.
        let nowhere = ([127, 0, 0, 1], 9).into();
        let proxy = Proxy::start(nowhere).unwrap();
        let kafka = Kafka::builder().advertised(proxy.address()).start().unwrap();
        proxy.point_to(kafka.address());
        Self { kafka, proxy }
    }

    fn topic(table: &str) -> String {
        if TABLES { format!("shop.inventory.{table}") } else { "shop.cdc".to_owned() }
    }

    /// Name and count of partitions of every topic.
    fn topics() -> Vec<(String, i32)> {
        if TABLES {
            ["product", "stock"].map(|table| (Self::topic(table), 3)).into()
        } else {
            vec![(Self::topic(""), 1)]
        }
    }

    /// Where a producer in Java puts a key.
    fn partition(&self, topic: &str, key: &str) -> i32 {
        let count = self.kafka.partitions(topic).unwrap().unwrap();
        partition_of(key.as_bytes(), NonZeroU32::new(count.try_into().unwrap()).unwrap())
    }
}

fn message(key: &str, value: Option<&str>) -> Message {
    let key = (key != "default").then(|| key.into());
    Message { key, value: value.map(Into::into), headers: Vec::new() }
}

impl<const TABLES: bool> Source for Topics<TABLES> {
    const NAME: &'static str = if TABLES { "kafka, topicPrefix" } else { "kafka, topic" };

    fn open() -> Self {
        let topics = Self::empty();
        for (name, partitions) in Self::topics() {
            topics.kafka.create_topic(&name, partitions, &[]).unwrap();
        }
        topics
    }

    fn source(&self) -> String {
        let layout = if TABLES { "topicPrefix: shop" } else { "topic: shop.cdc" };
        format!("kafka: {{brokers: ['{}'], {layout}}}", self.proxy.address())
    }
}

impl<const TABLES: bool> Server for Topics<TABLES> {
    const KEEPS_ITS_PLACE_OVER_RESTARTS: bool = true;

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn restart(&mut self) {
        self.kafka.restart().unwrap();
    }

    fn kill_and_restart(&mut self) {
        self.kafka.kill().unwrap();
        self.kafka.restart().unwrap();
    }

    fn pause(&mut self) {
        self.kafka.pause().unwrap();
    }

    fn resume(&mut self) {
        self.kafka.resume().unwrap();
    }
}

impl<const TABLES: bool> Broker for Topics<TABLES> {
    fn write(&self, table: &str, key: &str, value: Option<&str>) {
        let topic = Self::topic(table);
        self.kafka.produce(&topic, self.partition(&topic, key), &[message(key, value)]).unwrap();
    }

    fn write_many(&self, table: &str, key: &str, value: &str, count: usize) {
        let topic = Self::topic(table);
        let partition = self.partition(&topic, key);
        self.kafka.produce_many(&topic, partition, &message(key, Some(value)), count).unwrap();
    }

    fn remove_all(&self) {
        for (name, partitions) in Self::topics() {
            for partition in 0..partitions {
                let (_, end) = self.kafka.offsets(&name, partition).unwrap();
                self.kafka.delete_records_before(&name, partition, end).unwrap();
            }
        }
    }

    fn make_anew(&self) {
        let (name, partitions) = Self::topics().remove(0);
        self.kafka.delete_topic(&name).unwrap();
        self.kafka.create_topic(&name, partitions, &[]).unwrap();
    }
}

impl Bus for OneTopic {
    const KEEPS: bool = true;

    fn publish(&self, envelope: &Value) {
        self.kafka.produce(&Self::topic(""), 0, &[published(envelope)]).unwrap();
    }

    fn publish_many(&self, envelope: &Value, count: usize) {
        self.kafka.produce_many(&Self::topic(""), 0, &published(envelope), count).unwrap();
    }
}

/// An envelope as Kafka has it: the value by itself, and all else in headers.
fn published(envelope: &Value) -> Message {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned).into_bytes();
    let names = ["freshet", "kind", "cache", "table", "op", "start", "ttl", "publisher", "sequence"];
    let headers = names.into_iter().filter_map(|name| {
        let header = if name == "freshet" { name.to_owned() } else { format!("freshet-{name}") };
        Some((header, Some(text(envelope.get(name)?))))
    });
    let of = |name| envelope.get(name).map(text);
    Message { key: of("key"), value: of("text"), headers: headers.collect() }
}

impl OneTopic {
    /// The same with three partitions.
    pub(crate) fn spread() -> Self {
        let topics = Self::open();
        topics.kafka.set_partitions("shop.cdc", 3).unwrap();
        topics
    }

    /// What the records of the first partition have in this header.
    pub(crate) fn headers(&self, name: &str) -> Vec<String> {
        let records = self.kafka.records("shop.cdc", 0).unwrap();
        let headers = records.into_iter().flat_map(|record| record.message.headers);
        let found = headers.filter(|(header, _)| header == name);
        found.map(|(_, text)| String::from_utf8(text.unwrap()).unwrap()).collect()
    }
}

/// Writes a change of this product into a partition of its topic.
fn change(kafka: &Kafka, partition: i32, id: u64) {
    let row = format!("{{\"id\":{id}}}");
    let value = value("product", "u", None, Some(&row));
    kafka.produce("shop.inventory.product", partition, &[message(&row, Some(&value))]).unwrap();
}

#[test]
fn a_partition_that_comes_later_is_read_from_its_first_record_on() {
    let mut story = Story::<TopicPerTable>::open();
    let epoch = story.app.epoch();
    let (id, product, stock) = story.filled();
    story.broker.kafka.set_partitions("shop.inventory.product", 5).unwrap();
    change(&story.broker.kafka, 4, id);
    story.app.until_get(&product, "miss");
    let (id, product, _) = story.filled();
    change(&story.broker.kafka, 3, id);
    story.app.until_get(&product, "miss");
    assert_eq!((story.app.get(&stock).as_str(), story.app.epoch()), ("hit y", epoch));
}

#[test]
fn a_topic_that_comes_later_is_read_from_its_first_record_on() {
    let topics = TopicPerTable::empty();
    let mut app = super::follow(&topics);
    app.until_fresh();
    app.until_fills_last();
    app.fill("/v1/products/7", "x");
    topics.kafka.create_topic("shop.inventory.product", 2, &[]).unwrap();
    change(&topics.kafka, 1, 7);
    app.until_applied(1);
    app.until_fills_last();
    app.fill("/v1/products/8", "y");
    change(&topics.kafka, 0, 8);
    app.until_get("/v1/products/8", "miss");
    assert_eq!(app.breaks(), [""; 0]);
}

#[test]
fn a_topic_that_is_gone_ends_the_epoch() {
    let mut story = Story::<TopicPerTable>::open();
    let epoch = story.app.epoch();
    let (_, product, stock) = story.filled();
    story.broker.kafka.delete_topic("shop.inventory.stock").unwrap();
    story.app.until_fresh_after(epoch);
    assert_eq!(story.app.breaks(), ["stream-gone"]);
    assert_eq!((story.app.get(&product), story.app.get(&stock)), ("miss".into(), "miss".into()));
}

#[test]
fn another_cluster_at_the_same_place_ends_the_epoch() {
    let mut story = Story::<OneTopic>::open();
    let epoch = story.app.epoch();
    let (_, product, _) = story.filled();
    story.broker.proxy.refuse();
    story.broker.kafka.restart_empty().unwrap();
    story.broker.kafka.create_topic("shop.cdc", 1, &[]).unwrap();
    story.broker.proxy.pass();
    story.app.until_fresh_after(epoch);
    assert_eq!(story.app.breaks(), ["server-changed"]);
    assert_eq!(story.app.get(&product), "miss");
}

#[test]
fn a_topic_that_was_made_anew_while_nobody_looked_ends_the_epoch() {
    let mut story = Story::<TopicPerTable>::open();
    let epoch = story.app.epoch();
    let (_, product, _) = story.filled();
    story.broker.proxy.refuse();
    story.broker.make_anew();
    // As long as the one before it: no place of it is out of range.
    for partition in 0..3 {
        for id in 1..4 {
            change(&story.broker.kafka, partition, id);
        }
    }
    story.broker.proxy.pass();
    story.app.until_fresh_after(epoch);
    assert_eq!(story.app.breaks(), ["stream-gone"]);
    assert_eq!(story.app.get(&product), "miss");
}

#[test]
fn records_that_an_election_lost_are_noticed_though_others_have_their_offsets() {
    let mut story = Story::<OneTopic>::open();
    let epoch = story.app.epoch();
    let (id, product, stock) = story.filled();
    let Story { broker: Topics { kafka, proxy }, app, .. } = &mut story;
    let write = |kafka: &Kafka, id: u64| {
        let row = format!("{{\"id\":{id}}}");
        let value = value("product", "u", None, Some(&row));
        kafka.produce("shop.cdc", 0, &[message(&row, Some(&value))])
    };
    let mut read = 0;
    kafka
        .restart_without(|kafka| {
            let entries = app.entries()?;
            read = write(kafka, id + 1000)?;
            app.until_applied(entries + 1);
            proxy.refuse();
            Ok(())
        })
        .unwrap();
    assert_eq!(app.breaks(), [""; 0]);
    assert_eq!(write(kafka, id).unwrap(), read, "another one has its place");
    write(kafka, id + 1001).unwrap();
    proxy.pass();
    app.until_fresh_after(epoch);
    assert_eq!(app.breaks(), ["id-went-back"]);
    assert_eq!((app.get(&product), app.get(&stock)), ("miss".into(), "miss".into()));
}

#[test]
fn a_tombstone_deletes_where_nothing_else_was_said_of_the_delete() {
    let mut story = Story::<TopicPerTable>::open();
    let (_, other, _) = story.filled();
    let (id, product, stock) = story.filled();
    story.broker.write("product", &format!("{{\"id\":{id}}}"), None);
    story.app.until_get(&product, "miss");
    assert_eq!((story.app.get(&other), story.app.get(&stock)), ("hit x".into(), "hit y".into()));
}

#[test]
fn only_what_a_transaction_has_committed_is_read() {
    let mut story = Story::<OneTopic>::open();
    let written = |id: u64| {
        let row = format!("{{\"id\":{id}}}");
        [message(&row, Some(&value("product", "u", None, Some(&row))))]
    };
    let (never, kept, _) = story.filled();
    let (id, product, _) = story.filled();
    let Story { broker, app, .. } = &mut story;
    let entries = app.entries().unwrap();
    broker.kafka.produce_in_transaction("shop.cdc", 0, &written(never), false).unwrap();
    broker.kafka.produce_in_transaction("shop.cdc", 0, &written(id), true).unwrap();
    app.until_get(&product, "miss");
    assert_eq!((app.get(&kept).as_str(), app.entries().unwrap()), ("hit x", entries + 1));
    // What stands last in the log is no record: it is read to its end all the same.
    app.until_fresh();
    app.fill_to_last(&product, "x");
    broker.proxy.cut();
    broker.kafka.produce_in_transaction("shop.cdc", 0, &written(never), true).unwrap();
    app.until_get(&kept, "miss");
    app.until_fresh();
    assert_eq!((app.get(&product).as_str(), app.breaks()), ("hit x", vec![]));
}

/// A sidecar that is told to be this user of a Kafka with TLS.
fn login(kafka: &Kafka, authority: &Authority, mechanism: &str, password: &str) -> App {
    let source = format!(
        "kafka: {{brokers: ['{}'], topicPrefix: shop,
             tls: {{caFrom: {{configMapKeyRef: {{name: authorities, key: ca.crt}}}}}},
             sasl: {{mechanism: {mechanism}, secretRef: {{name: kafka-user}}}}}}",
        kafka.brokers()
    );
    let sidecar = Sidecar::builder(executable(), &manifest_over(&source, CACHES, ""))
        .config_map("authorities", "ca.crt", &authority.pem())
        .secret("kafka-user", "username", "freshet")
        .secret("kafka-user", "password", password);
    App { sidecar: sidecar.start().unwrap() }
}

#[test]
fn a_wrong_password_is_told_and_mended_without_a_restart() {
    let authority = Authority::new("tests").unwrap();
    let kafka = Kafka::builder()
        .user(Mechanism::ScramSha512, "freshet", "right")
        .tls(&authority.issue(&["127.0.0.1"]).unwrap())
        .start()
        .unwrap();
    kafka.create_topic("shop.inventory.product", 1, &[]).unwrap();
    let mut app = login(&kafka, &authority, "ScramSha512", "wrong");
    app.until_reason("refuses user or password");
    let status = app.sidecar.status().unwrap().to_string() + &app.sidecar.log();
    assert!(!status.contains("wrong"), "{status}");
    app.sidecar.change_secret("kafka-user", "password", "right").unwrap();
    app.until_fresh();
    app.until_fills_last();
    app.fill("/v1/products/7", "x");
    change(&kafka, 0, 7);
    app.until_get("/v1/products/7", "miss");
}

#[test]
fn what_may_not_be_read_is_told_by_its_topic() {
    let authority = Authority::new("tests").unwrap();
    let kafka = Kafka::builder()
        .user(Mechanism::Plain, "freshet", "right")
        .tls(&authority.issue(&["127.0.0.1"]).unwrap())
        .authorizes()
        .start()
        .unwrap();
    kafka.create_topic("shop.inventory.product", 1, &[]).unwrap();
    let mut app = login(&kafka, &authority, "Plain", "right");
    app.until_reason("Kafka doesn't permit it: topic ");
    for prefix in ["shop", "__debezium-heartbeat.shop"] {
        kafka.allow("freshet", prefix, false).unwrap();
    }
    app.sidecar
        .until("the source is fresh", SOON, |sidecar| {
            let status = sidecar.status()?;
            ensure!(status["sources"]["cdc"]["state"] == "Fresh", "{status}");
            Ok(())
        })
        .unwrap();
}
