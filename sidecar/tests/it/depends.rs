//! Values that depend on what their fills name: joins, negative answers, tags.

use std::time::Duration;

use freshet_e2e::process::{
    Debezium, MariaDb, Postgres, Redis, Sidecar,
    debezium::{Heartbeat, Routing, Settings},
};

use crate::{
    bad_input::problem,
    shop::{Shop, event, executable, manifest, outcome},
};

const CACHES: &str = "
  - {name: pages, dependsOn: [inventory.product], mayDependOn: [inventory.category]}
  - {name: joins, mayDependOn: [inventory.product, inventory.category, inventory.supplier], fillDependencies: Required}
  - {name: rows, table: inventory.product, onChange: Hydrate}";

impl Shop {
    fn put_on(&self, path: &str, lease: &str, body: &str, depends: &[&str]) -> u16 {
        let mut headers = vec![("freshet-lease", lease), ("content-type", "text/plain")];
        headers.extend(depends.iter().map(|items| ("freshet-depends", *items)));
        self.sidecar.request("PUT", path, &headers, body.as_bytes()).unwrap().status
    }

    /// Reads and fills; `depends` are lines of the header.
    fn fill_on(&self, path: &str, body: &str, depends: &[&str]) {
        assert_eq!(self.put_on(path, &self.lease(path), body, depends), 204, "{path}");
    }

    fn void_tag(&self, tag: &str) {
        let answer = self.sidecar.request("POST", &format!("/v1/_tags/{tag}"), &[], b"").unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
    }
}

/// A Redis in which all three tables have events, and a sidecar.
fn open() -> Shop {
    let redis = Redis::start().unwrap();
    for table in ["product", "category", "supplier"] {
        redis
            .xadd(&format!("shop.inventory.{table}"), &[("{\"id\":1}", &event(table, "u", "null"))])
            .unwrap();
    }
    let sidecar = Sidecar::builder(executable(), &manifest(&redis, CACHES, ""));
    Shop::with(redis, sidecar)
}

#[test]
fn rows_tables_and_tags_void_what_names_them() {
    let mut shop = open();
    let values: [(&str, &[&str]); 7] = [
        ("/v1/joins/a", &["inventory.product/7, inventory.category/1"]),
        ("/v1/joins/b", &["inventory.product/8,inventory.category/2", "tag:home"]),
        ("/v1/joins/c", &["inventory.category"]),
        ("/v1/joins/d", &["inventory.supplier/7", "tag:a%2Cb", "tag:home"]),
        ("/v1/joins/e", &["inventory.supplier/8, inventory.supplier/8"]),
        ("/v1/pages/a", &["inventory.category/1"]),
        ("/v1/pages/b", &[]),
    ];
    let fill = |shop: &Shop| values.iter().for_each(|(path, depends)| shop.fill_on(path, "x", depends));
    let cached = |shop: &Shop| -> String {
        let hit = |(path, _): &&(&str, &[&str])| shop.get(path) == "hit x";
        values.iter().filter(hit).map(|(path, _)| path[4..].replace('/', "")).collect::<Vec<_>>().join(" ")
    };
    fill(&shop);
    assert_eq!(cached(&shop), "joinsa joinsb joinsc joinsd joinse pagesa pagesb");
    shop.apply("category", "{\"id\":1}", "u", "{\"id\":1}");
    assert_eq!(cached(&shop), "joinsb joinsd joinse pagesb");
    shop.apply("product", "{\"id\":9}", "c", "{\"id\":9}");
    assert_eq!(cached(&shop), "joinsb joinsd joinse", "all pages depend on products");
    shop.void_tag("home");
    assert_eq!(cached(&shop), "joinse");
    shop.apply("supplier", "{\"id\":7}", "d", "null");
    assert_eq!(cached(&shop), "joinse", "another row of the table");
    shop.until_fills_last();
    fill(&shop);
    shop.void_tag("a%2cb");
    shop.apply("category", "null", "t", "null");
    assert_eq!(cached(&shop), "joinse pagesb");
}

