//! Each client's example, a web handler over Postgres: real Postgres, the real Debezium, Redis, the sidecar.

use std::time::Duration;

use anyhow::{Result, ensure};
use freshet_e2e::process::{
    Child, Debezium, Port, Postgres, Redis, Sidecar,
    debezium::Settings,
    http::{self, Response, Target},
    until,
};
use tempfile::TempDir;

use super::language::Language;
use crate::shop::{SOON, Shop, executable, manifest};

/// How long an example may take to start.
const START: Duration = Duration::from_mins(1);

const LANGUAGES: [Language; 5] =
    [Language::Python, Language::Node, Language::Go, Language::Java, Language::Rust];

/// A running example.
struct App {
    language: Language,
    listen: Port,
    _child: Child,
    _folder: TempDir,
}

impl App {
    fn start(language: Language, postgres: &Postgres, sidecar: &Sidecar) -> Self {
        let (folder, listen) = (tempfile::tempdir().unwrap(), Port::free().unwrap());
        let mut command = language.example().unwrap().server();
        let port = postgres.port();
        command.env("FRESHET_SOCKET", sidecar.folder().join("freshet.sock"));
        command.env("LISTEN", listen.address().to_string());
        command.env("DATABASE_URL", format!("postgres://postgres@127.0.0.1:{port}/postgres"));
        command.env("JDBC_URL", format!("jdbc:postgresql://127.0.0.1:{port}/postgres?user=postgres"));
        let mut child = Child::spawn("example", command, &folder.path().join("log")).unwrap();
        let target = Target::Tcp(listen.address());
        child.await_ready(START, || http::get(&target, "/products/x").map(drop)).unwrap();
        Self { language, listen, _child: child, _folder: folder }
    }

    fn get(&self, id: u32) -> Result<Response> {
        http::get(&Target::Tcp(self.listen.address()), &format!("/products/{id}"))
    }

    /// Waits until it answers so, from the cache.
    fn until(&self, id: u32, status: u16, text: &str) {
        until(&format!("{:?}: {status} {text} from the cache", self.language), SOON, || {
            let answer = self.get(id)?;
            ensure!(answer.status == status && answer.text().contains(text), "{answer:?}");
            ensure!(answer.header("x-cache") == Some("hit"), "{answer:?}");
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn every_example_reads_what_is_committed() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    postgres
        .execute(
            "CREATE SCHEMA inventory;
             CREATE TABLE inventory.product (id int PRIMARY KEY, name text, price numeric(10, 2));
             INSERT INTO inventory.product VALUES (1, 'hammer', 9.50)",
        )
        .unwrap();
    let settings = Settings::default();
    let place = format!("stream: {}", settings.stream("inventory.product"));
    let _debezium = Debezium::start(settings, &postgres, &redis).unwrap();
    let freshness = "  freshness: {maxStaleness: 30s, heartbeat: Database}";
    let caches = "\n  - {name: products, table: inventory.product, ttl: 10m}";
    let text = manifest(&redis, caches, freshness).replacen("topicPrefix: shop", &place, 1);
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    let apps = LANGUAGES.map(|language| App::start(language, &postgres, &shop.sidecar));
    for (id, app) in (100..).zip(&apps) {
        app.until(1, 200, "9.50");
        app.until(id, 404, "");
        postgres.execute(&format!("INSERT INTO inventory.product VALUES ({id}, 'saw', 1.00)")).unwrap();
        app.until(id, 200, "saw");
        postgres.execute(&format!("UPDATE inventory.product SET price = {id} WHERE id = {id}")).unwrap();
        app.until(id, 200, &format!("{id}.00"));
    }
    // What one language has stored another reads.
    postgres.execute("UPDATE inventory.product SET name = 'sledgehammer' WHERE id = 1").unwrap();
    for app in &apps {
        app.until(1, 200, "sledgehammer");
    }
    shop.sidecar.kill().unwrap();
    for app in &apps {
        let answer = app.get(1).unwrap();
        assert_eq!((answer.status, answer.header("x-cache")), (200, Some("unavailable")), "{answer:?}");
        assert!(answer.text().contains("sledgehammer"), "{answer:?}");
    }
}
