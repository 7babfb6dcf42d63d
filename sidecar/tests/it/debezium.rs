//! The whole path on this machine: Postgres, the real Debezium Server, Redis, the sidecar.

use std::time::Duration;

use anyhow::ensure;
use freshet_e2e::process::{
    Debezium, Kafka, MariaDb, Nats, Postgres, Redis, Sidecar,
    debezium::{Captured, Format, Routing, Settings, Sink},
    kafka::Message,
};

use crate::shop::{App, SOON, Shop, executable, manifest_of, manifest_over, outcome};

/// Where a transport carries no keys, the columns of each are named.
const CACHES: &str = "
  - {name: products, table: inventory.product, key: [{column: id}]}
  - {name: rows, table: inventory.product, key: [{column: id}], onChange: Hydrate}
  - {name: lists, table: inventory.list, key: [{column: id}], onChange: Hydrate}
  - {name: pages, dependsOn: [inventory.product, inventory.category]}";

/// Debezium's start is most of what takes time here, so one pipeline tells one story.
fn story<'a>(settings: Settings, sink: impl Into<Sink<'a>>, source: &str) {
    let freshness = "  freshness: {maxStaleness: 5s, heartbeat: Database, readLag: 0s}";
    let (mut shop, mut debezium, postgres) = told(settings, sink, source, freshness);
    // A type that Debezium doesn't know is no reason to leave the column out; what it can't convert is one to stop.
    postgres.execute("INSERT INTO inventory.list (id, place) VALUES (8, '(1,2),(3,4)')").unwrap();
    let row = "{\"id\":8,\"name\":null,\"numbers\":null,\"large\":null,\"ids\":null,\
               \"place\":\"KDMuMCw0LjApLCgxLjAsMi4wKQ==\",\"prices\":null}";
    shop.until_get("/v1/lists/8", &format!("hit {row}"));
    postgres.execute("INSERT INTO inventory.list (id, prices) VALUES (9, '{NaN}')").unwrap();
    debezium.process().wait(Duration::from_mins(1)).unwrap();
    let why = "Failed to properly convert data value for 'inventory.list.prices'";
    assert!(debezium.log().contains(why), "{}", debezium.log());
    shop.until_get("/v1/lists/9", "stale lagging");
}

