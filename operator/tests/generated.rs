//! What `freshet-operator debezium` prints, given as it is to a real Debezium Server on a database that was prepared
//! by the SQL in it and nothing else.

#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use anyhow::{Result, ensure};
use freshet_e2e::process::{MariaDb, Postgres, Redis, RedisCluster, debezium::AsWritten, until};
use serde::Deserialize as _;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

const SHOP: &str = include_str!("../../crds/tests/shop.yaml");

/// The file for a binding whose only source is the Redis at this URL, and the statements in it.
fn generated(url: &str, layout: &str, further: &[&str]) -> (String, String) {
    generated_for(&SHOP.replace("redis://redis:6379", url).replace("topicPrefix: shop", layout), further)
}

/// The same for this binding.
fn generated_for(binding: &str, further: &[&str]) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.yaml");
    fs::write(&path, binding).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshet-operator"));
    command.args(["debezium", "--host", "127.0.0.1", "--binding"]).arg(&path).args(further);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = String::from_utf8(output.stdout).unwrap();
    let statements: String = file
        .lines()
        .skip_while(|line| !line.starts_with("#   "))
        .map_while(|line| line.strip_prefix("#   "))
        .fold(String::new(), |all, line| all + line.trim() + " ");
    (file, statements.replace("'…'", "'s3cret'"))
}

/// Every value in a stream; entries are `key`, `value` and headers.
fn values(redis: &Redis, stream: &str) -> Result<Vec<Value>> {
    let entries: Vec<(String, Vec<String>)> = redis.command(&["XRANGE", stream, "-", "+"])?;
    let value = |fields: &Vec<String>| serde_json::from_str(fields.get(3)?).ok();
    Ok(entries.iter().filter_map(|(_, fields)| value(fields)).collect())
}

fn arrives(redis: &Redis, stream: &str, what: &str, is: impl Fn(&Value) -> bool) {
    until(what, SOON, || {
        let values = values(redis, stream)?;
        ensure!(values.iter().any(&is), "{} entries without it", values.len());
        Ok(())
    })
    .unwrap();
}

#[test]
fn postgres_is_followed_by_what_is_generated() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    postgres
        .execute(
            "CREATE SCHEMA inventory; CREATE TABLE inventory.category (id int PRIMARY KEY, name text); \
             CREATE TABLE inventory.product (id int, note text DEFAULT 'none', PRIMARY KEY (id)) \
               PARTITION BY RANGE (id); \
             CREATE TABLE inventory.product_1 PARTITION OF inventory.product FOR VALUES FROM (0) TO (100); \
             CREATE TABLE inventory.other (id int PRIMARY KEY)",
        )
        .unwrap();
    let port = postgres.port().to_string();
    let (file, statements) =
        generated(&redis.url(), "stream: shop.cdc", &["--port", &port, "--dbname", "postgres"]);
    postgres.execute(&statements).unwrap();
    let debezium = AsWritten::start(&file, &[("DEBEZIUM_PASSWORD", "s3cret")]).unwrap();
    let slot = "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'freshet_shop' AND active";
    until("the slot is read", SOON, || {
        ensure!(!postgres.query(slot)?.is_empty(), "{}", debezium.log());
        Ok(())
    })
    .unwrap();
    let others = "INSERT INTO inventory.other VALUES (1); INSERT INTO inventory.product VALUES (7, NULL)";
    postgres.execute(others).unwrap();
    let of = |value: &Value, op: &str| value["source"]["table"] == "product" && value["op"] == op;
    // A partition's row under the table's name, and NULL where there is a default.
    let is_row =
        |value: &Value| of(value, "c") && value["after"]["id"] == 7 && value["after"]["note"].is_null();
    arrives(&redis, "shop.cdc", "the row", is_row);
    postgres.execute("TRUNCATE inventory.product").unwrap();
    arrives(&redis, "shop.cdc", "the truncate", |value| of(value, "t"));
    arrives(&redis, "shop.cdc", "the end of a transaction", |value| value["status"] == "END");
    arrives(&redis, "shop.cdc", "Debezium's heartbeat", |value| {
        value.as_object().is_some_and(|fields| fields.len() == 1 && fields.contains_key("ts_ms"))
    });
    let is_beat = |value: &Value| value["op"] == "m" && value["message"]["prefix"] == "freshet-hb";
    until("numbered heartbeats", SOON, || {
        let beats = values(&redis, "shop.cdc")?.iter().filter(|value| is_beat(value)).count();
        ensure!(beats >= 3, "{beats} heartbeats");
        Ok(())
    })
    .unwrap();
    let all = values(&redis, "shop.cdc").unwrap();
    assert!(!all.iter().any(|value| value["source"]["table"] == "other"), "only the binding's tables");
    assert_eq!(redis.command::<u64>(&["EXISTS", "metadata:debezium:offsets:shop"]).unwrap(), 1);
}

