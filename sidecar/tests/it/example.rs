//! `examples/shop` on this machine: its tables, its binding and its program, behind the real Debezium.

use std::{fs, path::Path, time::Duration};

use anyhow::{Result, ensure};
use freshet_e2e::{
    cluster::shop_binary,
    command::{VERB, output, program, said},
    process::{
        Child, Debezium, Port, Postgres, Redis, Sidecar,
        debezium::Settings,
        http::{self, Response, Target},
        until,
    },
};
use serde_json::Value;
use tempfile::TempDir;

use crate::shop::{Shop, executable};

/// How many replicas there are where there are several, and how often what they show changes.
const REPLICAS: usize = 4;
const COMMITS: usize = 10;

/// How long anything may take that waits for two looks of the audit and a heartbeat.
const LATER: Duration = Duration::from_mins(1);

fn example(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Replaces what is there once.
fn with(text: &str, old: &str, new: &str) -> String {
    assert_eq!(text.matches(old).count(), 1, "{old} in {text}");
    text.replace(old, new)
}

/// The statements that the example's Postgres is made with.
fn schema() -> String {
    let file = example("pipeline/20-postgres.yaml");
    let (_, rest) = file.split_once("10-shop.sql: |\n").unwrap();
    rest.split_once("  20-debezium.sh").unwrap().0.to_owned()
}

/// Its database, and what brings changes from there.
fn pipeline() -> (Postgres, Redis, Debezium) {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    postgres.execute(&schema()).unwrap();
    let settings = Settings::default().table("inventory.product").table("inventory.category");
    let debezium = Debezium::start(settings, &postgres, &redis).unwrap();
    (postgres, redis, debezium)
}

/// Its binding, for a replica whose program is asked for what it would fill at this port.
fn binding(redis: &Redis, checks: &Port) -> String {
    let binding = with(&example("shop/00-binding.yaml"), "redis://redis:6379", &redis.url());
    with(&binding, "127.0.0.1:8081", &checks.address().to_string())
}

/// How its program reaches the database.
fn database(postgres: &Postgres) -> [(&'static str, String); 4] {
    let port = postgres.port().to_string();
    let user = "postgres".to_owned();
    [("PGHOST", "127.0.0.1".to_owned()), ("PGPORT", port), ("PGUSER", user.clone()), ("PGDATABASE", user)]
}

/// The example's program, beside a sidecar.
struct App {
    child: Child,
    api: Port,
    checks: Port,
    _folder: TempDir,
}

impl App {
    fn start(sidecar: &Sidecar, postgres: &Postgres, checks: Port) -> Self {
        let mut environment = database(postgres).to_vec();
        let socket = sidecar.folder().join("freshet.sock");
        environment.push(("FRESHET_SOCKET", socket.to_str().unwrap().to_owned()));
        let address = checks.address().to_string();
        let mut app = Self::spawn(checks, &address, &environment);
        let ready = Target::Tcp(app.api.address());
        app.child.await_ready(LATER, || http::get(&ready, "/ready").map(drop)).unwrap();
        app
    }

    fn spawn(checks: Port, listen_for_checks: &str, environment: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let api = Port::free().unwrap();
        let mut command = Child::command(shop_binary().unwrap());
        command.envs(environment.iter().cloned()).env("SHOP_CHECK", listen_for_checks);
        command.env("SHOP_LISTEN", api.address().to_string());
        let child = Child::spawn("shop", command, &folder.path().join("log")).unwrap();
        Self { child, api, checks, _folder: folder }
    }

    /// What `path` reads through the cache, and from where.
    fn read(&self, path: &str) -> Result<(String, Value)> {
        let mut read = http::get(&Target::Tcp(self.api.address()), path)?.json()?;
        Ok((read["source"].as_str().unwrap_or_default().to_owned(), read["product"].take()))
    }

    /// Reads until it is cached.
    fn cached(&self, path: &str) -> Value {
        until(&format!("{path} is cached"), LATER, || {
            let (source, value) = self.read(path)?;
            ensure!(source == "cache", "it came from the {source}");
            Ok(value)
        })
        .unwrap()
    }

    /// What it says that it would fill.
    fn check(&self, query: &str) -> Response {
        http::get(&Target::Tcp(self.checks.address()), &format!("/freshet/check?{query}")).unwrap()
    }

    fn would_fill(&self, id: u32) -> String {
        let answer = self.check(&format!("cache=products&key={id}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text()
    }
}

/// All of it.
struct Stage {
    app: App,
    shop: Shop,
    debezium: Debezium,
    postgres: Postgres,
}

impl Stage {
    fn open() -> Self {
        let (postgres, redis, debezium) = pipeline();
        let checks = Port::free().unwrap();
        let binding = with(&binding(&redis, &checks), "sample: 100%", "sample: 100%\n    delay: 2s");
        // Debezium stands still here for as long as the test takes for something.
        let binding = with(&binding, "maxStaleness: 10s", "maxStaleness: 2m");
        let shop = Shop::with(redis, Sidecar::builder(executable(), &binding));
        let app = App::start(&shop.sidecar, &postgres, checks);
        Self { app, shop, debezium, postgres }
    }

    fn set_price(&self, id: u32, price: &str) {
        let update = format!("UPDATE inventory.product SET price = {price} WHERE id = {id}");
        self.postgres.execute(&update).unwrap();
    }

    /// Fills what was read before the price changed, as an application does whose read began a moment earlier.
    fn fill_from_before(&self, id: u32, price: &str) -> String {
        let path = format!("/v1/products/{id}");
        let (lease, old) = (self.shop.lease(&path), self.app.would_fill(id));
        self.set_price(id, price);
        assert_ne!(self.app.would_fill(id), old);
        assert_eq!(self.shop.put(&path, &lease, &old), 204);
        old
    }

    /// Fills a product as it is, so that it is drawn, and waits until that was found to be right: what was drawn before
    /// has been looked at then.
    fn until_right(&self, id: u32) {
        let path = format!("/v1/products/{id}");
        let before = self.audit("products")["outcomes"]["consistent"].as_u64();
        self.shop.fill(&path, &self.app.would_fill(id));
        until(&format!("{path} is right"), LATER, || {
            // What is filled right after a change is held off.
            if self.shop.get(&path) == "miss" {
                self.shop.fill(&path, &self.app.would_fill(id));
            }
            let audit = self.audit("products");
            ensure!(audit["outcomes"]["consistent"].as_u64() > before, "{audit}");
            Ok(())
        })
        .unwrap();
    }

    fn audit(&self, cache: &str) -> Value {
        self.shop.sidecar.status().unwrap()["caches"][cache]["audit"].take()
    }

    fn until_outcome(&mut self, cache: &str, outcome: &str, times: u64) -> Value {
        self.shop
            .sidecar
            .until(&format!("{cache}: {times} {outcome}"), LATER, |sidecar| {
                let audit = sidecar.status()?["caches"][cache]["audit"].take();
                ensure!(audit["outcomes"][outcome].as_u64() >= Some(times), "{audit}");
                Ok(audit)
            })
            .unwrap()
    }
}

/// One pipeline, one story: Debezium's start is most of what takes time here.
#[test]
fn the_example_s_audit_finds_what_is_wrong_and_nothing_else() {
    let mut stage = Stage::open();
    answers_what_it_fills(&stage.app);
    finds_that_all_is_right(&mut stage);
    takes_no_change_under_way_for_a_wrong_value(&mut stage);
    finds_a_lost_change_and_a_wrong_fill(&mut stage);
}

fn answers_what_it_fills(app: &App) {
    assert_eq!(app.would_fill(1).parse::<Value>().unwrap()["name"], "apple");
    let absent = app.check("cache=products&key=999");
    assert_eq!((absent.status, absent.header("freshet-absent")), (404, Some("?1")), "{absent:?}");
    for (query, says) in [
        ("cache=prodcts&key=1", "fills nothing into a cache \"prodcts\""),
        // Rows come from the changes: there is nothing that the app would fill.
        ("cache=product-rows&key=1", "fills nothing"),
        ("cache=products&key=007", "not \"007\""),
        ("cache=products&key=%2B1", "not \"+1\""),
        ("cache=products&key=apple", "not \"apple\""),
        ("cache=pages", "a key of pages is an id"),
        ("", "fills nothing"),
    ] {
        let answer = app.check(query);
        assert!(answer.status == 400 && answer.text().contains(says), "{query}: {answer:?}");
    }
    // Where it serves, it shows nothing of this, and it can't be told to listen for everybody.
    let elsewhere =
        http::get(&Target::Tcp(app.api.address()), "/freshet/check?cache=products&key=1").unwrap();
    assert_eq!((elsewhere.status, elsewhere.header("freshet-absent")), (404, None));
    let mut open = App::spawn(Port::free().unwrap(), "0.0.0.0:0", &[]);
    let ended = open.child.wait(LATER).unwrap();
    assert!(!ended.success() && open.child.log().contains("is a loopback address"), "{}", open.child.log());
}

fn finds_that_all_is_right(stage: &mut Stage) {
    stage.set_price(3, "20.50");
    until("the hydrated row", LATER, || {
        let (source, row) = stage.app.read("/row/3")?;
        ensure!(source == "cache" && row["price"] == "20.50", "{row} from the {source}");
        Ok(())
    })
    .unwrap();
    for path in ["/product/1", "/product/2", "/product/999"] {
        stage.app.cached(path);
    }
    assert_eq!(stage.shop.get("/v1/products/1"), format!("hit {}", stage.app.would_fill(1)));
    until("a page is right", LATER, || {
        // Filled anew where it was held off, right after the change.
        stage.app.read("/page/1")?;
        let audit = stage.audit("pages");
        ensure!(audit["outcomes"]["consistent"].as_u64() > Some(0), "{audit}");
        Ok(())
    })
    .unwrap();
    for (cache, times) in [("products", 3), ("pages", 1), ("product-rows", 1)] {
        let audit = stage.until_outcome(cache, "consistent", times);
        for outcome in ["late", "inconsistent", "failed", "skipped", "unknown"] {
            assert_eq!(audit["outcomes"][outcome], 0, "{cache}: {audit}");
        }
        assert_eq!(audit["consistentRatio"], 1.0, "{audit}");
    }
}

fn takes_no_change_under_way_for_a_wrong_value(stage: &mut Stage) {
    stage.debezium.process().pause().unwrap();
    let old = stage.fill_from_before(1, "0.45");
    stage.until_right(2);
    // Looked at twice: the change is still under way.
    stage.until_right(2);
    assert_eq!(stage.shop.get("/v1/products/1"), format!("hit {old}"));
    assert_eq!(stage.audit("products")["outcomes"]["late"], 0);
    stage.debezium.process().resume().unwrap();
    let audit = stage.until_outcome("products", "late", 1);
    assert_eq!(audit["outcomes"]["inconsistent"], 0, "{audit}");
    assert_eq!(stage.app.cached("/product/1")["price"], "0.45");
    stage.until_right(1);
    let metrics = stage.shop.sidecar.metrics().unwrap();
    assert!(metrics.contains("freshet_audit_late_seconds_count{cache=\"products\"} 1\n"), "{metrics}");
}

fn finds_a_lost_change_and_a_wrong_fill(stage: &mut Stage) {
    let publication = stage.debezium.settings().slot();
    stage.postgres.execute(&format!("ALTER PUBLICATION {publication} DROP TABLE inventory.product")).unwrap();
    let old = stage.fill_from_before(1, "0.50");
    stage.shop.fill("/v1/products/2", "{\"name\":\"made up\"}");
    let right = stage.app.would_fill(3);
    stage.shop.fill("/v1/products/3", &right);
    assert_eq!(stage.shop.get("/v1/products/1"), format!("hit {old}"), "no number tells of the lost change");

    let audit = stage.until_outcome("products", "inconsistent", 2);
    assert_eq!(stage.shop.get("/v1/products/1"), "miss");
    assert_eq!(stage.shop.get("/v1/products/2"), "miss");
    assert_eq!(stage.shop.get("/v1/products/3"), format!("hit {right}"));
    assert_eq!((&audit["outcomes"]["inconsistent"], &audit["outcomes"]["late"]), (&2.into(), &1.into()));
    assert!(audit["consistentRatio"].as_f64() < Some(1.0), "{audit}");
    assert!(audit["lastInconsistentAgeMs"].is_u64(), "{audit}");
    let metrics = stage.shop.sidecar.metrics().unwrap();
    let line = "freshet_audits_total{cache=\"products\",outcome=\"inconsistent\"} 2";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
    let log = stage.shop.sidecar.log();
    assert_eq!(log.matches("a wrong value was served").count(), 2, "{log}");
    // Debezium follows the database a moment before all that it copied is written.
    let breaks = stage.shop.breaks();
    assert!(breaks.iter().all(|why| why == "snapshot-began"), "something else has noticed: {breaks:?}");
    assert_eq!(stage.app.cached("/product/1")["price"], "0.50");
}

/// No replica knows of another, and each shows what is committed: what `shop measure` waits for.
#[test]
fn every_replica_shows_every_commit() {
    let (postgres, redis, _debezium) = pipeline();
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        let checks = Port::free().unwrap();
        let mut sidecar = Sidecar::builder(executable(), &binding(&redis, &checks)).start().unwrap();
        sidecar
            .until("a replica is fresh", LATER, |sidecar| {
                let status = sidecar.status()?;
                ensure!(status["sources"]["cdc"]["state"] == "Fresh", "{status}");
                Ok(())
            })
            .unwrap();
        replicas.push((App::start(&sidecar, &postgres, checks), sidecar));
    }
    let measure = |replicas: &[(App, Sidecar)]| -> Vec<Value> {
        let mut command = program(shop_binary().unwrap());
        command.envs(database(&postgres)).args(["measure", "-runs", &COMMITS.to_string(), "-id", "1"]);
        command.args(replicas.iter().map(|(app, _)| format!("http://{}", app.api.address())));
        serde_json::from_str(&output(&mut command).unwrap()).unwrap()
    };
    let figures = measure(&replicas);
    assert_eq!(figures.len(), REPLICAS);
    // That it was shown is what holds; how long it took says more of the machine.
    eprintln!("from commit to fresh: {figures:?}");

    // One that has no cache any more reads the database, and the others go on.
    let (app, sidecar) = replicas.last_mut().unwrap();
    sidecar.kill().unwrap();
    postgres.execute("UPDATE inventory.product SET name = 'quince' WHERE id = 2").unwrap();
    let (source, product) = app.read("/product/2").unwrap();
    assert_eq!((source.as_str(), &product["name"]), ("database", &"quince".into()));
    assert_eq!(app.read("/product/999").unwrap(), ("database".to_owned(), Value::Null));
    assert_eq!(measure(&replicas[..REPLICAS - 1]).len(), REPLICAS - 1);
    reads_once(&postgres, &redis);
}

/// What a Job does: beside a sidecar that starts with it, it fills once and reads that.
fn reads_once(postgres: &Postgres, redis: &Redis) {
    let binding = with(&binding(redis, &Port::free().unwrap()), "readLag: 100ms", "readLag: 0s");
    let sidecar = Sidecar::builder(executable(), &binding).spawn().unwrap();
    let mut once = program(shop_binary().unwrap());
    once.args(["once", "1"]).envs(database(postgres));
    once.env("FRESHET_SOCKET", sidecar.folder().join("freshet.sock"));
    let said = said(&mut once, None, VERB).unwrap();
    assert!(said.status.success(), "{}", said.errors);
    // On a busy machine it may have given up waiting for the answer to its fill.
    assert!(said.errors.matches(", stored").count() <= 1, "filled once: {}", said.errors);
    assert!(said.errors.lines().last().unwrap().contains("product 1: cache"), "{}", said.errors);
}
