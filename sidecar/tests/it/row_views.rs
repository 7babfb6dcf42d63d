//! Views over all rows of a table, which a snapshot tells and the log keeps current.

use anyhow::{Context as _, ensure};
use freshet_e2e::process::{
    Debezium, MariaDb, Postgres, Redis, Sidecar,
    debezium::{Captured, Settings},
    http::Response,
    until,
};
use serde_json::Value;

use crate::shop::{SOON, executable, manifest_of};

const CACHES: &str = "
  - {name: accounts, table: bank.account, onChange: Hydrate, warmStart: true, columns: [id, owner, balance]}
  - {name: branches, table: bank.branch, onChange: Hydrate, warmStart: true}";
const VIEWS: &str = "  freshness: {maxStaleness: 1m, heartbeat: Database, readLag: 0s}
  views:
  - {name: rich, cache: accounts, orderBy: /balance, limit: 3}
  - {name: poor, cache: accounts, orderBy: /balance, order: Ascending, limit: 100, filter: [{pointer: /balance, atLeast: 10}]}
  - {name: branches, cache: branches, orderBy: /id, order: Ascending}";

/// What makes the tables, with three accounts and no branch.
const TABLES: &str = "
    CREATE TABLE bank.account (id int PRIMARY KEY, owner varchar(20), balance int, note varchar(20));
    CREATE TABLE bank.branch (id int PRIMARY KEY);
    INSERT INTO bank.account VALUES (1, 'ann', 10, 'x'), (2, 'bob', 30, 'x'), (3, 'cyd', 20, 'x');";

/// A database, Debezium, a Redis, and a sidecar with views over rows.
struct Bank<D> {
    sidecar: Sidecar,
    debezium: Debezium,
    redis: Redis,
    database: D,
}

fn postgres() -> Postgres {
    let postgres = Postgres::start().unwrap();
    postgres.execute(&format!("CREATE SCHEMA bank; {TABLES}")).unwrap();
    postgres
}

fn manifest(redis: &Redis) -> String {
    manifest_of(&format!("url: '{}', stream: shop.cdc", redis.url()), CACHES, VIEWS)
}

pub(crate) fn sidecar(redis: &Redis) -> Sidecar {
    crate::openapi::watch();
    Sidecar::builder(executable(), &manifest(redis)).start().unwrap()
}

fn view(sidecar: &Sidecar, path: &str) -> Response {
    sidecar.get(&format!("/v1/views/{path}")).unwrap()
}

/// What a view shows, or why it doesn't.
fn shown(sidecar: &Sidecar, path: &str) -> String {
    let answer = view(sidecar, path);
    match answer.status {
        200 => answer.text(),
        503 => {
            let problem = answer.json().unwrap();
            assert_eq!(problem["type"], "https://freshet.dev/problems/view-incomplete", "{problem}");
            problem["detail"].as_str().unwrap().to_owned()
        }
        status => format!("{status}: {}", answer.text()),
    }
}

fn until_shown(sidecar: &Sidecar, path: &str, expected: &str) {
    until(&format!("{path} shows {expected}"), SOON, || {
        let found = shown(sidecar, path);
        ensure!(found.contains(expected), "{found}");
        Ok(())
    })
    .unwrap();
}

