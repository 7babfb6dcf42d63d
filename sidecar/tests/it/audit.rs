//! The audit, with an application that answers what it would fill.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use anyhow::ensure;
use freshet_e2e::process::{Redis, Sidecar, until};
use serde_json::Value;

use crate::{
    log::Log,
    shop::{SOON, Shop, executable, manifest},
};

const CACHES: &str = "
  - {name: products, table: inventory.product}
  - {name: rows, table: inventory.product, onChange: Hydrate}
  - {name: pages, dependsOn: [inventory.category]}";

/// An application's own endpoint, as an application would write it.
struct App {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By `<cache> <key>`, what it would fill.
    values: BTreeMap<String, String>,
    /// What was asked, as often as it was.
    asked: BTreeMap<String, u32>,
    /// Answered instead of anything else.
    status: Option<&'static str>,
}

impl App {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let app = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = Arc::clone(&app.state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || serve(&client, &state));
            }
        });
        app
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn set(&self, cache: &str, key: &str, value: &str) {
        self.state().values.insert(format!("{cache} {key}"), value.to_owned());
    }

    fn asked(&self, cache: &str, key: &str) -> u32 {
        self.state().asked.get(&format!("{cache} {key}")).copied().unwrap_or(0)
    }

    /// The spec's block that audits everything with this application.
    fn audit(&self) -> String {
        audit(&format!(", check: {{url: 'http://{}/freshet/check'}}", self.address))
    }
}

fn audit(more: &str) -> String {
    format!("  audit: {{sample: 100%, delay: 200ms{more}}}")
}

