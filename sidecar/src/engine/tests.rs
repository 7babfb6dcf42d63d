use std::{sync::Arc, time::Duration};

use freshet_crds::{binding::Binding, manifest};

use super::{Answer, BadLease, Engine, Fill, Terms, Wanted};
use crate::{
    catalog::{Cache, Catalog, Newer},
    clock::{Now, Tick},
    continuity::Break,
    entry::Value,
    envelope::{StreamRole, read},
    key::Key,
    loaders::Loading,
    position::Position,
    store::count,
};

/// An engine with one source and these caches, its clock in the test's hand.
struct Bench {
    engine: Engine,
    now: Now,
}

const READ: Wanted<'static> = Wanted {
    reload: false,
    max_age: None,
    max_staleness: None,
    min_position: None,
    lease: true,
    again: false,
};

impl Bench {
    fn new(caches: &str, more: &str) -> Self {
        let bench = Self { engine: Engine::new(), now: Now { tick: Tick(100_000), wall_ms: 1_000_000_000 } };
        bench.install(caches, more);
        let catalog = bench.engine.catalog().unwrap();
        let feed = &catalog.feeds[0].0;
        feed.set_connected(true);
        feed.set_proven(bench.now.tick);
        // Long ago, so that no read can have missed what came before.
        bench.engine.attach(catalog.fed_by(feed), Tick(1));
        bench
    }

    fn install(&self, caches: &str, more: &str) {
        let text = format!(
            "{{apiVersion: freshet.dev/v1alpha1, kind: CacheBinding, metadata: {{name: t}}, spec: {{
               sources: [{{name: cdc, redisStream: {{url: 'redis://localhost', topicPrefix: shop}}}}],
               caches: [{caches}] {more}}}}}"
        );
        let binding = Binding::parse(&manifest::read(&text).unwrap().object).unwrap();
        let catalog = Catalog::build(binding, Newer::default(), self.engine.catalog().as_deref());
        self.engine.install(catalog);
    }

    /// Time passes, and the stream stays proven.
    fn pass(&mut self, ms: u64) {
        self.now = Now { tick: Tick(self.now.tick.0 + ms), wall_ms: self.now.wall_ms + ms };
        self.engine.catalog().unwrap().feeds[0].0.set_proven(self.now.tick);
    }

    fn cache(&self, name: &str) -> (Arc<Catalog>, Arc<Cache>) {
        let catalog = self.engine.catalog().unwrap();
        let cache = Arc::clone(&catalog.caches[name]);
        (catalog, cache)
    }

    fn answer(&self, path: &str, wanted: Wanted<'_>) -> Answer {
        let (name, key) = path.split_once('/').unwrap();
        let (catalog, cache) = self.cache(name);
        self.engine.get(&catalog, &cache, &Key::from_path(key, None).unwrap(), wanted, self.now.tick)
    }

    /// `hit <body> <detail>` or `miss|stale <detail>`.
    fn get(&self, path: &str) -> String {
        match self.answer(path, READ) {
            Answer::Hit(hit) => {
                let body = std::str::from_utf8(&hit.entry.body).unwrap();
                format!("hit {body} {}", hit.detail.unwrap_or_default()).trim().to_owned()
            }
            Answer::Miss(miss) => {
                let kind = if miss.stale { "stale" } else { "miss" };
                format!("{kind} {}", miss.detail.unwrap_or_default()).trim().to_owned()
            }
        }
    }

    fn lease(&self, path: &str) -> Option<String> {
        match self.answer(path, Wanted { reload: true, ..READ }) {
            Answer::Miss(miss) => miss.lease.map(|grant| grant.token),
            Answer::Hit(_) => None,
        }
    }

    fn put(&self, path: &str, token: &str, body: &'static str) -> Result<bool, BadLease> {
        self.put_with(path, token, body, Terms::default())
    }

    fn put_with(&self, path: &str, token: &str, body: &'static str, terms: Terms) -> Result<bool, BadLease> {
        let (name, key) = path.split_once('/').unwrap();
        let (catalog, cache) = self.cache(name);
        let key = Key::from_path(key, None).unwrap();
        let lease = self.engine.lease(&cache, &key, token)?;
        let fill = Fill { lease, value: Value::new(body.into(), "text/plain".into()), terms };
        Ok(self.engine.fill(&catalog, &cache, &key, fill, self.now).is_ok())
    }

    fn fill(&self, path: &str, body: &'static str) -> bool {
        self.put(path, &self.lease(path).unwrap(), body).unwrap()
    }

    fn apply(&self, key: &str, value: &str) -> Option<Break> {
        let fields = [(key.as_bytes().to_vec(), value.as_bytes().to_vec())];
        let catalog = self.engine.catalog().unwrap();
        let (feed, tables) = &catalog.feeds[0];
        let broken = self.engine.apply(&catalog, feed, tables, &read(&StreamRole::Routed, &fields), self.now);
        feed.confirm_heartbeats();
        broken
    }

    /// A row event of `s.t` with `op` and what `source` says further.
    fn event(&self, id: u32, op: &str, source: &str) -> Option<Break> {
        let after = if op == "d" { "null".to_owned() } else { format!("{{\"id\":{id}}}") };
        let value = format!(
            "{{\"after\":{after},\"source\":{{\"schema\":\"s\",\"table\":\"t\",\"ts_ms\":0,{source}}},\"op\":\"{op}\"}}"
        );
        self.apply(&format!("{{\"id\":{id}}}"), &value)
    }

    fn change(&self, id: u32, lsn: u64, commit_ms: u64, name: &str) {
        let event = format!(
            "{{\"after\":{{\"id\":{id},\"name\":\"{name}\"}},\"source\":{{\"schema\":\"s\",\"table\":\"t\",\"lsn\":{lsn},\
             \"ts_ms\":{commit_ms}}},\"op\":\"u\",\"ts_ms\":1}}"
        );
        assert_eq!(self.apply(&format!("{{\"id\":{id}}}"), &event), None);
    }
}

