//! Hydrated rows: the columns that a cache keeps, and the columns by which rows are found.

use freshet_e2e::process::{
    Debezium, Postgres, Redis, Sidecar,
    debezium::{Routing, Settings},
    http::Response,
};

use crate::{
    bad_input::problem,
    shop::{Shop, event, executable, manifest, outcome},
};

const ROW: &str = "application/vnd.freshet.row+json";

const CACHES: &str = "
  - {name: products, table: inventory.product, onChange: Hydrate, key: [{column: id, type: Integer}],
     columns: [sku, price], lookups: [{column: sku}, {column: ean}]}
  - {name: stock, table: inventory.stock, onChange: Hydrate, columns: [amount]}";

fn open() -> Shop {
    let redis = Redis::start().unwrap();
    // What happened before shows how texts look.
    for (table, key, after) in [
        ("product", "{\"id\":1}", "{\"id\":1,\"sku\":\"Z-0\",\"ean\":\"x\",\"price\":1}"),
        ("stock", "{\"place\":\"x\",\"id\":1}", "null"),
    ] {
        redis.xadd(&format!("shop.inventory.{table}"), &[(key, &event(table, "u", after))]).unwrap();
    }
    let sidecar = Sidecar::builder(executable(), &manifest(&redis, CACHES, ""));
    Shop::with(redis, sidecar)
}

fn row(id: u32, sku: &str, price: &str) -> String {
    format!("{{\"id\":{id},\"sku\":{sku},\"ean\":null,\"price\":{price},\"note\":\"n\"}}")
}

impl Shop {
    fn product(&mut self, id: u32, op: &str, after: &str) {
        self.apply("product", &format!("{{\"id\":{id}}}"), op, after);
    }

    fn put_row(&self, path: &str, lease: &str, body: &str) -> Response {
        let headers = [("freshet-lease", lease), ("content-type", ROW)];
        self.sidecar.request("PUT", path, &headers, body.as_bytes()).unwrap()
    }
}

#[test]
fn rows_are_found_by_other_columns_and_have_those_that_are_asked_for() {
    let mut shop = open();
    shop.product(7, "c", &row(7, "\"A-1\"", "1.50"));
    let value = "hit {\"sku\":\"A-1\",\"price\":1.50}";
    for path in ["/v1/products/7", "/v1/products/_by/sku/A-1", "/v1/products/_by/sku/%41-1"] {
        assert_eq!(shop.get(path), value, "{path}");
    }
    let etag = |path: &str| shop.sidecar.get(path).unwrap().header("etag").unwrap().to_owned();
    assert_eq!(etag("/v1/products/7"), etag("/v1/products/_by/sku/A-1"));
    assert_eq!(shop.get("/v1/products/_by/sku/B-2"), "miss");
    // The other column follows the row.
    shop.product(7, "u", &row(7, "\"B-2\"", "2"));
    assert_eq!(shop.get("/v1/products/_by/sku/A-1"), "miss");
    assert_eq!(shop.get("/v1/products/_by/sku/B-2"), "hit {\"sku\":\"B-2\",\"price\":2}");
    // Two rows swap theirs.
    shop.product(8, "c", &row(8, "\"C-3\"", "3"));
    shop.product(7, "u", &row(7, "\"C-3\"", "2"));
    shop.product(8, "u", &row(8, "\"B-2\"", "3"));
    assert_eq!(shop.get("/v1/products/_by/sku/C-3"), "hit {\"sku\":\"C-3\",\"price\":2}");
    assert_eq!(shop.get("/v1/products/_by/sku/B-2"), "hit {\"sku\":\"B-2\",\"price\":3}");
    shop.product(7, "d", "null");
    assert_eq!(shop.get("/v1/products/_by/sku/C-3"), "miss");
    shop.product(8, "u", &row(8, "null", "3"));
    assert_eq!(shop.get("/v1/products/_by/sku/B-2"), "miss");
    assert_eq!(shop.get("/v1/products/8"), "hit {\"sku\":null,\"price\":3}");
    // A column that the cache keeps is gone: the row is void, by whatever it is found.
    shop.product(8, "u", "{\"id\":8,\"sku\":\"D-4\",\"ean\":\"12\"}");
    assert_eq!(shop.get("/v1/products/_by/sku/D-4"), "miss");
    let refused = shop.sidecar.status().unwrap()["caches"]["products"]["imagesRefused"].to_string();
    assert_eq!(refused, "{\"column-missing\":1}");
    // One that finds rows is gone: nobody knows what anything is found by.
    shop.product(9, "c", &row(9, "\"E-5\"", "5"));
    assert!(shop.get("/v1/products/_by/sku/E-5").starts_with("hit"));
    shop.product(10, "c", "{\"id\":10,\"sku\":\"F-6\",\"price\":6}");
    assert_eq!(shop.get("/v1/products/_by/sku/E-5"), "miss");
}

