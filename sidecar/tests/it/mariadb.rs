//! The whole path with MariaDB: what is Postgres' own is its GTIDs here, and the heartbeat is a row.

use std::time::Duration;

use freshet_e2e::process::{
    Debezium, MariaDb, Redis, Sidecar,
    debezium::{Heartbeat, Settings},
};

use crate::shop::{Shop, executable, manifest, outcome};

const CACHES: &str = "
  - {name: products, table: inventory.product}
  - {name: rows, table: inventory.product, onChange: Hydrate}
  - {name: pages, dependsOn: [inventory.product]}";

#[test]
fn the_heartbeat_is_a_row_and_positions_are_gtids() {
    let (mariadb, redis) = (MariaDb::start().unwrap(), Redis::start().unwrap());
    mariadb
        .execute(
            "CREATE DATABASE inventory; 
             CREATE TABLE inventory.product (id int PRIMARY KEY, name text, note varchar(9) DEFAULT 'none');
             CREATE TABLE inventory.other (id int PRIMARY KEY);
             INSERT INTO inventory.product (id, name) VALUES (1, 'hammer'), (2, 'saw')",
        )
        .unwrap();
    let settings =
        Settings::mariadb().table("inventory.product").heartbeat(Heartbeat::Both, Duration::from_millis(500));
    let stream = settings.stream("inventory.product");
    let _debezium = Debezium::start(settings, &mariadb, &redis).unwrap();
    let freshness = "  freshness: {maxStaleness: 2m, heartbeat: Database, readLag: 0s}";
    let text =
        manifest(&redis, CACHES, freshness).replacen("topicPrefix: shop", &format!("stream: {stream}"), 1);
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));

    shop.fill("/v1/products/1", "hammer");
    shop.fill("/v1/products/2", "saw");
    let mut session = mariadb.client().unwrap();
    session.execute("UPDATE inventory.product SET name = 'sledgehammer', note = NULL WHERE id = 1").unwrap();
    let rows = session.query("SELECT @@last_gtid").unwrap();
    let position = format!("cdc=\"gtid:{}\"", rows[0][0].as_deref().unwrap());
    let min = [("freshet-min-position", position.as_str()), ("prefer", "wait=15")];
    let answer = shop.sidecar.request("GET", "/v1/products/1", &min, b"").unwrap();
    assert_eq!(outcome(&answer), "miss", "it was read before the write");
    let answer = shop.sidecar.request("GET", "/v1/products/2", &min, b"").unwrap();
    assert_eq!(outcome(&answer), "hit saw", "another row");
    assert!(answer.header("freshet-position").unwrap().starts_with("cdc=\"gtid:0-"), "{answer:?}");
    shop.until_get("/v1/rows/1", "hit {\"id\":1,\"name\":\"sledgehammer\",\"note\":null}");

    // Transactions that write nothing of ours, and definitions of tables that nobody follows.
    mariadb
        .execute("INSERT INTO inventory.other VALUES (1); ALTER TABLE inventory.other ADD COLUMN x int")
        .unwrap();
    shop.fill("/v1/pages/home", "2 products");
    mariadb.execute("UPDATE inventory.product SET id = 20 WHERE id = 1").unwrap();
    shop.until_get("/v1/rows/20", "hit {\"id\":20,\"name\":\"sledgehammer\",\"note\":null}");
    assert_eq!(shop.get("/v1/rows/1"), "miss");
    assert_eq!(shop.get("/v1/pages/home"), "miss");
    assert_eq!(shop.get("/v1/products/2"), "hit saw");
    mariadb.execute("ALTER TABLE inventory.product ADD COLUMN x int").unwrap();
    shop.until_get("/v1/products/2", "miss");
    shop.fill("/v1/products/2", "saw");
    mariadb.execute("TRUNCATE inventory.product").unwrap();
    shop.until_get("/v1/products/2", "miss");
    let changes = shop.sidecar.status().unwrap()["sources"]["cdc"]["epochChanges"].to_string();
    assert!(!changes.contains("missed"), "nothing was lost: {changes}");
}