#[test]
fn mariadb_is_followed_by_what_is_generated() {
    let (mariadb, redis) = (MariaDb::start().unwrap(), Redis::start().unwrap());
    mariadb
        .execute(
            "CREATE DATABASE inventory; CREATE TABLE inventory.category (id INT PRIMARY KEY, name TEXT); \
             CREATE TABLE inventory.product (id INT PRIMARY KEY, note VARCHAR(10) DEFAULT 'none'); \
             CREATE TABLE inventory.other (id INT PRIMARY KEY)",
        )
        .unwrap();
    let port = mariadb.port().to_string();
    let (file, statements) =
        generated(&redis.url(), "topicPrefix: shop", &["--port", &port, "--database", "mariadb"]);
    mariadb.execute(&statements).unwrap();
    let debezium = AsWritten::start(&file, &[("DEBEZIUM_PASSWORD", "s3cret")]).unwrap();
    let reads = "SELECT 1 FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'";
    until("the binlog is read", SOON, || {
        ensure!(!mariadb.query(reads)?.is_empty(), "{}", debezium.log());
        Ok(())
    })
    .unwrap();
    mariadb
        .execute("INSERT INTO inventory.other VALUES (1); INSERT INTO inventory.product VALUES (7, NULL)")
        .unwrap();
    let stream = "shop.inventory.product";
    let is_row =
        |value: &Value| value["op"] == "c" && value["after"]["id"] == 7 && value["after"]["note"].is_null();
    arrives(&redis, stream, "the row", is_row);
    mariadb.execute("TRUNCATE TABLE inventory.product").unwrap();
    arrives(&redis, stream, "the truncate", |value| value["op"] == "t");
    arrives(&redis, "shop.transaction", "the end of a transaction", |value| value["status"] == "END");
    let beats = || -> Result<Vec<i64>> {
        let values = values(&redis, "shop.inventory.freshet_heartbeat")?;
        // The row is new once, and changes from then on.
        let beat = |value: &Value| value["after"]["at_ms"].as_i64().and(value["after"]["beat"].as_i64());
        Ok(values.iter().filter_map(beat).collect())
    };
    until("counted heartbeats", SOON, || {
        let beats = beats()?;
        ensure!(beats.len() >= 3, "{beats:?}");
        Ok(())
    })
    .unwrap();
    let beats = beats().unwrap();
    assert!(beats.windows(2).all(|two| two[1] == two[0] + 1), "{beats:?}");
    assert_eq!(redis.command::<u64>(&["EXISTS", "shop.inventory.other"]).unwrap(), 0);
    let kept = ["metadata:debezium:offsets:shop", "metadata:debezium:schema_history:shop"];
    assert_eq!(redis.command::<u64>(&[&["EXISTS"][..], &kept[..]].concat()).unwrap(), 2);
}

/// A binding with a view over all rows of `inventory.product`.
fn with_view(url: &str) -> String {
    let mut binding = SHOP.replace("redis://redis:6379", url);
    for (from, to) in [
        ("topicPrefix: shop", "stream: shop.cdc"),
        ("heartbeat: Debezium", "heartbeat: Database"),
        ("    ttl: 10m", "    onChange: Hydrate\n    warmStart: true"),
        ("  memory: 64Mi", "  memory: 64Mi\n  views: [{name: cheapest, cache: products, orderBy: /price}]"),
    ] {
        assert!(binding.contains(from), "{from}");
        binding = binding.replace(from, to);
    }
    binding
}