/// The story as far as it is the same without heartbeats.
fn told<'a>(
    settings: Settings,
    sink: impl Into<Sink<'a>>,
    source: &str,
    freshness: &str,
) -> (App, Debezium, Postgres) {
    let postgres = Postgres::start().unwrap();
    postgres
        .execute(
            "CREATE SCHEMA inventory; 
             CREATE TABLE inventory.product (id int PRIMARY KEY, name text, note text DEFAULT 'none');
             CREATE TABLE inventory.category (id int PRIMARY KEY, name text);
             CREATE TABLE inventory.list (id int PRIMARY KEY, name text, numbers int[], large bigint[], ids uuid[],
               place box, prices numeric[]);
             ALTER TABLE inventory.list ALTER numbers SET STORAGE EXTERNAL, ALTER large SET STORAGE EXTERNAL,
               ALTER ids SET STORAGE EXTERNAL;
             INSERT INTO inventory.product VALUES (1, 'hammer'), (2, 'saw')",
        )
        .unwrap();
    let debezium = Debezium::start(settings, &postgres, sink).unwrap();
    let mut shop = App::open(source, CACHES, freshness);
    // Debezium follows the database a moment before all that it copied is written.
    postgres.execute("INSERT INTO inventory.product VALUES (0, 'x')").unwrap();
    shop.until_get("/v1/rows/0", "hit {\"id\":0,\"name\":\"x\",\"note\":\"none\"}");
    shop.until_fills_last();

    shop.fill("/v1/products/1", "hammer");
    shop.fill("/v1/products/2", "saw");
    shop.fill("/v1/pages/home", "2 products");
    postgres.execute("UPDATE inventory.product SET name = 'sledgehammer', note = NULL WHERE id = 1").unwrap();
    shop.until_get("/v1/rows/1", "hit {\"id\":1,\"name\":\"sledgehammer\",\"note\":null}");
    shop.until_get("/v1/products/1", "miss");
    shop.until_get("/v1/products/2", "hit saw");
    shop.until_get("/v1/pages/home", "miss");

    postgres.execute("INSERT INTO inventory.product VALUES (3, 'axe')").unwrap();
    shop.until_get("/v1/rows/3", "hit {\"id\":3,\"name\":\"axe\",\"note\":\"none\"}");
    postgres.execute("UPDATE inventory.product SET id = 30 WHERE id = 3").unwrap();
    shop.until_get("/v1/rows/30", "hit {\"id\":30,\"name\":\"axe\",\"note\":\"none\"}");
    shop.until_get("/v1/rows/3", "miss");
    shop.fill("/v1/pages/home", "3 products");
    postgres.execute("INSERT INTO inventory.category VALUES (1, 'tools')").unwrap();
    shop.until_get("/v1/pages/home", "miss");
    shop.until_get("/v1/products/2", "hit saw");
    // What isn't logged because it didn't change isn't in the event: each kind has a placeholder of its own.
    for (id, column, value) in [
        (1, "numbers", "array_agg(n)"),
        (2, "large", "array_agg(n::bigint)"),
        (3, "ids", "array_agg('6f9619ff-8b86-d011-b42d-00c04fc964ff'::uuid)"),
    ] {
        let path = format!("/v1/lists/{id}");
        let fill = format!(
            "INSERT INTO inventory.list (id, {column}) SELECT {id}, {value} FROM generate_series(1, 2000) AS n"
        );
        postgres.execute(&fill).unwrap();
        shop.sidecar
            .until("the whole row is there", SOON, |sidecar| {
                let found = outcome(&sidecar.get(&path)?);
                ensure!(found.starts_with("hit"), "{found}");
                Ok(())
            })
            .unwrap();
        postgres.execute(&format!("UPDATE inventory.list SET name = 'x' WHERE id = {id}")).unwrap();
        shop.until_get(&path, "miss");
    }
    postgres.execute("TRUNCATE inventory.product").unwrap();
    shop.until_get("/v1/products/2", "miss");
    shop.until_get("/v1/rows/30", "miss");
    let changes = shop.sidecar.status().unwrap()["sources"]["cdc"]["epochChanges"].to_string();
    assert!(!changes.contains("missed"), "nothing was lost: {changes}");
    (shop, debezium, postgres)
}

#[test]
fn one_stream_per_table_compact_with_schemas() {
    let settings = Settings::default().routing(Routing::PerTable).format(Format::Compact).schemas(true);
    let redis = Redis::start().unwrap();
    story(settings, &redis, &format!("redisStream: {{url: '{}', topicPrefix: shop}}", redis.url()));
}

#[test]
fn one_stream_for_all_extended() {
    let settings = Settings::default().routing(Routing::OneStream);
    let stream = settings.stream("inventory.product");
    let redis = Redis::start().unwrap();
    story(settings, &redis, &format!("redisStream: {{url: '{}', stream: {stream}}}", redis.url()));
}

#[test]
fn a_stream_of_nats() {
    let nats = Nats::builder().jetstream().start().unwrap();
    let source = format!("natsJetStream: {{url: '{}', stream: {}}}", nats.url(), Sink::STREAM);
    story(Settings::default().routing(Routing::PerTable), &nats, &source);
}

#[test]
fn a_topic_of_kafka_per_table_in_partitions() {
    let kafka = Kafka::builder().auto_create_topics().set("num.partitions", "3").start().unwrap();
    let source = format!("kafka: {{brokers: ['{}'], topicPrefix: shop}}", kafka.brokers());
    let settings = Settings::default().routing(Routing::PerTable).tombstones(true);
    // What heartbeats prove needs one order.
    drop(told(settings, &kafka, &source, "  "));
}

#[test]
fn of_several_partitions_no_heartbeat_proves_anything() {
    let kafka = Kafka::start().unwrap();
    kafka.create_topic("shop.cdc", 2, &[]).unwrap();
    let source = format!("kafka: {{brokers: ['{}'], topic: shop.cdc}}", kafka.brokers());
    let text = manifest_over(&source, CACHES, "  freshness: {maxStaleness: 5s, heartbeat: Debezium}");
    let mut app = App { sidecar: Sidecar::builder(executable(), &text).start().unwrap() };
    app.until_reason("2 partitions are read, which have no order among them");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let beat = Message::new("{\"serverName\":\"shop\"}", format!("{{\"ts_ms\":{now}}}"));
    kafka.produce("shop.cdc", 1, &[beat]).unwrap();
    app.until_applied(1);
    assert_eq!(app.get("/v1/products/1"), "stale starting");
}