#[test]
fn keys_of_several_columns_are_in_the_events_order() {
    let mut shop = open();
    shop.apply("stock", "{\"place\":\"a/b\",\"id\":7}", "c", "{\"place\":\"a/b\",\"id\":7,\"amount\":3}");
    assert_eq!(shop.get("/v1/stock/a%2Fb/7"), "hit {\"amount\":3}");
    assert_eq!(shop.get("/v1/stock/a%2Fb/8"), "miss");
    problem(&shop.sidecar.get("/v1/stock/7").unwrap(), 400, "key-form", "2 column(s)");
}

#[test]
fn a_row_that_is_filled_by_another_column_is_void_with_its_row() {
    let mut shop = open();
    let path = "/v1/products/_by/sku/A-1";
    let lease = shop.lease(path);
    assert_eq!(shop.put_row(path, &lease, &row(7, "\"A-1\"", "1")).status, 204);
    assert_eq!(shop.get(path), "hit {\"sku\":\"A-1\",\"price\":1}");
    shop.product(8, "u", &row(8, "\"B-2\"", "3"));
    assert_eq!(shop.get(path), "hit {\"sku\":\"A-1\",\"price\":1}", "another row");
    // Its delete says nothing of the column.
    shop.product(7, "d", "null");
    assert_eq!(shop.get(path), "miss");

    // A change of the row, or of who is found by that, since the lease.
    for (id, after) in [(7, row(7, "\"X\"", "1")), (9, row(9, "\"A-1\"", "1"))] {
        let lease = shop.lease(path);
        shop.product(id, "u", &after);
        let answer = shop.put_row(path, &lease, &row(7, "\"A-1\"", "0"));
        problem(&answer, 409, "fenced", "");
    }
    // That there is none ends with the first row that there is.
    let (path, lease) = ("/v1/products/_by/ean/12", shop.lease("/v1/products/_by/ean/12"));
    let absent = [("freshet-lease", lease.as_str()), ("freshet-absent", "?1")];
    assert_eq!(shop.sidecar.request("PUT", path, &absent, b"").unwrap().status, 204);
    assert_eq!(shop.get(path), "absent");
    shop.product(11, "c", "{\"id\":11,\"sku\":\"Z\",\"ean\":\"12\",\"price\":1}");
    assert_eq!(shop.get(path), "hit {\"sku\":\"Z\",\"price\":1}");
}

#[test]
fn a_row_that_is_filled_by_its_key_is_found_by_its_columns() {
    let mut shop = open();
    let lease = shop.lease("/v1/products/7");
    assert_eq!(shop.put_row("/v1/products/7", &lease, &row(7, "\"A-1\"", "1")).status, 204);
    assert_eq!(shop.get("/v1/products/_by/sku/A-1"), "hit {\"sku\":\"A-1\",\"price\":1}");
    shop.product(7, "u", &row(7, "\"A-2\"", "1"));
    assert_eq!(shop.get("/v1/products/_by/sku/A-1"), "miss");
    // Another row has got it since the lease: the fill is good, and finds nothing by that.
    let lease = shop.lease("/v1/products/20");
    shop.product(21, "c", &row(21, "\"Q\"", "21"));
    assert_eq!(shop.put_row("/v1/products/20", &lease, &row(20, "\"Q\"", "20")).status, 204);
    assert_eq!(shop.get("/v1/products/_by/sku/Q"), "hit {\"sku\":\"Q\",\"price\":21}");
}