/// The statement that asks for a snapshot, as the file has it.
fn asks_for_snapshot(file: &str) -> &str {
    file.lines().find_map(|line| line.strip_prefix("#   ").filter(|sql| sql.starts_with("INSERT"))).unwrap()
}

/// A row is in the stream as it was when Debezium read all of the table.
fn is_read(value: &Value) -> bool {
    value["source"]["table"] == "product" && value["op"] == "r"
}

/// The stream, once it has told of this many whole snapshots.
fn with_snapshots(redis: &Redis, count: usize) -> Vec<Value> {
    until("a snapshot is told of", SOON, || {
        let values = values(redis, "shop.cdc")?;
        let whole = values.iter().filter(|value| value["type"] == "COMPLETED").count();
        ensure!(whole >= count, "{whole} of {count} snapshots");
        Ok(values)
    })
    .unwrap()
}

/// A snapshot is in the stream between what is told of its begin and its end, each row once, and as many as are told: the
/// last of all rows only after its table's number was told.
fn is_told(of_snapshot: &[Value], rows: usize) {
    let place = |what: &str| of_snapshot.iter().position(|value| value["type"] == what).unwrap();
    let (begin, end) = (place("STARTED"), place("COMPLETED"));
    let all = &of_snapshot[begin..end];
    assert!(all.iter().all(|value| value["type"].is_null() || value["aggregate_type"] == "Initial Snapshot"));
    let told: Vec<_> = all.iter().map(|value| &value["additional_data"]).collect();
    let told = told.iter().find(|told| told["scanned_collection"] == "inventory.product").unwrap();
    assert_eq!(
        (&told["total_rows_scanned"], &told["status"]),
        (&rows.to_string().into(), &"SUCCEEDED".into())
    );
    let read: Vec<_> = all.iter().filter(|value| is_read(value)).collect();
    let ids: BTreeSet<_> = read.iter().map(|value| value["after"]["id"].to_string()).collect();
    assert_eq!((read.len(), ids.len()), (rows, rows), "{all:#?}");
}

/// Snapshots are told of, and one can be asked for while Debezium runs, whatever the database.
fn snapshots_are_told(redis: &Redis, file: &str, execute: &dyn Fn(&str)) {
    is_told(&with_snapshots(redis, 1), 3);
    execute("INSERT INTO inventory.product VALUES (4, 4.5)");
    arrives(redis, "shop.cdc", "the row", |value| value["op"] == "c" && value["after"]["id"] == 4);
    execute(asks_for_snapshot(file));
    let all = with_snapshots(redis, 2);
    let is_signal = |value: &Value| value["source"]["table"] == "freshet_signal";
    let signal = all.iter().position(|value| is_signal(value) && value["op"] == "c").unwrap();
    is_told(&all[signal..], 4);
    // The log goes on behind it.
    execute("INSERT INTO inventory.product VALUES (5, 5.5)");
    arrives(redis, "shop.cdc", "a later row", |value| value["op"] == "c" && value["after"]["id"] == 5);
}

#[test]
fn postgres_tells_of_the_snapshots_that_a_view_needs() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    postgres
        .execute(
            "CREATE SCHEMA inventory; CREATE TABLE inventory.category (id int PRIMARY KEY, name text); \
             CREATE TABLE inventory.product (id int PRIMARY KEY, price numeric); \
             INSERT INTO inventory.product VALUES (1, 1.5), (2, 2.5), (3, 3.5)",
        )
        .unwrap();
    let port = postgres.port().to_string();
    let (file, statements) =
        generated_for(&with_view(&redis.url()), &["--port", &port, "--dbname", "postgres"]);
    postgres.execute(&statements).unwrap();
    let _debezium = AsWritten::start(&file, &[("DEBEZIUM_PASSWORD", "s3cret")]).unwrap();
    snapshots_are_told(&redis, &file, &|sql| postgres.execute(sql).unwrap());
}

