//! A channel of a real PostgreSQL's `NOTIFY`: what triggers tell, what applications publish, and what becomes of connections.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use freshet_crds::manifest;
use freshet_e2e::process::{Lent, PgBouncer, Postgres, Proxy, Redis, Sidecar};

use crate::shop::{App, SOON, executable, manifest_over};

const TABLES: &str = "
CREATE SCHEMA inventory;
CREATE TABLE inventory.product (id bigint PRIMARY KEY, name text);
CREATE TABLE inventory.stock (product bigint, place text, amount int, PRIMARY KEY (product, place));
CREATE TABLE inventory.part (id int, year int, PRIMARY KEY (year, id)) PARTITION BY LIST (year);
CREATE TABLE inventory.part_1 PARTITION OF inventory.part FOR VALUES IN (1);
CREATE TABLE inventory.part_2 PARTITION OF inventory.part FOR VALUES IN (2);
CREATE TABLE inventory.reading (device int, at timestamptz, amount int, PRIMARY KEY (device, at));
CREATE TABLE inventory.log (line text);
INSERT INTO inventory.product SELECT n, 'a' FROM generate_series(1, 9) AS n;
INSERT INTO inventory.stock VALUES (1, 'berlin', 1), (1, 'rome', 1);
INSERT INTO inventory.part VALUES (1, 1), (2, 1);";

const CACHES: &str = "
  - {name: products, table: inventory.product}
  - {name: stock, table: inventory.stock}
  - {name: parts, table: postgres.inventory.part, key: [{column: year}, {column: id}]}
  - {name: readings, table: inventory.reading}
  - {name: names, table: inventory.product, key: [{column: name}]}
  - {name: pages, dependsOn: [inventory.product]}
  - {name: logs, dependsOn: [inventory.log]}
  - {name: quotes, published: true}";

/// How long a burst may take to be read on a busy machine.
const CAUGHT_UP: Duration = Duration::from_mins(2);

/// A name, and what happens.
type Happens = (&'static str, fn(&mut Stage));

struct Stage {
    postgres: Postgres,
    proxy: Proxy,
    app: App,
}

fn source(address: impl std::fmt::Display) -> String {
    format!(
        "postgresNotify: {{urlFrom: {{secretKeyRef: {{name: db, key: url}}}}, channel: \"{CHANNEL}\"}} # {address}"
    )
}

/// One that needs its quotes.
const CHANNEL: &str = "The shop's";

fn url(address: impl std::fmt::Display) -> String {
    format!("postgres://postgres@{address}/postgres")
}

fn sidecar(address: impl std::fmt::Display, more: &str) -> Sidecar {
    let text = manifest_over(&source(&address), CACHES, more);
    Sidecar::builder(executable(), &text).secret("db", "url", &url(&address)).start().unwrap()
}

/// What `freshet-operator triggers` prints.
fn triggers() -> String {
    let text = manifest_over(&source("a"), CACHES, "");
    let binding = manifest::read(&text).unwrap().binding().unwrap();
    freshet_debezium::triggers(&binding, None).unwrap()
}

impl Stage {
    fn open() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        let postgres = Postgres::start().unwrap();
        postgres.execute(TABLES).unwrap();
        postgres.execute(&triggers()).unwrap();
        let proxy = Proxy::start(([127, 0, 0, 1], postgres.port()).into()).unwrap();
        let app = App { sidecar: sidecar(proxy.address(), more) };
        let mut stage = Self { postgres, proxy, app };
        stage.app.until_fresh();
        stage.app.until_fills_last();
        // How keys look the first change teaches.
        stage.change("UPDATE inventory.product SET name = name WHERE id = 9", 1);
        stage.change("UPDATE inventory.stock SET amount = 2", 2);
        stage.change("UPDATE inventory.part SET id = id WHERE id = 2", 1);
        stage.app.until_fills_last();
        stage
    }

    /// Runs a statement, and waits until the sidecar has applied so much more.
    fn change(&mut self, sql: &str, told: u64) {
        let before = self.app.entries().unwrap();
        self.postgres.execute(sql).unwrap();
        self.app.until_applied(before + told);
    }

    fn fill(&self, paths: &[&str]) {
        for path in paths {
            self.app.fill(path, "x");
        }
    }

    /// After this statement, of which so much is told, these are void and those aren't.
    fn voids(&mut self, sql: &str, told: u64, void: &[&str], kept: &[&str]) {
        self.app.until_fills_last();
        self.fill(void);
        self.fill(kept);
        let before = self.app.entries().unwrap();
        self.change(sql, told);
        for (paths, answer) in [(void, "miss"), (kept, "hit x")] {
            for path in paths {
                assert_eq!(self.app.get(path), answer, "{path} after {sql}");
            }
        }
        assert_eq!(self.app.entries().unwrap(), before + told, "{sql}");
    }

    fn count(&self, what: &str) -> u64 {
        self.app.sidecar.status().unwrap()["sources"]["cdc"][what].as_u64().unwrap()
    }
}

