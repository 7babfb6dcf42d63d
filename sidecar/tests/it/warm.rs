//! Caches that start with what the stream still tells of: the snapshot that it begins with, and what has changed since.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use freshet_e2e::process::{
    Debezium, Postgres, Redis, Reply, RestServer, Sidecar, SidecarBuilder,
    debezium::Settings,
    http::{self, Response},
    until,
};
use serde_json::Value;

use crate::shop::{SOON, Shop, event, executable, manifest_of};

const ROWS: &str = "
  - {name: rows, table: inventory.product, onChange: Hydrate, warmStart: true}
  - {name: products, table: inventory.product}";
const FRESHNESS: &str = "  freshness: {maxStaleness: 5s, heartbeat: Database, readLag: 0s}";

fn manifest(redis: &Redis) -> String {
    manifest_of(&format!("url: '{}', stream: shop.cdc", redis.url()), ROWS, FRESHNESS)
}

fn pipeline(settings: Settings) -> (Postgres, Redis, Debezium) {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    postgres
        .execute(
            "CREATE SCHEMA inventory;
             CREATE TABLE inventory.product (id int PRIMARY KEY, name text, note text DEFAULT 'none');
             INSERT INTO inventory.product VALUES (1, 'hammer', NULL);
             INSERT INTO inventory.product VALUES (2, 'saw'), (3, 'axe')",
        )
        .unwrap();
    let debezium = Debezium::start(settings, &postgres, &redis).unwrap();
    (postgres, redis, debezium)
}

fn counted(shop: &Shop, what: &str) -> u64 {
    shop.sidecar.status().unwrap()["caches"]["rows"][what].as_u64().unwrap()
}

fn admin(sidecar: &Sidecar, path: &str) -> Response {
    http::get(&sidecar.admin(), path).unwrap()
}

/// What status tells of the start.
fn start(sidecar: &Sidecar) -> Value {
    admin(sidecar, "/status").json().unwrap()["start"].clone()
}

impl Shop {
    /// A sidecar beside a pipeline whose events were all written before it starts.
    fn warm(redis: Redis, last: &str) -> Self {
        let text = manifest(&redis);
        wait_for(&redis, last);
        Self::with(redis, Sidecar::builder(executable(), &text).flag("--start-gate").flag("Synced"))
    }
}