#[test]
fn a_fill_is_refused_if_what_it_names_has_changed_since_its_lease() {
    let mut shop = open();
    shop.fill_on("/v1/joins/a", "x", &["inventory.product/7"]);
    let lease = shop.lease("/v1/joins/b");
    shop.apply("product", "{\"id\":7}", "u", "{\"id\":7}");
    assert_eq!(shop.put_on("/v1/joins/b", &lease, "old", &["inventory.product/7"]), 409);
    assert_eq!(shop.put_on("/v1/joins/b", &lease, "old", &["inventory.category", "inventory.product"]), 409);
    assert_eq!(shop.put_on("/v1/joins/b", &lease, "good", &["inventory.product/8"]), 204);
    assert_eq!(shop.get("/v1/joins/b"), "hit good");
    let lease = shop.lease("/v1/joins/c");
    shop.void_tag("home");
    assert_eq!(shop.put_on("/v1/joins/c", &lease, "old", &["tag:home"]), 409);
    assert_eq!(shop.get("/v1/joins/c"), "miss");
}

/// An answer of "there is none" depends on the rows that it didn't find: an insert is a change of them.
#[test]
fn an_insert_voids_the_knowledge_that_there_is_none() {
    let mut shop = open();
    let absent = |shop: &Shop, path: &str, depends: &str| {
        let lease = shop.lease(path);
        let headers =
            [("freshet-lease", lease.as_str()), ("freshet-absent", "?1"), ("freshet-depends", depends)];
        assert_eq!(shop.sidecar.request("PUT", path, &headers, b"").unwrap().status, 204);
        assert_eq!(shop.get(path), "absent");
    };
    absent(&shop, "/v1/joins/99", "inventory.product/99");
    absent(&shop, "/v1/joins/none-of-category", "inventory.product, inventory.category/3");
    shop.apply("supplier", "{\"id\":99}", "c", "{\"id\":99}");
    assert_eq!(shop.get("/v1/joins/99"), "absent");
    shop.apply("product", "{\"id\":99}", "c", "{\"id\":99}");
    assert_eq!(
        (shop.get("/v1/joins/99"), shop.get("/v1/joins/none-of-category")),
        ("miss".into(), "miss".into())
    );
}

#[test]
fn what_cannot_be_named_is_refused_with_a_reason() {
    let shop = open();
    let many = (0..65).map(|n| format!("inventory.product/{n}")).collect::<Vec<_>>().join(",");
    for (path, depends, status, kind, says) in [
        ("/v1/joins/a", None, 422, "depends-required", "fillDependencies: Required"),
        (
            "/v1/joins/a",
            Some("inventory.prodcut"),
            422,
            "unknown-table",
            "inventory.category, inventory.product",
        ),
        ("/v1/joins/a", Some("inventory.prodcut/7"), 422, "unknown-table", "mayDependOn"),
        ("/v1/joins/a", Some(""), 400, "depends", "an item is empty"),
        ("/v1/joins/a", Some("inventory.product,"), 400, "depends", "an item is empty"),
        ("/v1/joins/a", Some("inventory.product/007"), 400, "depends", "leading zeros"),
        ("/v1/joins/a", Some("inventory.product/7/8"), 400, "depends", "1 column(s)"),
        ("/v1/joins/a", Some("inventory.product/"), 400, "depends", "no empty"),
        ("/v1/joins/a", Some("tag:"), 400, "depends", "no empty"),
        ("/v1/joins/a", Some("tag:%zz"), 400, "depends", "percent-encoded"),
        ("/v1/joins/a", Some("tag:\u{e4}"), 400, "depends", "aren't ASCII"),
        ("/v1/joins/a", Some(many.as_str()), 422, "too-many-dependencies", "at most 64"),
        ("/v1/rows/1", Some("inventory.product"), 422, "depends-hydrated", "hydrates"),
    ] {
        let lease = shop.lease(path);
        let mut headers = vec![("freshet-lease", lease.as_str())];
        headers.extend(depends.map(|depends| ("freshet-depends", depends)));
        if path.contains("rows") {
            headers.push(("content-type", "application/vnd.freshet.row+json"));
        }
        let answer = shop.sidecar.request("PUT", path, &headers, b"x").unwrap();
        problem(&answer, status, kind, says);
    }
    for (method, path, status, kind) in [
        ("GET", "/v1/_tags/home", 405, "method-not-allowed"),
        ("POST", "/v1/_tags/a/b", 400, "key-syntax"),
        ("POST", "/v1/_tags/", 400, "key-syntax"),
        ("POST", "/v1/_tags/%zz", 400, "key-syntax"),
    ] {
        problem(&shop.sidecar.request(method, path, &[], b"").unwrap(), status, kind, "");
    }
}

/// The join: a product with the name of its category.
const JOIN: &str =
    "SELECT p.name, c.name FROM inventory.product p JOIN inventory.category c ON c.id = p.category";