/// `None` when the client is gone.
fn serve(client: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut head = BufReader::new(client.try_clone().ok()?).lines();
    loop {
        let first = head.next()?.ok()?;
        while !head.next()?.ok()?.is_empty() {}
        let query = first.strip_prefix("GET /freshet/check?cache=")?.strip_suffix(" HTTP/1.1")?;
        let (cache, key) = query.split_once("&key=")?;
        let key = percent_encoding::percent_decode_str(key).decode_utf8().ok()?;
        let asked = format!("{cache} {key}");
        let mut state = state.lock().ok()?;
        *state.asked.entry(asked.clone()).or_default() += 1;
        let (status, body) = match (state.status, state.values.get(&asked)) {
            (Some(status), _) => (status, ""),
            (None, Some(value)) => ("200 OK", value.as_str()),
            (None, None) => ("404 Not Found\r\nFreshet-Absent: ?1", ""),
        };
        let length = body.len();
        write!(&mut &*client, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").ok()?;
    }
}

/// Waits until an outcome of a cache's looks has come so often.
fn until_outcome(sidecar: &mut Sidecar, cache: &str, outcome: &str, times: u64) -> Value {
    sidecar
        .until(&format!("{cache}: {times} {outcome}"), SOON, |sidecar| {
            let mut status = sidecar.status()?;
            let audit = status["caches"][cache]["audit"].take();
            ensure!(audit["outcomes"][outcome].as_u64() >= Some(times), "{audit}");
            Ok(audit)
        })
        .unwrap()
}

/// What is looked at in a moment in which nothing is vouched for isn't looked at again: on a busy machine there are none
/// with this.
fn steady(redis: &Redis, audit: &str) -> String {
    manifest(redis, CACHES, &format!("  freshness: {{maxStaleness: 1h, heartbeat: Debezium}}\n{audit}"))
}

fn open(redis: Redis, audit: &str) -> Shop {
    for table in ["product", "category"] {
        let event = crate::shop::event(table, "u", "null");
        redis.xadd(&format!("shop.inventory.{table}"), &[("{\"id\":1}", &event)]).unwrap();
    }
    let sidecar = Sidecar::builder(executable(), &steady(&redis, audit)).start().unwrap();
    let mut shop = Shop::of(redis, sidecar);
    shop.until_vouched_for();
    shop.until_fills_last();
    shop
}

#[test]
fn in_ordinary_operation_everything_is_consistent() {
    let app = App::start();
    let mut shop = open(Redis::start().unwrap(), &app.audit());
    for id in 1..=8 {
        shop.change("product", &format!("{{\"id\":{id}}}"), "u", &format!("{{\"id\":{id}}}"));
        shop.until_get(&format!("/v1/rows/{id}"), &format!("hit {{\"id\":{id}}}"));
        // Others, because what is filled so soon after a change is gone when it is looked at.
        let (other, text) = (10 + id, format!("product {id}"));
        app.set("products", &other.to_string(), &text);
        shop.fill(&format!("/v1/products/{other}"), &text);
    }
    // Of a page no change tells the key, and none is written as its URL.
    app.set("pages", "caf\u{e9} &=%2F/1", "a page");
    shop.fill("/v1/pages/caf%C3%A9%20&=%2F/1", "a page");
    let lease = shop.lease("/v1/pages/none");
    let headers = [("freshet-lease", lease.as_str()), ("freshet-absent", "?1")];
    assert_eq!(shop.sidecar.request("PUT", "/v1/pages/none", &headers, b"").unwrap().status, 204);
    let reads = |shop: &Shop| {
        let status = shop.sidecar.status().unwrap();
        ["products", "rows", "pages"].map(|cache| {
            let cache = &status["caches"][cache];
            (cache["hits"].as_u64(), cache["misses"].as_u64())
        })
    };
    let before = reads(&shop);
    let products = until_outcome(&mut shop.sidecar, "products", "consistent", 8);
    assert_eq!(products["comparedWith"], serde_json::json!(["check"]));
    let rows = until_outcome(&mut shop.sidecar, "rows", "consistent", 8);
    assert_eq!(rows["comparedWith"], serde_json::json!(["images", "check"]));
    let pages = until_outcome(&mut shop.sidecar, "pages", "consistent", 2);
    for audit in [&products, &rows, &pages] {
        assert_eq!(audit["consistentRatio"], 1.0, "{audit}");
        assert_eq!(audit["lastInconsistentAgeMs"], Value::Null);
        for outcome in ["late", "inconsistent", "failed", "skipped", "unknown"] {
            assert_eq!(audit["outcomes"][outcome], 0, "{outcome}: {audit}");
        }
    }
    assert_eq!(reads(&shop), before, "an audit is no read");
    assert_eq!(app.asked("rows", "1"), 0, "images are known without asking");
    let metrics = shop.sidecar.metrics().unwrap();
    let line = "freshet_audits_total{cache=\"pages\",outcome=\"consistent\"} 2";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
    assert!(metrics.contains("freshet_audit_late_seconds_bucket{le=\"5.0\",cache=\"pages\"} 0"), "{metrics}");
}

#[test]
fn a_value_whose_change_never_came_is_found_and_dropped() {
    let app = App::start();
    // What Debezium never wrote into Redis, not even in numbers, nothing but the application's own answer tells.
    let more = format!("  freshness: {{readLag: 0s, clockSkew: 0s}}\n{}", app.audit());
    let mut log = Log::open(CACHES, &more);
    for id in ["7", "8"] {
        app.set("products", id, "old");
        log.shop.fill(&format!("/v1/products/{id}"), "old");
    }
    app.set("products", "9", "change under way");
    log.shop.fill("/v1/products/9", "old");
    until("the application was asked about a change that is under way", SOON, || {
        ensure!(app.asked("products", "9") > 0);
        Ok(())
    })
    .unwrap();
    log.write("product", 9);
    log.read_up();
    let late = until_outcome(&mut log.shop.sidecar, "products", "late", 1);
    assert_eq!(late["outcomes"]["inconsistent"], 0, "{late}");

    until_outcome(&mut log.shop.sidecar, "products", "consistent", 2);
    app.set("products", "7", "new, and no event of it");
    // Looked at again when it is filled again: here with what another replica still had.
    log.shop.fill("/v1/products/7", "old");
    until("it is found", SOON, || {
        // Nothing is delivered before a heartbeat from after the answer.
        log.heartbeat();
        let status = log.shop.sidecar.status()?;
        ensure!(status["caches"]["products"]["audit"]["outcomes"]["inconsistent"] == 1, "{status}");
        Ok(())
    })
    .unwrap();
    assert_eq!(log.shop.get("/v1/products/7"), "miss", "it is dropped");
    assert_eq!(log.shop.get("/v1/products/8"), "hit old");
    let status = log.shop.sidecar.status().unwrap();
    let audit = &status["caches"]["products"]["audit"];
    assert!(audit["lastInconsistentAgeMs"].as_u64() < Some(60_000), "{audit}");
    assert!(audit["consistentRatio"].as_f64() < Some(1.0), "{audit}");
    let metrics = log.shop.sidecar.metrics().unwrap();
    assert!(
        metrics.contains("freshet_audits_total{cache=\"products\",outcome=\"inconsistent\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("freshet_audit_late_seconds_count{cache=\"products\"} 1"), "{metrics}");
    let told = log.shop.sidecar.log();
    let told: Vec<_> = told.lines().filter(|line| line.contains("a wrong value was served")).collect();
    assert_eq!(told.len(), 1);
    let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(b"7"));
    assert!(told[0].contains(&hash) && told[0].contains("freshet-operator check"), "{told:?}");
    assert!(!told[0].contains("old") && !told[0].contains("\"7\""), "no key and no value: {told:?}");
}

#[test]
fn an_application_that_does_not_answer_changes_nothing_and_audits_change_without_a_restart() {
    let app = App::start();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = audit(&format!(", check: {{url: 'http://{nobody}'}}"));
    let mut shop = open(Redis::start().unwrap(), &nobody);
    app.set("products", "7", "x");
    shop.fill("/v1/products/7", "x");
    until_outcome(&mut shop.sidecar, "products", "failed", 1);
    assert_eq!(shop.get("/v1/products/7"), "hit x");
    let log = shop.sidecar.log();
    assert!(log.contains("check endpoint doesn't answer") && log.contains("refused"), "{log}");

    // A path that the application doesn't know isn't taken for a row that isn't there.
    app.state().status = Some("404 Not Found");
    shop.sidecar.rebind(&steady(&shop.redis, &app.audit())).unwrap();
    until("the application is asked", SOON, || {
        shop.fill("/v1/products/7", "x");
        ensure!(app.asked("products", "7") > 0);
        Ok(())
    })
    .unwrap();
    until_outcome(&mut shop.sidecar, "products", "failed", 2);
    assert_eq!(shop.get("/v1/products/7"), "hit x");

    app.state().status = None;
    until_consistent(&mut shop);
    shop.sidecar.rebind(&steady(&shop.redis, "")).unwrap();
    shop.sidecar
        .until("nothing is audited", SOON, |sidecar| {
            let status = sidecar.status()?;
            ensure!(status["caches"]["products"]["audit"].is_null(), "{status}");
            Ok(())
        })
        .unwrap();
    assert_eq!(shop.get("/v1/products/7"), "hit x", "a change of the audit voids nothing");
}

fn until_consistent(shop: &mut Shop) {
    until("it is right", SOON, || {
        shop.fill("/v1/products/7", "x");
        let status = shop.sidecar.status()?;
        let audit = &status["caches"]["products"]["audit"];
        ensure!(audit["outcomes"]["consistent"].as_u64() > Some(0), "{audit}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn nothing_is_audited_unless_asked_for_and_status_says_what_is_not() {
    let mut shop = open(Redis::start().unwrap(), "");
    shop.change("product", "{\"id\":7}", "u", "{\"id\":7}");
    shop.until_get("/v1/rows/7", "hit {\"id\":7}");
    let status = shop.sidecar.status().unwrap();
    assert!(status["caches"]["rows"]["audit"].is_null(), "{status}");
    assert!(!shop.sidecar.metrics().unwrap().contains("freshet_audits_total{"));

    shop.sidecar.rebind(&steady(&shop.redis, &audit(""))).unwrap();
    shop.sidecar
        .until("the audit has begun", SOON, |sidecar| {
            let status = sidecar.status()?;
            ensure!(status["caches"]["rows"]["audit"]["comparedWith"][0] == "images", "{status}");
            Ok(())
        })
        .unwrap();
    let status = shop.sidecar.status().unwrap();
    let off = status["caches"]["products"]["audit"]["off"].as_str().unwrap();
    assert!(off.contains("audit.check.url"), "{off}");
    assert_eq!(shop.get("/v1/rows/7"), "hit {\"id\":7}");
    shop.change("product", "{\"id\":7}", "u", "{\"id\":7,\"name\":\"x\"}");
    until_outcome(&mut shop.sidecar, "rows", "consistent", 1);
    let metrics = shop.sidecar.metrics().unwrap();
    assert!(!metrics.contains("freshet_audits_total{cache=\"products\""), "{metrics}");
}