#[test]
fn what_a_statement_changes_is_void_and_nothing_else() {
    let mut stage = Stage::open();
    let epoch = stage.app.epoch();
    let of = ["/v1/products/1", "/v1/products/2", "/v1/products/3", "/v1/stock/1/berlin", "/v1/stock/1/rome"];
    let [one, two, three, berlin, rome] = of;
    stage.voids(
        "UPDATE inventory.product SET name = 'b' WHERE id = 1",
        1,
        &[one, "/v1/pages/1"],
        &[two, berlin],
    );
    // What isn't the key's own nobody knows the old value of.
    stage.voids(
        "UPDATE inventory.product SET name = 'c' WHERE id = 1",
        1,
        &["/v1/names/c", "/v1/names/d"],
        &[two],
    );
    stage.voids("DELETE FROM inventory.product WHERE id IN (1, 2)", 2, &[one, two], &[three]);
    stage.voids("INSERT INTO inventory.product VALUES (1, 'a'), (2, 'b')", 2, &[one, two], &[three]);
    stage.voids("UPDATE inventory.product SET id = 22 WHERE id = 2", 2, &[two, "/v1/products/22"], &[one]);
    stage.voids(
        "INSERT INTO inventory.product VALUES (1, 'z'), (2, 'b') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        2,
        &[one, two],
        &[three],
    );
    stage.voids("UPDATE inventory.stock SET amount = 3 WHERE place = 'rome'", 1, &[rome], &[berlin, one]);
    stage.voids(
        "UPDATE inventory.stock SET place = 'r/\"' WHERE place = 'rome'",
        2,
        &[rome, "/v1/stock/1/r%2F%22"],
        &[berlin],
    );
    stage.voids("TRUNCATE inventory.stock", 1, &[rome, berlin], &[one]);
    // What is rolled back, all of it or in part, is told to nobody.
    stage.voids(
        "BEGIN; UPDATE inventory.product SET name = 'n' WHERE id = 1; ROLLBACK; BEGIN; SAVEPOINT a; \
         DELETE FROM inventory.product WHERE id = 1; ROLLBACK TO a; DELETE FROM inventory.product WHERE id = 2; COMMIT",
        1,
        &[two],
        &[one],
    );
    // A table without a primary key has no rows that could be told apart, and no row is no change.
    stage.voids("INSERT INTO inventory.log VALUES ('a'), ('b'), ('b')", 1, &["/v1/logs/1"], &[one]);
    stage.voids("DELETE FROM inventory.log WHERE line = 'c'", 0, &[], &["/v1/logs/1", one]);
    assert_eq!(stage.app.epoch(), epoch, "{:?}", stage.app.breaks());
    assert_eq!((stage.count("oversized"), stage.count("unreadable")), (0, 0));
}

#[test]
fn a_key_has_one_spelling_whatever_a_session_is_used_to() {
    let mut stage = Stage::open();
    let [one, other] =
        ["2026-11-21T02:05:06.789Z", "2026-11-21T03:00:00Z"].map(|at| format!("/v1/readings/1/{at}"));
    let rows = "(1, '2026-11-21 02:05:06.789Z'), (1, '2026-11-21 03:00:00Z')";
    stage.change(&format!("INSERT INTO inventory.reading VALUES {rows}"), 2);
    stage.voids(
        "SET timezone = 'Europe/Berlin'; UPDATE inventory.reading SET amount = 2 WHERE at < '2026-11-21 04:00'",
        1,
        &[&one],
        &[&other],
    );
}