mod audited;
mod changes;
mod definitions;
mod depends;
mod hold_off;
mod images;
mod lifetimes;
mod names;
mod shares;
mod sweeping;

const ROWS: &str = "{name: rows, table: s.t, ttl: 1m}";

#[test]
fn a_miss_is_filled_hit_and_voided_by_a_change() {
    let mut bench = Bench::new(ROWS, "");
    assert_eq!(bench.get("rows/7"), "miss table-never-seen");
    bench.change(9, 1, 0, "x");
    bench.pass(2000);
    assert_eq!(bench.get("rows/7"), "miss");
    assert!(bench.fill("rows/7", "one"));
    assert_eq!(bench.get("rows/7"), "hit one");
    bench.change(8, 2, 0, "x");
    assert_eq!(bench.get("rows/7"), "hit one", "another row's change");
    bench.change(7, 3, 0, "x");
    assert_eq!(bench.get("rows/7"), "miss");
}

#[test]
fn a_fill_that_a_change_overtook_is_fenced() {
    let bench = Bench::new(ROWS, "");
    bench.change(9, 1, 0, "x");
    let lease = bench.lease("rows/7").unwrap();
    bench.change(7, 2, 0, "x");
    assert_eq!(bench.put("rows/7", &lease, "old"), Ok(false));
    assert_eq!(bench.get("rows/7"), "miss");
}

#[test]
fn of_two_reads_under_way_the_later_fill_is_fenced_unless_it_brings_the_same() {
    let bench = Bench::new(ROWS, "");
    bench.change(9, 1, 0, "x");
    let leases = [(); 3].map(|()| bench.lease("rows/7").unwrap());
    // What the others have read may be older: no change has been applied that would tell.
    assert_eq!(bench.put("rows/7", &leases[1], "new"), Ok(true));
    assert_eq!(bench.put("rows/7", &leases[0], "old"), Ok(false));
    assert!(bench.get("rows/7").starts_with("hit new"));
    assert_eq!(bench.put("rows/7", &leases[2], "new"), Ok(true));
    assert_eq!(bench.put("rows/7", &leases[2], "again"), Ok(true), "whoever filled may fill again");
    let lease = bench.lease("rows/7").unwrap();
    assert_eq!(bench.put("rows/7", &lease, "newer"), Ok(true), "this read began after the fill");
    // Neither does it come back when the value is gone.
    bench.change(7, 2, 0, "x");
    assert_eq!(bench.put("rows/7", &lease, "new"), Ok(false));
}

