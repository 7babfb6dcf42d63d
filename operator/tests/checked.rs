//! `freshet-operator check` as a program: its lines, its exit codes, and a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use freshet_e2e::process::Postgres;

const SHOP: &str = include_str!("../../crds/tests/shop.yaml");

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_freshet-operator")).args(arguments).output().unwrap()
}

/// A folder with a binding and the settings that are generated for it, their publication and slot named `name`.
fn folder(name: &str) -> tempfile::TempDir {
    folder_of(SHOP, name)
}

/// The same of another binding.
fn folder_of(binding: &str, name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), binding).unwrap();
    let binding = folder.path().join("shop.yaml").display().to_string();
    let generated = String::from_utf8(run(&["debezium", "--binding", &binding]).stdout).unwrap();
    fs::write(folder.path().join("application.properties"), generated.replace("freshet_shop", name)).unwrap();
    folder
}

/// The exit code and the lines, in which the settings' file is named `f`.
fn check(folder: &Path, further: &[&str]) -> (i32, Vec<String>) {
    let path = |name: &str| folder.join(name).display().to_string();
    let (binding, settings) = (path("shop.yaml"), path("application.properties"));
    let output = run(&[&["check", "--binding", &binding, "--debezium", &settings], further].concat());
    let said = String::from_utf8(output.stdout).unwrap().replace(&settings, "f");
    let code = output.status.code().unwrap();
    let said =
        if code == 2 { String::from_utf8(output.stderr).unwrap().replace(&settings, "f") } else { said };
    (code, said.lines().map(str::to_owned).collect())
}

#[test]
fn what_is_generated_passes_and_what_is_broken_does_not() {
    let folder = folder("freshet_shop");
    assert_eq!(check(folder.path(), &[]), (0, vec![]));
    let path = folder.path().join("application.properties");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("skipped.operations=none", "skipped.operations=t")).unwrap();
    let line = 1 + good.lines().position(|line| line.contains("skipped.operations")).unwrap();
    let wanted = format!(
        "error: f:{line}: truncates are skipped: caches never hear of them: set debezium.source.skipped.operations=none"
    );
    assert_eq!(check(folder.path(), &[]), (1, vec![wanted]));
    fs::write(&path, good.replace("poll.interval.ms=5", "poll.interval.ms=900")).unwrap();
    let (code, lines) = check(folder.path(), &[]);
    assert!(code == 0 && lines.len() == 1 && lines[0].starts_with("warning: f:"), "{lines:?}");
}

#[test]
fn what_cannot_be_read_is_told_apart() {
    let folder = folder("freshet_shop");
    let (code, lines) = check(folder.path(), &["--source", "none"]);
    assert!(code == 2 && lines[0].contains("no source `none`; its sources are cdc"), "{lines:?}");
    let (code, lines) = check(folder.path(), &["--database-url", "postgres://hush:secret@127.0.0.1:1/x"]);
    assert!(code == 2 && lines[0].contains("can't be asked") && !lines[0].contains("secret"), "{lines:?}");
    let (code, lines) = check(folder.path(), &["--database-url", "secret"]);
    assert!(
        code == 2 && lines[0].contains("the URL isn't postgres://") && !lines[0].contains("secret"),
        "{lines:?}"
    );
    fs::write(folder.path().join("application.properties"), "a=1\nb=\\uXX\n").unwrap();
    assert_eq!(
        check(folder.path(), &[]),
        (2, vec!["f: line 2: \\u is followed by four hexadecimal digits".into()])
    );
    fs::write(folder.path().join("shop.yaml"), SHOP.replace("ttl: 10m", "tl: 10m")).unwrap();
    let (code, lines) = check(folder.path(), &[]);
    assert!(code == 2 && lines[0].contains("unknown field") && lines[0].contains("at line "), "{lines:?}");
    fs::remove_file(folder.path().join("application.properties")).unwrap();
    assert_eq!(check(folder.path(), &[]).0, 2);
}