#[test]
fn what_changes_in_partitions_is_told_of_their_table() {
    let mut stage = Stage::open();
    let [one, two, moved] = ["/v1/parts/1/1", "/v1/parts/1/2", "/v1/parts/2/1"];
    stage.voids("UPDATE inventory.part SET id = id WHERE id = 1", 1, &[one], &[two]);
    stage.voids("UPDATE inventory.part_1 SET id = 1 WHERE id = 1", 1, &[one], &[two]);
    stage.voids("UPDATE inventory.part SET year = 2 WHERE id = 1", 2, &[one, moved], &[two]);
    stage.voids("TRUNCATE inventory.part_2", 1, &[one, two, moved], &["/v1/products/1"]);
    stage
        .postgres
        .execute("CREATE TABLE inventory.part_3 PARTITION OF inventory.part FOR VALUES IN (3)")
        .unwrap();
    stage.voids("INSERT INTO inventory.part_3 VALUES (1, 3)", 1, &["/v1/parts/3/1"], &[two]);
    // Beyond a thousand rows of a transaction the table is told of, once.
    let many = "INSERT INTO inventory.part SELECT n, 2 FROM generate_series(1, 1500) AS n";
    stage.voids(many, 1001, &[two], &["/v1/products/1"]);
    stage.voids("UPDATE inventory.part_1 SET id = 2", 1, &[two], &["/v1/parts/2/7"]);
}

#[test]
fn beyond_a_thousand_rows_a_statement_tells_of_the_table() {
    let mut stage = Stage::open();
    let [one, two] = ["/v1/products/1", "/v1/products/2"];
    let rows = |count: u64| {
        format!("INSERT INTO inventory.product SELECT n, 'x' FROM generate_series(100, {}) AS n", 99 + count)
    };
    stage.voids(&rows(1000), 1000, &["/v1/products/100", "/v1/products/1099"], &[one]);
    stage.voids("DELETE FROM inventory.product WHERE id >= 100", 1000, &["/v1/products/100"], &[one]);
    stage.voids(&rows(1001), 1, &["/v1/products/100", one], &["/v1/stock/1/rome"]);
    stage.voids("UPDATE inventory.product SET name = 'y'", 1, &[one, two], &["/v1/stock/1/rome"]);
    stage.voids("DELETE FROM inventory.product", 1, &[one, two], &["/v1/stock/1/rome"]);
    assert_eq!(stage.count("oversized"), 0);
}

#[test]
fn a_key_that_has_no_room_is_told_of_as_its_table_and_counted() {
    let mut stage = Stage::open();
    let insert = |bytes: u64| format!("INSERT INTO inventory.stock VALUES (2, repeat('x', {bytes}), 1)");
    stage.voids(&insert(7800), 1, &[], &["/v1/stock/1/berlin", "/v1/products/1"]);
    assert_eq!(stage.count("oversized"), 0, "it has room");
    stage.voids(&insert(7960), 1, &["/v1/stock/1/berlin"], &["/v1/products/1"]);
    assert_eq!(stage.count("oversized"), 1);
    let metrics = stage.app.sidecar.metrics().unwrap();
    assert!(metrics.contains("freshet_changes_total{source=\"cdc\",kind=\"oversized\"} 1"), "{metrics}");
}