/// The owners that a view shows, in its order.
fn owners(sidecar: &Sidecar, path: &str) -> anyhow::Result<String> {
    let found = shown(sidecar, path);
    let rows: Vec<Value> = serde_json::from_str(&found).context(found.clone())?;
    Ok(rows.iter().map(|row| row["owner"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" "))
}

fn until_owners(sidecar: &Sidecar, path: &str, expected: &str) {
    until(&format!("{path} shows {expected}"), SOON, || {
        let found = owners(sidecar, path)?;
        ensure!(found == expected, "{found}");
        Ok(())
    })
    .unwrap();
}

impl<D: Captured> Bank<D> {
    /// Debezium has read its first snapshot, and then the sidecar starts.
    fn open(settings: Settings, database: D) -> Self {
        let redis = Redis::start().unwrap();
        let debezium = Debezium::start(settings, &database, &redis).unwrap();
        Self { sidecar: sidecar(&redis), debezium, redis, database }
    }

    /// Asks for a snapshot once the log has been followed for longer than reads lag behind it and clocks are apart, by the
    /// transactions that heartbeats are.
    fn take_snapshot(&self) {
        let ends = || -> anyhow::Result<usize> {
            let entries: Vec<(String, Vec<String>)> =
                self.redis.command(&["XRANGE", "shop.cdc", "-", "+"])?;
            let is_end = |fields: &[String]| fields.iter().any(|field| field.contains("\"status\":\"END\""));
            Ok(entries.iter().filter(|(_, fields)| is_end(fields)).count())
        };
        let before = ends().unwrap();
        until("heartbeats have come", SOON, || {
            let now = ends()?;
            ensure!(now >= before + 5, "{now} after {before}");
            Ok(())
        })
        .unwrap();
        let statement = self.debezium.settings().asks_for_snapshot(&["bank.account", "bank.branch"]);
        self.database.run(&statement).unwrap();
    }
}

#[test]
fn a_view_shows_the_table_as_its_transactions_leave_it() {
    let bank = Bank::open(Settings::default().snapshots_told(), postgres());
    let Bank { sidecar, database, .. } = &bank;
    until_shown(
        sidecar,
        "rich",
        "[{\"id\":2,\"owner\":\"bob\",\"balance\":30},{\"id\":3,\"owner\":\"cyd\",\"balance\":20},{\"id\":1,\"owner\":\"ann\",\"balance\":10}]",
    );
    // A table without rows is whole, too.
    until_shown(sidecar, "branches", "[]");
    let answer = view(sidecar, "rich?n=1");
    assert_eq!(answer.text(), "[{\"id\":2,\"owner\":\"bob\",\"balance\":30}]");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let etag = answer.header("etag").unwrap();
    let again = sidecar.request("GET", "/v1/views/rich?n=1", &[("if-none-match", etag)], b"").unwrap();
    assert_eq!((again.status, again.header("etag")), (304, Some(etag)));
    assert_eq!(view(sidecar, "rich?n=4").status, 400);

    // A writer reads its own write.
    database.execute("INSERT INTO bank.account VALUES (4, 'dan', 25, 'y')").unwrap();
    let lsn = database.query("SELECT pg_current_wal_insert_lsn()").unwrap()[0][0].clone().unwrap();
    let wanted = format!("cdc=\"lsn:{lsn}\"");
    let headers = [("freshet-min-position", wanted.as_str())];
    let waits = [headers[0], ("prefer", "wait=15")];
    let answer = sidecar.request("GET", "/v1/views/rich?n=2", &waits, b"").unwrap();
    assert!(answer.text().contains("dan"), "{answer:?}");
    let later = [("freshet-min-position", "cdc=\"lsn:FFFF/0\""), ("prefer", "wait=0.1")];
    let answer = sidecar.request("GET", "/v1/views/rich", &later, b"").unwrap();
    assert!(answer.status == 503 && answer.text().contains("Freshet-Min-Position"), "{answer:?}");
    database.execute("DELETE FROM bank.account WHERE id = 2").unwrap();
    until_owners(sidecar, "rich", "dan cyd ann");
    database.execute("UPDATE bank.account SET id = 9 WHERE id = 1").unwrap();
    until_shown(sidecar, "poor", "[{\"id\":9,\"owner\":\"ann\",\"balance\":10}");
    database.execute("UPDATE bank.account SET balance = 9 WHERE id = 9").unwrap();
    until_owners(sidecar, "poor", "cyd dan");
    // Another definition ranks the rows that are there; so does one of the cache that keeps the same of each.
    let text = manifest(&bank.redis);
    let text = text.replace(
        "{name: rich, cache: accounts, orderBy: /balance, limit: 3}",
        "{name: first, cache: accounts, orderBy: /owner, order: Ascending}",
    );
    sidecar.rebind(&text.replace("{name: accounts,", "{name: accounts, ttl: 1m,")).unwrap();
    until("there is another view", SOON, || {
        let answer = view(sidecar, "first");
        ensure!(answer.status != 404, "{answer:?}");
        assert_eq!(answer.text().matches("owner").count(), 3, "{answer:?}");
        Ok(())
    })
    .unwrap();
    assert_eq!(owners(sidecar, "first").unwrap(), "ann cyd dan");
    assert_eq!((view(sidecar, "rich").status, owners(sidecar, "poor").unwrap().as_str()), (404, "cyd dan"));
    sidecar.rebind(&manifest(&bank.redis)).unwrap();
    until_owners(sidecar, "rich", "dan cyd ann");
    database.execute("INSERT INTO bank.branch VALUES (2), (1)").unwrap();
    until_shown(sidecar, "branches", "[{\"id\":1},{\"id\":2}]");
    database.execute("TRUNCATE bank.account").unwrap();
    until_owners(sidecar, "rich", "");
    let status = sidecar.status().unwrap();
    let view = &status["views"]["rich"];
    assert_eq!(
        (&view["rows"], &view["items"], &view["why"]),
        (&0.into(), &0.into(), &Value::Null),
        "{status}"
    );
    assert!(view["wholeForMs"].is_u64() && view["cache"] == "accounts", "{status}");
    assert!(sidecar.metrics().unwrap().contains("freshet_view_whole{view=\"rich\"} 1.0"));
    assert_eq!(status["sources"]["cdc"]["epochChanges"], serde_json::json!({}), "notifications void nothing");

    // With less memory than rows take the largest table has to go.
    database.execute("INSERT INTO bank.branch SELECT generate_series(10, 1500)").unwrap();
    until("the rows are there", SOON, || {
        let status = sidecar.status()?;
        ensure!(status["views"]["branches"]["rows"] == 1_493, "{status}");
        Ok(())
    })
    .unwrap();
    sidecar
        .rebind(&format!("{}\n  memory: 1Mi\n  sidecar: {{maxValue: 512Ki}}", manifest(&bank.redis)))
        .unwrap();
    until_shown(sidecar, "branches", "views hold at most 262144 bytes");
    assert_eq!(shown(sidecar, "rich"), "[]");
}

/// Money goes round: whatever a reader sees, there is as much of it as ever.
#[test]
fn a_view_never_has_half_of_a_transaction_while_debezium_is_killed_and_begins_anew() {
    let mut bank = Bank::open(Settings::default().snapshots_told(), postgres());
    until_owners(&bank.sidecar, "poor", "ann cyd bob");
    let look = |sidecar: &Sidecar| -> Option<String> {
        let answer = view(sidecar, "rich");
        let text = answer.text();
        if answer.status == 503 {
            return None;
        }
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
        let sum: i64 = rows.iter().map(|row| row["balance"].as_i64().unwrap()).sum();
        assert_eq!(sum, 60, "{text}");
        Some(text)
    };
    let moves = |from: i64, to: i64| {
        format!(
            "BEGIN; UPDATE bank.account SET balance = balance - 7 WHERE id = {from};
             UPDATE bank.account SET balance = balance + 7 WHERE id = {to}; COMMIT"
        )
    };
    let mut seen = 0;
    for round in 0..40 {
        bank.database.execute(&moves(round % 3 + 1, (round + 1) % 3 + 1)).unwrap();
        for _ in 0..10 {
            seen += usize::from(look(&bank.sidecar).is_some());
        }
        if round == 20 {
            bank.debezium.kill().unwrap();
            bank.debezium.launch().unwrap();
        }
    }
    assert!(seen > 100, "{seen}");
    let expected = "UPDATE bank.account SET owner = 'eve' WHERE id = 3";
    bank.database.execute(expected).unwrap();
    until("all is applied", SOON * 4, || {
        // Without a pause: what was written while Debezium was gone comes now.
        let found = (0..100).find_map(|_| look(&bank.sidecar).filter(|found| found.contains("eve")));
        ensure!(found.is_some(), "{:?}", look(&bank.sidecar));
        Ok(())
    })
    .unwrap();
    let rows = bank.database.query("SELECT owner FROM bank.account ORDER BY balance DESC, id").unwrap();
    let rows: Vec<_> = rows.iter().map(|row| row[0].clone().unwrap()).collect();
    assert_eq!(owners(&bank.sidecar, "rich").unwrap(), rows.join(" "));
}

#[test]
fn after_a_loss_a_view_waits_for_a_snapshot_that_is_asked_for_while_debezium_runs() {
    let bank = Bank::open(Settings::default().snapshots_told(), postgres());
    let Bank { sidecar: first, database, redis, .. } = &bank;
    until_owners(first, "rich", "bob cyd ann");
    let _: () = redis.command(&["DEL", "shop.cdc"]).unwrap();
    until_shown(first, "rich", "ask Debezium for a snapshot");
    assert_eq!(view(first, "rich").header("retry-after"), Some("30"));
    database.execute("UPDATE bank.account SET balance = 99 WHERE id = 1").unwrap();
    // Whoever starts now finds no snapshot either.
    let second = sidecar(redis);
    until_shown(&second, "rich", "ask Debezium for a snapshot");
    bank.take_snapshot();
    for sidecar in [first, &second] {
        until_owners(sidecar, "rich", "ann bob cyd");
    }
    // It is in the stream, and good for everyone who reads it from there.
    database.execute("UPDATE bank.account SET balance = 50 WHERE id = 3").unwrap();
    let third = sidecar(redis);
    for sidecar in [first, &second, &third] {
        until_owners(sidecar, "rich", "ann cyd bob");
    }
    // Without the entries before it nobody knows what it may not have seen.
    let entries: Vec<(String, Vec<String>)> = redis.command(&["XRANGE", "shop.cdc", "-", "+"]).unwrap();
    let started =
        entries.iter().find(|(_, fields)| fields.iter().any(|f| f.contains("\"STARTED\""))).unwrap();
    let _: u64 = redis.command(&["XTRIM", "shop.cdc", "MINID", &started.0]).unwrap();
    let fourth = sidecar(redis);
    until_shown(&fourth, "rich", "began before the log had been followed for freshness.readLag");
    assert_eq!(owners(first, "rich").unwrap(), "ann cyd bob", "who has read them isn't concerned");
    // A loss of entries before they were read.
    let _: () = redis.command(&["DEL", "shop.cdc"]).unwrap();
    until_shown(first, "rich", "ask Debezium for a snapshot");
}

#[test]
fn without_notifications_a_view_says_what_it_needs() {
    let bank = Bank::open(Settings::default(), postgres());
    until_shown(
        &bank.sidecar,
        "rich",
        "no snapshot of its table has been read that says how many rows there are",
    );
    bank.database.execute("UPDATE bank.account SET balance = 50 WHERE id = 3").unwrap();
    until("the row is there", SOON, || {
        let answer = bank.sidecar.get("/v1/accounts/3")?;
        ensure!(answer.status == 200, "{}", answer.status);
        Ok(())
    })
    .unwrap();
    assert_eq!(view(&bank.sidecar, "rich").status, 503);
}

#[test]
fn views_of_mariadb_s_rows_are_whole_after_a_snapshot_that_is_asked_for() {
    let database = MariaDb::start().unwrap();
    database.execute(&format!("CREATE DATABASE bank; {TABLES}")).unwrap();
    let bank = Bank::open(Settings::mariadb().snapshots_told(), database);
    let Bank { sidecar, database, .. } = &bank;
    until_shown(sidecar, "rich", "ask Debezium for a snapshot");
    bank.take_snapshot();
    until_owners(sidecar, "rich", "bob cyd ann");
    database.execute("UPDATE bank.account SET balance = 99 WHERE id = 1").unwrap();
    until_owners(sidecar, "rich", "ann bob cyd");
    database.execute("TRUNCATE bank.account").unwrap();
    until_owners(sidecar, "rich", "");
    database.execute("INSERT INTO bank.account VALUES (5, 'eve', 5, 'x')").unwrap();
    until_owners(sidecar, "rich", "eve");
    database.execute("ALTER TABLE bank.account ADD COLUMN more int").unwrap();
    until_shown(sidecar, "rich", "ask Debezium");
}