/// Waits until the stream has an entry that contains this text.
fn wait_for(redis: &Redis, text: &str) {
    until(text, SOON, || {
        let entries: redis::Value = redis.command(&["XRANGE", "shop.cdc", "-", "+"])?;
        ensure!(format!("{entries:?}").contains(text), "{entries:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_sidecar_starts_with_the_snapshot_and_what_has_changed_since() {
    let (postgres, redis, _debezium) = pipeline(Settings::default());
    postgres.execute("UPDATE inventory.product SET name = 'chainsaw' WHERE id = 2").unwrap();
    postgres.execute("DELETE FROM inventory.product WHERE id = 3").unwrap();
    postgres.execute("INSERT INTO inventory.product VALUES (4, 'drill')").unwrap();
    let mut shop = Shop::warm(redis, "drill");
    assert_eq!(shop.get("/v1/rows/1"), "hit {\"id\":1,\"name\":\"hammer\",\"note\":null}");
    assert_eq!(shop.get("/v1/rows/2"), "hit {\"id\":2,\"name\":\"chainsaw\",\"note\":\"none\"}");
    assert_eq!(shop.get("/v1/rows/3"), "miss");
    assert_eq!(shop.get("/v1/rows/4"), "hit {\"id\":4,\"name\":\"drill\",\"note\":\"none\"}");
    assert_eq!((shop.epoch(), shop.breaks().len()), (1, 0), "nothing was missed");
    assert_eq!(start(&shop.sidecar)["inTime"], true);
    postgres.execute("UPDATE inventory.product SET name = 'mallet' WHERE id = 1").unwrap();
    shop.until_get("/v1/rows/1", "hit {\"id\":1,\"name\":\"mallet\",\"note\":null}");

    // Redis is empty and counts anew: nothing is taken over, and Debezium goes on behind what is lost.
    shop.fill("/v1/products/2", "chainsaw");
    let epoch = shop.epoch();
    let _: () = shop.redis.command(&["DEL", "shop.cdc"]).unwrap();
    shop.until_fresh_after(epoch);
    assert_eq!((shop.get("/v1/rows/1"), shop.get("/v1/products/2")), ("miss".into(), "miss".into()));
    postgres.execute("UPDATE inventory.product SET name = 'sledge' WHERE id = 1").unwrap();
    shop.until_get("/v1/rows/1", "hit {\"id\":1,\"name\":\"sledge\",\"note\":null}");
}

#[test]
fn of_a_trimmed_stream_what_is_left_is_taken() {
    let (postgres, redis, _debezium) = pipeline(Settings::default());
    postgres.execute("UPDATE inventory.product SET name = 'chainsaw' WHERE id = 2").unwrap();
    wait_for(&redis, "chainsaw");
    // Heartbeats and transactions are numbered from the first one that is left.
    let _: u64 = redis.command(&["XTRIM", "shop.cdc", "MAXLEN", "0"]).unwrap();
    postgres.execute("SELECT pg_logical_emit_message(true, 'app', 'first-that-is-left')").unwrap();
    until("some entries", SOON, || {
        let length: u64 = redis.command(&["XLEN", "shop.cdc"])?;
        ensure!(length >= 6, "{length}");
        Ok(())
    })
    .unwrap();
    postgres.execute("UPDATE inventory.product SET name = 'drill' WHERE id = 3").unwrap();
    let shop = Shop::warm(redis, "drill");
    assert_eq!(shop.get("/v1/rows/1"), "miss");
    assert_eq!(shop.get("/v1/rows/2"), "miss", "its change is gone");
    assert_eq!(shop.get("/v1/rows/3"), "hit {\"id\":3,\"name\":\"drill\",\"note\":\"none\"}");
    assert_eq!((counted(&shop, "hydrated"), shop.breaks().len()), (1, 0));
}

#[test]
fn a_snapshot_with_defaults_in_the_place_of_nulls_is_not_taken() {
    let (postgres, redis, _debezium) = pipeline(Settings::default().replace_null_with_default(true));
    postgres.execute("UPDATE inventory.product SET name = 'chainsaw' WHERE id = 2").unwrap();
    let shop = Shop::warm(redis, "chainsaw");
    for id in 1..=3 {
        assert_eq!(shop.get(&format!("/v1/rows/{id}")), "miss");
    }
    let refused = shop.sidecar.status().unwrap()["caches"]["rows"]["imagesRefused"].clone();
    assert_eq!(refused["nulls-replaced"], 2, "the snapshot, and the change: {refused}");
}

#[test]
fn the_start_waits_until_all_is_read_or_its_deadline() {
    crate::openapi::watch();
    let mut redis = Redis::start().unwrap();
    redis.xadd("shop.cdc", &[("{\"id\":1}", &event("product", "u", "null"))]).unwrap();
    let text = manifest(&redis);
    let builder = || Sidecar::builder(executable(), &text);
    // Nobody beats.
    let mut sidecar = builder().env("FRESHET_START_GATE", "Synced").spawn().unwrap();
    sidecar
        .until("it is starting", SOON, |sidecar| {
            let answer = http::get(&sidecar.admin(), "/startupz")?;
            ensure!((answer.status, answer.text().as_str()) == (503, "cdc: Starting\n"), "{}", answer.text());
            Ok(())
        })
        .unwrap();
    let waiting = start(&sidecar);
    assert_eq!((&waiting["open"], &waiting["deadlineMs"]), (&false.into(), &60_000.into()));
    // One does.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let beat = format!(
        "{{\"op\":\"u\",\"source\":{{\"db\":\"shop\",\"table\":\"freshet_heartbeat\"}},\"after\":{{\"id\":1,\"beat\":1,\"at_ms\":{now}}}}}"
    );
    redis.xadd("shop.cdc", &[("{\"id\":1}", &beat)]).unwrap();
    sidecar.await_started().unwrap();
    assert_eq!(start(&sidecar)["inTime"], true);
    redis.pause().unwrap();
    sidecar
        .until("what was vouched for has run out", SOON, |sidecar| {
            ensure!(http::get(&sidecar.admin(), "/readyz")?.status == 503);
            Ok(())
        })
        .unwrap();
    assert_eq!(admin(&sidecar, "/startupz").status, 200, "it stays open");

    // The application starts in the end, whatever is wrong.
    let flags = ["--start-gate", "Synced", "--start-deadline", "300ms"];
    let late = flags.into_iter().fold(builder(), SidecarBuilder::flag).start().unwrap();
    assert_eq!(start(&late)["inTime"], false);
    assert!(late.log().contains("not synced at the deadline"), "{}", late.log());
    redis.resume().unwrap();
    for (flag, wrong) in [("--start-gate", "Ready"), ("--start-deadline", "1 minute")] {
        let (status, said) = builder().flag(flag).flag(wrong).refused().unwrap();
        assert!(status.code() == Some(2) && said.contains(wrong), "{said}");
    }
}

#[test]
fn the_start_waits_for_views_that_are_not_whole() {
    crate::openapi::watch();
    let rest = RestServer::start(|_| Reply::new(500, "")).unwrap();
    let text = format!(
        "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {{name: shop}}
spec:
  caches:
  - {{name: api, upstream: {{url: '{}'}}}}
  views:
  - {{name: top, cache: api, keys: [items], orderBy: /n}}",
        rest.url()
    );
    let builder = Sidecar::builder(executable(), &text).env("FRESHET_START_GATE", "Synced");
    let mut sidecar = builder.spawn().unwrap();
    rest.until_count(1).unwrap();
    sidecar
        .until("it says what it waits for", SOON, |sidecar| {
            let waiting = http::get(&sidecar.admin(), "/startupz")?;
            ensure!(waiting.status == 503 && waiting.text() == "view top: incomplete\n", "{waiting:?}");
            Ok(())
        })
        .unwrap();
    rest.answer(|_| Reply::json("[{\"n\":1}]").header("cache-control", "max-age=60"));
    sidecar.await_started().unwrap();
    assert_eq!(sidecar.get("/v1/views/top").unwrap().text(), "[{\"n\":1}]");
}