#[test]
fn a_lease_is_for_one_key_of_one_process() {
    let bench = Bench::new(&format!("{ROWS}, {{name: pages, dependsOn: [s.t]}}"), "");
    let lease = bench.lease("rows/7").unwrap();
    assert_eq!(bench.put("rows/8", &lease, "x"), Err(BadLease::OtherKey));
    assert_eq!(bench.put("pages/7", &lease, "x"), Err(BadLease::OtherKey));
    let other = Bench::new(ROWS, "");
    assert_eq!(other.put("rows/7", &lease, "x"), Err(BadLease::Foreign));
}

#[test]
fn one_reader_is_told_to_load() {
    let mut bench = Bench::new(ROWS, "");
    let you = |bench: &Bench| match bench.answer("rows/7", READ) {
        Answer::Miss(miss) => miss.lease.unwrap().fill == Loading::You,
        Answer::Hit(_) => panic!("nothing was filled"),
    };
    assert!(you(&bench));
    assert!(!you(&bench));
    bench.pass(10_000);
    assert!(you(&bench), "the first one may have died");
}

#[test]
fn a_fenced_fill_ends_no_other_loaders_claim() {
    let bench = Bench::new(ROWS, "");
    let grant = |bench: &Bench| match bench.answer("rows/7", READ) {
        Answer::Miss(miss) => miss.lease.unwrap(),
        Answer::Hit(_) => panic!("nothing was filled"),
    };
    let first = grant(&bench);
    bench.change(7, 1, 0, "x");
    let second = grant(&bench);
    assert!(
        first.fill == Loading::You && second.fill == Loading::You,
        "the change made the first one's work void"
    );
    assert_eq!(bench.put("rows/7", &first.token, "old"), Ok(false));
    assert!(grant(&bench).fill != Loading::You, "the second one is still loading");
    assert_eq!(bench.put("rows/7", &second.token, "new"), Ok(true));
}

#[test]
fn values_that_depend_on_a_table_end_with_any_change_of_it() {
    let bench = Bench::new("{name: pages, dependsOn: [s.t, s.u]}", "");
    bench.change(1, 1, 0, "x");
    assert!(bench.fill("pages/home", "page"));
    let lease = bench.lease("pages/other").unwrap();
    bench.change(2, 2, 0, "x");
    assert_eq!(bench.get("pages/home"), "miss table-never-seen");
    assert_eq!(bench.put("pages/other", &lease, "x"), Ok(false));
}

#[test]
fn deleting_fences_what_is_being_read() {
    let bench = Bench::new(ROWS, "");
    let lease = bench.lease("rows/7").unwrap();
    let (_, cache) = bench.cache("rows");
    bench.engine.delete(&cache, &Key::from_path("7", None).unwrap(), bench.now.tick);
    assert_eq!(bench.put("rows/7", &lease, "x"), Ok(false));
}

#[test]
fn a_new_epoch_voids_values_and_leases_until_it_is_attached_anew() {
    let bench = Bench::new(ROWS, "");
    bench.fill("rows/7", "one");
    let lease = bench.lease("rows/8").unwrap();
    let catalog = bench.engine.catalog().unwrap();
    let feed = &catalog.feeds[0].0;
    bench.engine.break_epoch(feed, Break::EntriesMissed, true, bench.now.tick);
    assert_eq!(bench.get("rows/7"), "stale starting");
    assert_eq!(bench.lease("rows/7"), None, "a fill would not be taken");
    assert_eq!(bench.put("rows/8", &lease, "x"), Ok(false));
    bench.engine.attach(catalog.caches.values(), bench.now.tick);
    assert_eq!(bench.get("rows/7"), "miss table-never-seen");
    assert_eq!(feed.epoch(), 2);
}