#[test]
fn what_is_not_the_row_is_refused_with_a_reason() {
    let shop = open();
    let whole = row(7, "\"A-1\"", "1");
    for (path, body, says) in [
        ("/v1/products/8", whole.as_str(), "another row"),
        ("/v1/products/_by/sku/A-2", &whole, "isn't found by"),
        ("/v1/products/_by/ean/12", &whole, "isn't found by"),
        ("/v1/products/7", "{\"id\":7,\"sku\":\"A-1\",\"price\":1}", "`ean`"),
        ("/v1/products/7", "{\"id\":7,\"sku\":\"A-1\",\"ean\":null}", "`price`"),
        ("/v1/products/7", "{\"id\":\"x\",\"sku\":\"A-1\",\"ean\":null,\"price\":1}", "another form"),
        ("/v1/products/7", "[]", "JSON object"),
        ("/v1/products/7", "\u{1}", "JSON object"),
        ("/v1/stock/a/7", "{\"place\":\"a\"}", "`amount`"),
    ] {
        problem(&shop.put_row(path, &shop.lease(path), body), 422, "row", says);
    }
    problem(&shop.sidecar.get("/v1/products/_by/name/x").unwrap(), 404, "unknown-lookup", "sku, ean");
    problem(&shop.sidecar.get("/v1/stock/_by/sku/x").unwrap(), 404, "unknown-lookup", "nothing else");
    problem(&shop.sidecar.get("/v1/products/_by/sku/a/b").unwrap(), 400, "key-form", "1 column(s)");
    problem(&shop.sidecar.get("/v1/products/_by/sku").unwrap(), 400, "key-syntax", "");
}

#[test]
fn rows_of_postgres_are_found_by_other_columns() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    postgres
        .execute(
            "CREATE SCHEMA inventory; 
             CREATE TABLE inventory.product (id int PRIMARY KEY, sku text UNIQUE DEFERRABLE, ean text, price int, note text);
             CREATE TABLE inventory.stock (place text, id int, amount int, PRIMARY KEY (place, id));
             INSERT INTO inventory.product VALUES (7, 'A', NULL, 1), (8, 'B', NULL, 2);",
        )
        .unwrap();
    let _debezium =
        Debezium::start(Settings::default().routing(Routing::PerTable), &postgres, &redis).unwrap();
    let freshness = "  freshness: {maxStaleness: 2m, heartbeat: Database, readLag: 0s}";
    let text = manifest(&redis, CACHES, freshness);
    let shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    let after = |statement: &str, path: &str| {
        postgres.execute(statement).unwrap();
        let rows = postgres.query("SELECT pg_current_wal_lsn()::text").unwrap();
        let position = format!("cdc=\"lsn:{}\"", rows[0][0].as_deref().unwrap());
        let read = [("freshet-min-position", position.as_str()), ("prefer", "wait=15")];
        outcome(&shop.sidecar.request("GET", path, &read, b"").unwrap())
    };
    let a = "/v1/products/_by/sku/A";
    assert_eq!(
        after("UPDATE inventory.product SET price = 3 WHERE id = 7", a),
        "hit {\"sku\":\"A\",\"price\":3}"
    );
    // In one transaction two rows swap what they are found by.
    let swap = "BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE inventory.product SET sku = 'B' WHERE id = 7; \
                UPDATE inventory.product SET sku = 'A' WHERE id = 8; COMMIT";
    assert_eq!(after(swap, a), "hit {\"sku\":\"A\",\"price\":2}");
    assert_eq!(shop.get("/v1/products/_by/sku/B"), "hit {\"sku\":\"B\",\"price\":3}");
    assert_eq!(
        after("UPDATE inventory.product SET id = 80 WHERE id = 8", a),
        "hit {\"sku\":\"A\",\"price\":2}"
    );
    assert_eq!(shop.get("/v1/products/80"), "hit {\"sku\":\"A\",\"price\":2}");
    assert_eq!(after("DELETE FROM inventory.product WHERE id = 80", a), "miss");
    let stock = "INSERT INTO inventory.stock VALUES ('x', 1, 5)";
    assert_eq!(after(stock, "/v1/stock/x/1"), "hit {\"amount\":5}");
}