const TABLES: &str = "
    CREATE TABLE inventory.category (id int PRIMARY KEY, name varchar(40));
    CREATE TABLE inventory.product (id int PRIMARY KEY, name varchar(40), category int);
    CREATE TABLE inventory.supplier (id int PRIMARY KEY, name varchar(40));
    INSERT INTO inventory.category VALUES (1, 'tools'), (2, 'toys');
    INSERT INTO inventory.product VALUES (7, 'hammer', 1), (8, 'robot', 2)";

/// What any of the tables' changes does to the joins, once it is applied: `after` runs a statement and says the position
/// of its commit.
fn story(shop: &Shop, after: &mut dyn FnMut(&str) -> String) {
    let fill = |shop: &Shop| {
        shop.fill_on("/v1/joins/7", "hammer, tools", &["inventory.product/7, inventory.category/1"]);
        shop.fill_on("/v1/joins/8", "robot, toys", &["inventory.product/8, inventory.category/2"]);
        shop.fill_on("/v1/pages/all", "2 products", &["inventory.category"]);
    };
    let paths = ["/v1/joins/7", "/v1/joins/8", "/v1/pages/all"];
    for (statement, left) in [
        ("UPDATE inventory.product SET name = 'sledgehammer' WHERE id = 7", "joins/8"),
        ("UPDATE inventory.category SET name = 'games' WHERE id = 2", "joins/7"),
        ("INSERT INTO inventory.supplier VALUES (7, 'acme')", "joins/7 joins/8 pages/all"),
        ("UPDATE inventory.product SET id = 70 WHERE id = 7", "joins/8"),
        ("DELETE FROM inventory.category WHERE id = 1", "joins/8"),
        ("INSERT INTO inventory.category VALUES (1, 'tools')", "joins/8"),
        ("TRUNCATE TABLE inventory.product", ""),
    ] {
        fill(shop);
        let position = after(statement);
        let read = [("freshet-min-position", position.as_str()), ("prefer", "wait=15")];
        let outcome = |path: &&&str| outcome(&shop.sidecar.request("GET", path, &read, b"").unwrap());
        let found: Vec<_> =
            paths.iter().filter(|path| outcome(path).starts_with("hit")).map(|p| &p[4..]).collect();
        assert_eq!(found.join(" "), left, "{statement}");
    }
}

#[test]
fn a_join_over_mariadb_is_void_with_either_table() {
    let (mariadb, redis) = (MariaDb::start().unwrap(), Redis::start().unwrap());
    mariadb.execute(&format!("CREATE DATABASE inventory; {TABLES}")).unwrap();
    let settings = ["inventory.product", "inventory.category", "inventory.supplier"]
        .into_iter()
        .fold(Settings::mariadb(), Settings::table)
        .heartbeat(Heartbeat::Both, Duration::from_millis(500));
    let stream = settings.stream("inventory.product");
    let _debezium = Debezium::start(settings, &mariadb, &redis).unwrap();
    let freshness = "  freshness: {maxStaleness: 2m, heartbeat: Database, readLag: 0s}";
    let text =
        manifest(&redis, CACHES, freshness).replacen("topicPrefix: shop", &format!("stream: {stream}"), 1);
    let shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    let mut session = mariadb.client().unwrap();
    assert_eq!(session.query(&format!("{JOIN} WHERE p.id = 7")).unwrap()[0][1].as_deref(), Some("tools"));
    story(&shop, &mut |statement| {
        session.execute(statement).unwrap();
        let rows = session.query("SELECT @@last_gtid").unwrap();
        format!("cdc=\"gtid:{}\"", rows[0][0].as_deref().unwrap())
    });
}

#[test]
fn a_join_over_postgres_is_void_with_either_table() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    postgres.execute(&format!("CREATE SCHEMA inventory; {TABLES}")).unwrap();
    let _debezium =
        Debezium::start(Settings::default().routing(Routing::PerTable), &postgres, &redis).unwrap();
    let freshness = "  freshness: {maxStaleness: 2m, heartbeat: Database, readLag: 0s}";
    let text = manifest(&redis, CACHES, freshness);
    let shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    story(&shop, &mut |statement| {
        postgres.execute(statement).unwrap();
        let rows = postgres.query("SELECT pg_current_wal_lsn()::text").unwrap();
        format!("cdc=\"lsn:{}\"", rows[0][0].as_deref().unwrap())
    });
}