#[test]
fn a_silent_stream_is_not_vouched_for() {
    let mut bench = Bench::new(ROWS, "");
    bench.fill("rows/7", "one");
    bench.now.tick = bench.now.tick + Duration::from_millis(2001);
    assert_eq!(bench.get("rows/7"), "stale lagging");
    bench.pass(0);
    assert_eq!(bench.get("rows/7"), "hit one table-never-seen");
}

#[test]
fn a_declared_heartbeat_is_needed_and_an_old_one_counts_with_its_age() {
    let mut bench = Bench::new(ROWS, ", freshness: {maxStaleness: 5s, heartbeat: Debezium, clockSkew: 1m}");
    assert_eq!(bench.get("rows/7"), "stale starting");
    let beat =
        |bench: &Bench, at: u64| bench.apply("{\"serverName\":\"shop\"}", &format!("{{\"ts_ms\":{at}}}"));
    beat(&bench, bench.now.wall_ms - 10_000);
    assert_eq!(bench.get("rows/7"), "stale lagging", "a heartbeat from a backlog");
    beat(&bench, bench.now.wall_ms);
    assert_eq!(bench.get("rows/7"), "miss table-never-seen");
    bench.pass(5001);
    assert_eq!(bench.get("rows/7"), "stale lagging");
    beat(&bench, bench.now.wall_ms - 3000);
    bench.pass(2000);
    assert_eq!(bench.get("rows/7"), "miss table-never-seen", "5 s have passed, and not one more");
    bench.pass(1);
    assert_eq!(bench.get("rows/7"), "stale lagging");
}

#[test]
fn a_heartbeat_proves_nothing_before_it_is_confirmed() {
    let bench = Bench::new(ROWS, ", freshness: {maxStaleness: 5s, heartbeat: Debezium}");
    let fields = [(
        b"{\"serverName\":\"shop\"}".to_vec(),
        format!("{{\"ts_ms\":{}}}", bench.now.wall_ms).into_bytes(),
    )];
    let catalog = bench.engine.catalog().unwrap();
    let (feed, tables) = &catalog.feeds[0];
    let beat = || bench.engine.apply(&catalog, feed, tables, &read(&StreamRole::Control, &fields), bench.now);
    beat();
    assert_eq!(bench.get("rows/7"), "stale starting");
    feed.forget_place();
    feed.confirm_heartbeats();
    assert_eq!(bench.get("rows/7"), "stale starting", "its place in the streams is lost");
    beat();
    feed.confirm_heartbeats();
    assert_eq!(bench.get("rows/7"), "miss table-never-seen");
}

#[test]
fn stale_values_are_served_marked_and_what_is_not_there_says_why() {
    let more = ", freshness: {maxStaleness: 5s, heartbeat: Debezium, onStale: Serve, serveStaleFor: 10s}";
    let mut bench = Bench::new(ROWS, more);
    bench.apply("{\"serverName\":\"shop\"}", &format!("{{\"ts_ms\":{}}}", bench.now.wall_ms));
    bench.pass(2000);
    assert!(bench.fill("rows/7", "one"));
    // 5 s, and one for the clocks' difference.
    bench.pass(4000);
    let answer = |path| match bench.answer(path, READ) {
        Answer::Hit(hit) => (Some(hit.ttl), hit.detail, true),
        Answer::Miss(miss) => (None, miss.detail.filter(|_| miss.stale), miss.lease.is_some()),
    };
    assert_eq!(answer("rows/7"), (Some(-1), Some("lagging"), true));
    assert_eq!(answer("rows/8"), (None, Some("lagging"), true), "a fill would be taken");
    bench.pass(3000);
    let answer = |path| match bench.answer(path, READ) {
        Answer::Hit(hit) => (Some(hit.ttl), hit.detail),
        Answer::Miss(miss) => (None, miss.detail.filter(|_| miss.stale)),
    };
    assert_eq!(answer("rows/7"), (Some(-4), Some("lagging")));
    let (_, cache) = bench.cache("rows");
    assert_eq!(count(&cache.stats.stale_hits), 2);
    assert_eq!((count(&cache.stats.misses), count(&cache.stats.stale)), (1, 1));
    bench.pass(7000);
    assert_eq!(bench.get("rows/7"), "stale lagging", "at most serveStaleFor");
}