#[test]
fn what_is_published_with_psql_is_served() {
    let mut stage = Stage::open();
    let guide = include_str!("../../../docs/reference/envelope.md");
    let line = guide.lines().find(|line| line.starts_with("psql ")).unwrap();
    let sql = line.split_once('"').unwrap().1.strip_suffix('"').unwrap().replace("'bus'", "'The shop''s'");
    stage.change(&sql, 1);
    assert_eq!(stage.app.get("/v1/quotes/eur-usd"), "hit 1.08");
    stage.postgres.execute("SELECT pg_notify('another', '{\"freshet\":1}')").unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let deleted =
        format!(r#"{{"freshet":1,"kind":"delete","cache":"quotes","key":"eur-usd","start":{now}}}"#);
    stage.change(&format!("SELECT pg_notify('The shop''s', '{deleted}')"), 1);
    assert_eq!(stage.app.get("/v1/quotes/eur-usd"), "miss");
    // What nobody can read may have been any change.
    let epoch = stage.app.epoch();
    stage.fill(&["/v1/products/1", "/v1/pages/1"]);
    stage.change("SELECT pg_notify('The shop''s', 'product 1 has changed')", 1);
    stage.app.until_fresh_after(epoch);
    assert_eq!([stage.app.get("/v1/products/1"), stage.app.get("/v1/pages/1")], ["miss", "miss"]);
    assert_eq!(stage.app.breaks(), ["unreadable"]);
}

#[test]
fn a_change_fences_fills_that_may_have_read_before_it() {
    let mut stage = Stage::open();
    let lease = stage.app.lease("/v1/products/1");
    stage.change("UPDATE inventory.product SET name = 'b' WHERE id = 1", 1);
    assert_eq!(stage.app.put("/v1/products/1", &lease, "a"), 409);
    assert_eq!(stage.app.get("/v1/products/1"), "miss");
}

/// A round trip to the database is all the evidence that there can be.
#[test]
fn staleness_is_bounded_without_heartbeats() {
    let mut stage = Stage::with("  freshness: {maxStaleness: 3s, heartbeat: Database}");
    stage.fill(&["/v1/products/1"]);
    assert_eq!(stage.app.get("/v1/products/1"), "hit x");
    let status = stage.app.sidecar.status().unwrap();
    assert_eq!(status["sources"]["cdc"]["vouchedBy"], "Continuity", "{status}");
    stage.postgres.pause().unwrap();
    stage.app.until_get("/v1/products/1", "stale disconnected");
    stage.postgres.resume().unwrap();
    stage.app.until_fresh();
}

#[test]
fn with_every_new_connection_everything_is_void() {
    let mut stage = Stage::open();
    let happens: [Happens; 5] = [
        ("restart", |stage| stage.postgres.restart().unwrap()),
        ("crash", |stage| {
            stage.postgres.kill_all().unwrap();
            stage.postgres.restart().unwrap();
        }),
        ("end of the session", |stage| {
            let end =
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'freshet'";
            stage.postgres.execute(end).unwrap();
        }),
        ("half-open connection", |stage| assert!(stage.proxy.abandon() > 0)),
        ("partition", |stage| {
            stage.proxy.refuse();
            stage.app.until_get("/v1/products/1", "stale disconnected");
            stage.postgres.execute("UPDATE inventory.product SET name = 'unheard' WHERE id = 1").unwrap();
            stage.proxy.pass();
        }),
    ];
    for (name, happens) in happens {
        println!("{name}");
        stage.app.until_fills_last();
        let epoch = stage.app.epoch();
        stage.fill(&["/v1/products/1", "/v1/stock/1/berlin"]);
        happens(&mut stage);
        stage.app.until_fresh_after(epoch);
        assert_eq!([stage.app.get("/v1/products/1"), stage.app.get("/v1/stock/1/berlin")], ["miss", "miss"]);
    }
    assert_eq!(stage.app.breaks(), ["reconnected"]);
    stage.voids(
        "UPDATE inventory.product SET name = 'heard' WHERE id = 1",
        1,
        &["/v1/products/1"],
        &["/v1/products/2"],
    );
}

/// What isn't read stays with the server: nothing is lost by who is slow.
#[test]
fn a_sidecar_that_stood_still_reads_all_that_was_told_meanwhile() {
    let mut stage = Stage::open();
    let epoch = stage.app.epoch();
    stage.fill(&["/v1/products/1", "/v1/products/2"]);
    stage.app.sidecar.process().pause().unwrap();
    let burst = "SELECT count(*) FROM (SELECT pg_notify('The shop''s', json_build_object('freshet', 1, 'kind', 'change', \
                 'table', 'inventory.product', 'op', 'update', 'key', json_build_object('id', n))::text) \
                 FROM generate_series(100, 100099) AS n) AS told";
    stage.postgres.execute(burst).unwrap();
    stage.postgres.execute("UPDATE inventory.product SET name = 'b' WHERE id = 1").unwrap();
    let before = 4 + 100_000;
    stage.app.sidecar.process().resume().unwrap();
    stage
        .app
        .sidecar
        .until("all is read", CAUGHT_UP, |sidecar| {
            let status = sidecar.status()?;
            let source = &status["sources"]["cdc"];
            ensure!(source["entries"] == before + 1 && source["state"] == "Fresh", "{source}");
            Ok(())
        })
        .unwrap();
    assert_eq!([stage.app.get("/v1/products/1"), stage.app.get("/v1/products/2")], ["miss", "hit x"]);
    assert_eq!(stage.app.epoch(), epoch, "{:?}", stage.app.breaks());
}

#[test]
fn another_source_goes_on_while_postgres_is_down() {
    let (mut postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let address = format!("127.0.0.1:{}", postgres.port());
    let sources = format!(
        "{}\n  - name: bus\n    redisStream: {{url: '{}', stream: bus}}",
        source(&address),
        redis.url()
    );
    let caches = "
  - {name: products, source: cdc, table: inventory.product}
  - {name: rates, source: bus, published: true}";
    let text = manifest_over(&sources, caches, "");
    let sidecar = Sidecar::builder(executable(), &text).secret("db", "url", &url(&address)).start().unwrap();
    let mut app = App { sidecar };
    app.until_fresh();
    app.until_fills_last();
    app.fill("/v1/rates/a", "x");
    postgres.stop().unwrap();
    app.until_get("/v1/products/1", "stale disconnected");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() + 500;
    let said = format!(
        r#"{{"freshet":1,"kind":"value","cache":"rates","key":"b","text":"y","start":{now},"ttl":60000}}"#
    );
    redis.xadd("bus", &[("freshet", &said)]).unwrap();
    app.until_get("/v1/rates/b", "hit y");
    assert_eq!(app.get("/v1/rates/a"), "hit x");
    let status = app.sidecar.status().unwrap();
    let sources = &status["sources"];
    assert_eq!(
        (&sources["cdc"]["state"], &sources["bus"]["state"]),
        (&"Disconnected".into(), &"Fresh".into()),
        "{status}"
    );
    assert_eq!(sources["cdc"]["transport"], "postgresNotify");
}

/// A pooler that lends its connections for a transaction answers everything, and lets no notification through.
#[test]
fn a_pooler_is_told_and_never_believed() {
    let postgres = Postgres::start().unwrap();
    postgres.execute(TABLES).unwrap();
    let pooler = PgBouncer::start(&postgres, Lent::Transaction).unwrap();
    let mut app = App { sidecar: sidecar(pooler.address(), "") };
    app.until_reason("LISTEN needs a session of its own");
    assert!(app.get_now("/v1/products/1").starts_with("stale"));
    assert_eq!(app.entries().unwrap(), 0);
}

#[test]
fn a_pooler_that_lends_for_a_session_is_as_good_as_the_server() {
    let postgres = Postgres::start().unwrap();
    postgres.execute(TABLES).unwrap();
    postgres.execute(&triggers()).unwrap();
    let pooler = PgBouncer::start(&postgres, Lent::Session).unwrap();
    let mut app = App { sidecar: sidecar(pooler.address(), "") };
    app.until_fresh();
    app.until_fills_last();
    app.fill("/v1/pages/all", "x");
    assert_eq!(app.get("/v1/pages/all"), "hit x");
    postgres.execute("UPDATE inventory.product SET name = 'plum' WHERE id = 1").unwrap();
    app.until_get("/v1/pages/all", "miss");
    assert_eq!(app.breaks(), [""; 0]);
}

/// Without the triggers nobody tells of anything; what is mistaken in the URL is told.
#[test]
fn a_wrong_password_is_told_and_one_that_is_mended_is_taken() {
    let postgres = Postgres::start().unwrap();
    postgres.execute("CREATE ROLE freshet LOGIN PASSWORD 'hush'").unwrap();
    postgres.admit("host all postgres all trust\nhost all all all scram-sha-256").unwrap();
    let text = manifest_over(&source("a"), CACHES, "");
    let url =
        |password: &str| format!("postgres://freshet:{password}@127.0.0.1:{}/postgres", postgres.port());
    let sidecar = Sidecar::builder(executable(), &text).secret("db", "url", &url("wrong")).start().unwrap();
    let mut app = App { sidecar };
    app.until_reason("refuses the credentials");
    assert!(!app.sidecar.log().contains("wrong"), "{}", app.sidecar.log());
    app.sidecar.change_secret("db", "url", &url("hush")).unwrap();
    app.until_fresh();
    app.sidecar
        .until("the error is gone", SOON, |sidecar| {
            let status = sidecar.status()?;
            ensure!(status["sources"]["cdc"]["reason"].is_null(), "{status}");
            Ok(())
        })
        .unwrap();
}