#[test]
fn mariadb_tells_of_the_snapshots_that_a_view_needs() {
    let (mariadb, redis) = (MariaDb::start().unwrap(), Redis::start().unwrap());
    mariadb
        .execute(
            "CREATE DATABASE inventory; CREATE TABLE inventory.category (id INT PRIMARY KEY, name TEXT); \
             CREATE TABLE inventory.product (id INT PRIMARY KEY, price DECIMAL(9, 2)); \
             INSERT INTO inventory.product VALUES (1, 1.5), (2, 2.5), (3, 3.5)",
        )
        .unwrap();
    let port = mariadb.port().to_string();
    let (file, statements) =
        generated_for(&with_view(&redis.url()), &["--port", &port, "--database", "mariadb"]);
    mariadb.execute(&statements).unwrap();
    let _debezium = AsWritten::start(&file, &[("DEBEZIUM_PASSWORD", "s3cret")]).unwrap();
    snapshots_are_told(&redis, &file, &|sql| mariadb.execute(sql).unwrap());
}

#[test]
fn a_cluster_is_written_to_by_what_is_generated() {
    let (postgres, cluster) = (Postgres::start().unwrap(), RedisCluster::start("shop.cdc").unwrap());
    postgres
        .execute(
            "CREATE SCHEMA inventory; CREATE TABLE inventory.category (id int PRIMARY KEY); \
             CREATE TABLE inventory.product (id int PRIMARY KEY)",
        )
        .unwrap();
    let port = postgres.port().to_string();
    // Not the node that has the stream.
    let url = format!("redis+cluster://{}", cluster.other().address());
    let (file, statements) = generated(&url, "stream: shop.cdc", &["--port", &port, "--dbname", "postgres"]);
    postgres.execute(&statements).unwrap();
    postgres.execute("INSERT INTO inventory.product VALUES (7)").unwrap();
    let _debezium = AsWritten::start(&file, &[("DEBEZIUM_PASSWORD", "s3cret")]).unwrap();
    arrives(cluster.owner(), "shop.cdc", "the row", |value| value["after"]["id"] == 7);
    arrives(cluster.owner(), "shop.cdc", "a heartbeat", |value| value["op"] == "m");
}

/// What a manifest of the example has under a key of a ConfigMap.
fn in_config_map(file: &str, key: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/pipeline").join(file);
    let text = fs::read_to_string(path).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text);
    let mut values = documents.map(|document| serde_yaml::Value::deserialize(document).unwrap());
    let found = values.find_map(|value| Some(value.get("data")?.get(key)?.as_str()?.to_owned()));
    found.unwrap()
}

#[test]
fn the_example_s_database_and_debezium_go_together() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    postgres.execute(&in_config_map("20-postgres.yaml", "10-shop.sql")).unwrap();
    let script = in_config_map("20-postgres.yaml", "20-debezium.sh");
    let sql = script.split_once("<<'SQL'\n").unwrap().1.split_once("SQL").unwrap().0;
    postgres.execute(&sql.replace(":'password'", "'s3cret'")).unwrap();
    let file = in_config_map("30-debezium.yaml", "application.properties");
    let (port, address) = (postgres.port().to_string(), redis.address());
    // Only where they are differs.
    let environment = [
        ("DEBEZIUM_PASSWORD", "s3cret"),
        ("DEBEZIUM_SINK_REDIS_ADDRESS", address.as_str()),
        ("DEBEZIUM_SOURCE_DATABASE_HOSTNAME", "127.0.0.1"),
        ("DEBEZIUM_SOURCE_DATABASE_PORT", port.as_str()),
        ("DEBEZIUM_SOURCE_DATABASE_DBNAME", "postgres"),
    ];
    let _debezium = AsWritten::start(&file, &environment).unwrap();
    arrives(&redis, "shop.cdc", "a row", |value| {
        value["after"]["name"] == "pear" && value["after"]["note"].is_null()
    });
    arrives(&redis, "shop.cdc", "a heartbeat", |value| value["op"] == "m");
}