#[test]
fn every_snapshot_begins_a_new_epoch_whatever_its_marks() {
    let bench = Bench::new(ROWS, "");
    let began = Some(Break::SnapshotBegan);
    let event = |op: &str, mark: &str| bench.event(7, op, &format!("\"lsn\":5,\"snapshot\":{mark}"));
    assert_eq!(event("u", "null"), None);
    assert_eq!(event("r", "\"last\""), began, "one row in one table");
    assert_eq!(event("r", "\"true\""), None, "the same snapshot");
    assert_eq!(event("r", "\"first\""), began, "another right after it");
    assert_eq!(event("c", "null"), None);
    assert_eq!(event("r", "\"incremental\""), None);
    assert_eq!(event("r", "\"first_in_data_collection\""), began);
    assert_eq!(event("r", "\"incremental\""), None);
    assert_eq!(event("r", "\"true\""), None);
    bench.engine.catalog().unwrap().feeds[0].0.forget_place();
    assert_eq!(event("r", "\"true\""), began, "the first that is seen");
}

#[test]
fn a_snapshot_begins_a_new_epoch() {
    let bench = Bench::new(ROWS, "");
    let event = "{\"after\":{\"id\":7},\"source\":{\"schema\":\"s\",\"table\":\"t\",\"snapshot\":\"first\"},\"op\":\"r\"}";
    assert_eq!(bench.apply("{\"id\":7}", event), Some(Break::SnapshotBegan));
    assert_eq!(bench.apply("{\"id\":7}", "what is this"), Some(Break::Unreadable));
}

#[test]
fn another_database_server_begins_a_new_epoch() {
    let bench = Bench::new(ROWS, "");
    let event = |server| {
        format!(
            "{{\"after\":{{\"id\":7}},\"source\":{{\"db\":\"s\",\"table\":\"t\",\"server_id\":{server},\"file\":\"binlog.000002\",\"pos\":4}},\"op\":\"u\"}}"
        )
    };
    assert_eq!(bench.apply("{\"id\":7}", &event(1)), None);
    assert_eq!(bench.apply("{\"id\":7}", &event(1)), None);
    assert_eq!(bench.apply("{\"id\":7}", &event(2)), Some(Break::DatabaseChanged));
}

#[test]
fn readers_may_ask_for_more() {
    let mut bench = Bench::new(ROWS, "");
    bench.fill("rows/7", "one");
    bench.pass(5000);
    let detail = |wanted| match bench.answer("rows/7", wanted) {
        Answer::Hit(_) => "hit",
        Answer::Miss(miss) => miss.detail.unwrap_or_default(),
    };
    let secs = Duration::from_secs;
    assert_eq!(detail(Wanted { max_age: Some(secs(5)), ..READ }), "hit");
    assert_eq!(detail(Wanted { max_age: Some(secs(4)), ..READ }), "max-age");
    assert_eq!(detail(Wanted { max_staleness: Some(secs(1)), ..READ }), "hit");
    assert_eq!(detail(Wanted { min_position: Some(&Position::Lsn(1)), ..READ }), "position-unknown");
    assert_eq!(detail(Wanted { reload: true, ..READ }), "no-cache");
    bench.now.tick = bench.now.tick + secs(1);
    let strict = Wanted { max_staleness: Some(Duration::from_millis(999)), ..READ };
    assert!(
        matches!(bench.answer("rows/7", strict), Answer::Miss(miss) if miss.detail == Some("max-staleness"))
    );
}