#[test]
fn a_real_postgres_is_compared() {
    let postgres = Postgres::start().unwrap();
    postgres
        .execute(
            "CREATE SCHEMA inventory; CREATE TABLE inventory.category (id int, name text); \
             CREATE TABLE inventory.product (id int PRIMARY KEY, note text) PARTITION BY RANGE (id); \
             CREATE TABLE inventory.\"Product_0\" PARTITION OF inventory.product FOR VALUES FROM (100) TO (200); \
             ALTER TABLE inventory.\"Product_0\" REPLICA IDENTITY NOTHING; \
             CREATE TABLE inventory.product_1 PARTITION OF inventory.product FOR VALUES FROM (0) TO (100); \
             CREATE TABLE inventory.other (id int PRIMARY KEY); \
             CREATE PUBLICATION bad FOR TABLE inventory.product, inventory.other WITH (publish = 'insert, update'); \
             CREATE PUBLICATION filtered FOR TABLE inventory.product (id), inventory.category WHERE (id > 5) \
               WITH (publish_via_partition_root = true); \
             CREATE PUBLICATION good FOR TABLE inventory.product, inventory.category \
               WITH (publish_via_partition_root = true);",
        )
        .unwrap();
    let found = |publication: &str| {
        let folder = folder(publication);
        check(folder.path(), &["--database-url", &postgres.url()])
    };
    let says = |lines: &[String], wanted: &str| {
        assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted}: {lines:#?}");
    };
    let (code, lines) = found("bad");
    assert_eq!(code, 1);
    for wanted in [
        "error: database: the heartbeat's sequence isn't there",
        "error: database: the publication bad doesn't send deletes",
        "error: database: the publication bad doesn't send truncates",
        "error: database: inventory.category isn't in the publication bad",
        "error: database: inventory.category has no replica identity",
        "error: database: inventory.product is partitioned",
        "error: database: inventory.Product_0, a partition of inventory.product, has no replica identity",
        "ALTER TABLE inventory.\"Product_0\" REPLICA IDENTITY FULL",
        "hint: database: the replication slot isn't there yet",
    ] {
        says(&lines, wanted);
    }
    assert_eq!(lines.len(), 8, "{lines:#?}");
    postgres
        .execute(
            "CREATE SEQUENCE public.freshet_hb; ALTER TABLE inventory.category REPLICA IDENTITY FULL; \
             ALTER TABLE inventory.\"Product_0\" REPLICA IDENTITY DEFAULT",
        )
        .unwrap();
    let (code, lines) = found("filtered");
    assert_eq!(code, 1);
    says(&lines, "error: database: only rows of inventory.category with (id > 5)");
    says(&lines, "warning: database: columns of inventory.product aren't published: note");
    let (code, lines) = found("none");
    assert_eq!(code, 1);
    says(
        &lines,
        "error: database: the publication isn't there: CREATE PUBLICATION none FOR TABLE inventory.product",
    );
    postgres.query("SELECT pg_create_logical_replication_slot('good', 'pgoutput')").unwrap();
    postgres.execute("ALTER TABLE inventory.category ADD PRIMARY KEY (id)").unwrap();
    assert_eq!(found("good"), (0, vec![]));
}

#[test]
fn a_real_postgres_is_asked_for_what_views_over_rows_need() {
    let postgres = Postgres::start().unwrap();
    postgres
        .execute(
            "CREATE SCHEMA inventory; CREATE TABLE inventory.category (id int PRIMARY KEY); \
             CREATE TABLE inventory.product (id int PRIMARY KEY, price int); \
             CREATE SEQUENCE public.freshet_hb; \
             CREATE PUBLICATION good FOR TABLE inventory.product, inventory.category \
               WITH (publish_via_partition_root = true)",
        )
        .unwrap();
    postgres.query("SELECT pg_create_logical_replication_slot('good', 'pgoutput')").unwrap();
    let ranked = [
        ("topicPrefix: shop", "stream: shop.cdc"),
        ("heartbeat: Debezium", "heartbeat: Database"),
        ("    ttl: 10m", "    onChange: Hydrate\n    warmStart: true"),
        ("  memory: 64Mi", "  memory: 64Mi\n  views: [{name: top, cache: products, orderBy: /price}]"),
    ];
    let binding = ranked.iter().fold(SHOP.to_owned(), |text, (from, to)| text.replace(from, to));
    let folder = folder_of(&binding, "good");
    let (code, lines) = check(folder.path(), &["--database-url", &postgres.url()]);
    assert!(code == 0 && lines.len() == 1, "{lines:#?}");
    let missing =
        "warning: database: the table public.freshet_signal isn't there: no snapshot can be asked for: ";
    let remedy = lines[0].strip_prefix(missing).unwrap();
    // What it says to do is enough.
    postgres.execute(remedy.split_once("; ").unwrap().0).unwrap();
    let (_, lines) = check(folder.path(), &["--database-url", &postgres.url()]);
    assert!(
        lines.len() == 1 && lines[0].contains("freshet_signal isn't in the publication good"),
        "{lines:#?}"
    );
    postgres.execute(remedy.split_once("; ").unwrap().1).unwrap();
    assert_eq!(check(folder.path(), &["--database-url", &postgres.url()]), (0, vec![]));
    postgres
        .execute(
            "ALTER TABLE inventory.product RENAME price TO prize; ALTER TABLE inventory.product DROP CONSTRAINT product_pkey; \
             ALTER TABLE inventory.product ADD PRIMARY KEY (prize, id)",
        )
        .unwrap();
    let (code, lines) = check(folder.path(), &["--database-url", &postgres.url()]);
    assert_eq!(code, 1);
    assert!(lines[0].contains("the primary key of inventory.product is (id, prize)"), "{lines:#?}");
    assert!(lines[1].contains("has no column price, which the view top goes by"), "{lines:#?}");
}

#[test]
fn a_postgres_that_wants_tls_is_told_apart() {
    let postgres = Postgres::start().unwrap();
    let folder = folder("freshet_shop");
    let says = |url: &str, wanted: &str| {
        let (code, lines) = check(folder.path(), &["--database-url", url]);
        assert!(code == 2 && lines[0].contains("connects without TLS: let it in so"), "{lines:?}");
        assert!(lines[0].contains(wanted), "{lines:?}");
    };
    let url = postgres.url();
    says(&format!("{url}?sslmode=require"), "the database can't be asked");
    let rules = postgres.query("SHOW hba_file").unwrap()[0][0].clone().unwrap();
    fs::write(rules, "hostssl all all all trust\n").unwrap();
    postgres.query("SELECT pg_reload_conf()").unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while check(folder.path(), &["--database-url", &url]).0 != 2 {
        assert!(std::time::Instant::now() < deadline, "the rules aren't read");
    }
    says(&url, "no pg_hba.conf entry");
}
