//! `freshet-operator triggers`, run as a program, and what it prints on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

use std::{
    process::{Command, Output},
    time::Duration,
};

use freshet_e2e::process::Postgres;
use postgres::fallible_iterator::FallibleIterator as _;

const BINDING: &str = "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {name: shop}
spec:
  sources:
  - {name: db, postgresNotify: {url: 'postgres://db/shop', channel: \"the shop's\"}}
  - {name: cdc, redisStream: {url: 'redis://redis', stream: cdc}}
  caches:
  - {name: products, source: db, table: shop.inventory.product}
  - {name: pages, source: db, dependsOn: ['inventory.product', 'Inventory.Category\"']}
  - {name: rows, source: cdc, table: inventory.unheard}
";

fn run(source: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yaml");
    std::fs::write(&file, BINDING).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshet-operator"));
    command.arg("triggers").arg("--binding").arg(&file).args(source).output().unwrap()
}

#[test]
fn what_is_printed_can_be_run_again_and_tells_the_channel() {
    let printed = run(&["--source", "db"]);
    assert!(printed.status.success(), "{printed:?}");
    let sql = String::from_utf8(printed.stdout).unwrap();
    let database = Postgres::start().unwrap();
    let tables = "CREATE SCHEMA inventory; CREATE TABLE inventory.product (id int PRIMARY KEY); \
                  CREATE SCHEMA \"Inventory\"; CREATE TABLE \"Inventory\".\"Category\"\"\" (a int, b text, PRIMARY KEY (b, a)); \
                  CREATE TABLE inventory.unheard (id int PRIMARY KEY)";
    database.execute(tables).unwrap();
    for _ in 0..2 {
        database.execute(&sql).unwrap();
    }
    let mut session = database.client().unwrap();
    session.batch_execute("LISTEN \"the shop's\"").unwrap();
    for statement in [
        "INSERT INTO inventory.unheard VALUES (1)",
        "INSERT INTO inventory.product VALUES (7)",
        "INSERT INTO \"Inventory\".\"Category\"\"\" VALUES (1, 'x')",
    ] {
        database.execute(statement).unwrap();
    }
    let mut notifications = session.notifications();
    let mut heard = notifications.timeout_iter(Duration::from_secs(10));
    let mut next = || heard.next().unwrap().unwrap().payload().to_owned();
    assert_eq!(
        [next(), next()],
        [
            r#"{"freshet":1,"kind":"change","table":"inventory.product","op":"insert","key":{"id" : 7}}"#,
            r#"{"freshet":1,"kind":"change","table":"Inventory.Category\"","op":"insert","key":{"b" : "x", "a" : 1}}"#,
        ]
    );
    // Taken back, nothing is told any more.
    database.execute("DROP SCHEMA freshet CASCADE").unwrap();
    database.execute("INSERT INTO inventory.product VALUES (8)").unwrap();
}

#[test]
fn a_table_that_is_no_table_is_told_and_nothing_is_installed() {
    let printed = run(&[]);
    let database = Postgres::start().unwrap();
    database.execute("CREATE SCHEMA inventory; CREATE VIEW inventory.product AS SELECT 1 AS id").unwrap();
    database
        .execute("CREATE SCHEMA \"Inventory\"; CREATE TABLE \"Inventory\".\"Category\"\"\" (a int)")
        .unwrap();
    let refused = database.execute(&String::from_utf8(printed.stdout).unwrap()).unwrap_err();
    assert!(format!("{refused:#}").contains("inventory.product isn't a table"), "{refused:#}");
    let made = database.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'freshet'").unwrap();
    assert_eq!(made, [[Some("0".to_owned())]]);
}

#[test]
fn another_source_has_no_triggers() {
    for (source, says) in [
        (&["--source", "cdc"][..], "the source `cdc` is a redisStream: triggers tell a postgresNotify"),
        (&["--source", "nope"], "its sources are db, cdc"),
    ] {
        let refused = run(source);
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("shop.yaml: ") && said.contains(says), "{said}");
    }
}