#[test]
fn one_topic_of_kafka() {
    let settings = Settings::default().routing(Routing::OneStream);
    let topic = settings.stream("inventory.product");
    let kafka = Kafka::builder().auto_create_topics().start().unwrap();
    let source = format!("kafka: {{brokers: ['{}'], topic: {topic}}}", kafka.brokers());
    story(settings, &kafka, &source);
}

/// A request of Debezium is a row of a table that no cache uses, and voids nothing. A snapshot begins a new epoch, whyever it is
/// taken; but neither what is told of it nor its rows, in the middle of the request's own transaction, look like a loss.
fn signals(database: &impl Captured, settings: Settings, table: &str) {
    let redis = Redis::start().unwrap();
    database
        .run(
            "CREATE TABLE inventory.product (id int PRIMARY KEY, name text);
             CREATE TABLE inventory.category (id int PRIMARY KEY, name text);
             INSERT INTO inventory.product VALUES (1, 'hammer'), (2, 'saw')",
        )
        .unwrap();
    let asks = settings.asks_for_snapshot(&["inventory.product"]);
    let _debezium = Debezium::start(settings, database, &redis).unwrap();
    let source = format!("url: '{}', stream: shop.cdc", redis.url());
    let caches = format!(
        "
  - {{name: products, table: inventory.product}}
  - {{name: rows, table: inventory.product, onChange: Hydrate}}
  - {{name: categories, table: inventory.category}}
  - {{name: signals, dependsOn: [{table}]}}"
    );
    let freshness = "  freshness: {maxStaleness: 5s, heartbeat: Database, readLag: 0s}";
    let text = manifest_of(&source, &caches, freshness);
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    // Debezium follows the database a moment before all that it copied is written.
    let begun = |sidecar: &Sidecar| {
        let status = sidecar.status().unwrap();
        let changes = status["sources"]["cdc"]["epochChanges"].as_object().unwrap().clone();
        assert!(changes.keys().all(|why| why == "snapshot-began"), "{changes:?}");
        changes.get("snapshot-began").map_or(0, |count| count.as_u64().unwrap())
    };
    let before = begun(&shop.sidecar);
    shop.fill("/v1/products/1", "hammer");
    shop.fill("/v1/categories/1", "tools");
    shop.fill("/v1/signals/all", "none");
    database.run(&format!("INSERT INTO {table} VALUES ('1', 'log', '{{\"message\": \"hello\"}}')")).unwrap();
    shop.until_get("/v1/signals/all", "miss");
    assert_eq!(shop.get("/v1/products/1"), "hit hammer");
    assert_eq!(shop.get("/v1/categories/1"), "hit tools");
    database.run(&asks).unwrap();
    shop.sidecar
        .until("the snapshot has begun", SOON, |sidecar| {
            ensure!(begun(sidecar) == before + 1);
            Ok(())
        })
        .unwrap();
    database.run("INSERT INTO inventory.product VALUES (3, 'axe')").unwrap();
    shop.until_get("/v1/rows/3", "hit {\"id\":3,\"name\":\"axe\"}");
    assert_eq!(begun(&shop.sidecar), before + 1);
}

#[test]
fn a_request_for_a_snapshot_voids_nothing_by_itself() {
    let postgres = Postgres::start().unwrap();
    postgres.execute("CREATE SCHEMA inventory").unwrap();
    signals(&postgres, Settings::default().snapshots_told(), "public.freshet_signal");
}

#[test]
fn a_request_for_a_snapshot_voids_nothing_by_itself_with_mariadb() {
    let mariadb = MariaDb::start().unwrap();
    mariadb.execute("CREATE DATABASE inventory").unwrap();
    signals(&mariadb, Settings::mariadb().snapshots_told(), "shop.freshet_signal");
}

/// The time from commit to no longer served is measured in `bench/`; here the pipeline that users apply only must not
/// poll as seldom as Debezium does by default, each half second.
#[test]
fn the_example_pipeline_polls_often() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/pipeline/30-debezium.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let setting = |line: &str| line.trim().strip_prefix("debezium.source.poll.interval.ms=")?.parse().ok();
    let interval: u64 = text.lines().find_map(setting).expect("the interval is set");
    assert!(interval <= 20, "{interval} ms");
}
