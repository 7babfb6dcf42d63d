use super::{Bench, READ};
use crate::{
    audit::{Content, judge::Step},
    engine::Answer,
    entry::digest,
    planted::{Bug, tests::with},
    store::count,
};

const CACHES: &str = "{name: rows, table: s.t, onChange: Hydrate}, {name: filled, table: s.t}";
const CHECKED: &str = ", freshness: {heartbeat: Debezium, readLag: 0s},
    audit: {sample: 100%, delay: 1s, check: {url: 'http://127.0.0.1:1'}}";

impl Bench {
    fn audited(more: &str) -> Self {
        let mut bench = Self::new(CACHES, more);
        // The keys' form is known, and every table was seen.
        bench.change(9, 1, 0, "x");
        bench.pass(2000);
        bench.audit(None);
        bench
    }

    /// Looks at everything that is due, the application answering this, and says what has come out since the last
    /// time: `<cache> <outcome>`, sorted.
    fn audit(&mut self, answer: Option<&str>) -> Vec<String> {
        let before = self.outcomes();
        let catalog = self.engine.catalog().unwrap();
        while let Some((cache, look)) = self.engine.due_look(&catalog, self.now.tick) {
            if let Step::Ask(about) = self.engine.look(&catalog, &cache, &look, self.now.tick) {
                let answer = answer.map(|text| Content::Value(digest(text.as_bytes())));
                self.engine.answer_look(&cache, &look, about, answer, self.now.tick);
            }
        }
        let new = self.outcomes().into_iter().zip(before).filter(|((_, now), (_, before))| now > before);
        new.map(|((name, _), _)| name).collect()
    }

    fn outcomes(&self) -> Vec<(String, u64)> {
        let catalog = self.engine.catalog().unwrap();
        let of = |name: &str| {
            let outcomes = catalog.caches[name].stats.audit.outcomes();
            outcomes.map(|(outcome, n)| (format!("{name} {outcome}"), n)).collect::<Vec<_>>()
        };
        [of("filled"), of("rows")].concat()
    }

    /// Time passes, with heartbeats.
    fn beat(&mut self, ms: u64) {
        self.pass(ms);
        self.apply("{\"serverName\":\"shop\"}", &format!("{{\"ts_ms\":{}}}", self.now.wall_ms));
    }
}

#[test]
fn an_audit_looks_at_hydrated_and_filled_values_after_the_delay() {
    let mut bench = Bench::audited(CHECKED);
    bench.beat(1);
    bench.change(7, 100, 0, "new");
    assert!(bench.fill("filled/7", "new"));
    bench.beat(999);
    assert_eq!(bench.audit(None), [""; 0], "nothing is due");
    bench.beat(1);
    assert_eq!(bench.audit(Some("new")), ["filled consistent", "rows consistent"]);
    bench.event(7, "d", "\"lsn\":110");
    bench.beat(1000);
    assert_eq!(bench.audit(Some("new")), ["filled absent", "rows absent"]);
}

#[test]
fn what_the_application_would_not_fill_is_dropped_once_no_change_can_be_on_its_way() {
    let mut bench = Bench::audited(CHECKED);
    bench.beat(1);
    assert!(bench.fill("filled/7", "old") && bench.fill("filled/8", "other"));
    bench.beat(1000);
    assert_eq!(bench.audit(Some("other")), ["filled consistent"]);
    // For so long a change may be on its way where Debezium's own heartbeats prove nothing.
    for _ in 0..9 {
        bench.beat(1000);
        assert_eq!(bench.audit(Some("other")), [""; 0]);
        assert_eq!(bench.get("filled/7"), "hit old");
    }
    bench.beat(1000);
    assert_eq!(bench.audit(Some("other")), ["filled inconsistent"]);
    assert_eq!(bench.get("filled/7"), "miss");
    assert_eq!(bench.get("filled/8"), "hit other");
}

#[test]
fn a_value_that_goes_before_that_was_late() {
    let mut bench = Bench::audited(CHECKED);
    bench.beat(1);
    assert!(bench.fill("filled/7", "old"));
    bench.beat(1000);
    assert_eq!(bench.audit(Some("new")), [""; 0]);
    bench.change(7, 100, 0, "new");
    assert!(bench.fill("filled/7", "new"));
    bench.beat(1000);
    assert_eq!(bench.audit(Some("new")), ["filled late", "rows consistent"]);
}

#[test]
fn what_is_not_vouched_for_and_what_nobody_answers_is_counted_and_nothing_else() {
    let mut bench = Bench::audited(CHECKED);
    bench.beat(1);
    assert!(bench.fill("filled/7", "old"));
    bench.beat(1000);
    assert_eq!(bench.audit(None), ["filled failed"]);
    assert_eq!(bench.get("filled/7"), "hit old");
    bench.change(7, 100, 0, "new");
    bench.pass(60_000);
    assert_eq!(bench.audit(Some("new")), ["filled unvouched", "rows unvouched"]);
}

#[test]
fn without_the_applications_answers_images_alone_are_looked_at() {
    let mut bench = Bench::audited(", audit: {sample: 100%, delay: 2s}");
    bench.change(7, 100, 0, "new");
    bench.fill("filled/7", "x");
    bench.pass(2000);
    assert_eq!(bench.audit(None), ["rows consistent"]);
    bench.change(7, 110, 0, "newer");
    bench.pass(2000);
    bench.fill("rows/7", "by hand");
    assert_eq!(bench.audit(None), ["rows unknown"], "nothing says what the application should fill");
}

#[test]
fn an_audit_is_no_read_and_gives_no_lease() {
    let mut bench = Bench::audited(CHECKED);
    bench.beat(1);
    bench.change(7, 100, 0, "new");
    bench.change(8, 110, 0, "new");
    assert!(bench.fill("filled/7", "new"));
    let stats = |bench: &Bench| {
        let (_, cache) = bench.cache("filled");
        [&cache.stats.hits, &cache.stats.misses, &cache.stats.stale].map(count)
    };
    let before = stats(&bench);
    bench.beat(1000);
    assert_eq!(bench.audit(Some("new")), ["filled consistent", "filled absent", "rows consistent"]);
    assert_eq!(stats(&bench), before);
    let Answer::Miss(miss) = bench.answer("filled/8", READ) else { panic!("it is a miss") };
    assert_eq!(miss.lease.unwrap().fill, crate::loaders::Loading::You, "nobody else is loading it");
}

#[test]
fn another_audit_voids_nothing_and_begins_anew() {
    let mut bench = Bench::audited(CHECKED);
    bench.beat(1);
    bench.change(7, 100, 0, "new");
    assert!(bench.fill("filled/7", "old"));
    bench.install(CACHES, CHECKED);
    bench.beat(1000);
    assert_eq!(bench.audit(Some("old")), ["filled consistent", "rows consistent"], "the same goes on");
    bench.change(8, 100, 0, "new");
    bench.install(CACHES, &CHECKED.replace("100%", "99%"));
    bench.beat(1000);
    assert_eq!(bench.audit(Some("old")), [""; 0], "another one has seen nothing yet");
    bench.install(CACHES, ", freshness: {heartbeat: Debezium, readLag: 0s}");
    bench.beat(1000);
    assert!(bench.engine.core().audit.is_none());
    assert_eq!(bench.get("filled/7"), "hit old");
    assert_eq!(bench.get("rows/8"), "hit {\"id\":8,\"name\":\"new\"}");
}

/// The audit doesn't rely on the rules that it looks after: what it expects is its own.
#[test]
fn an_audit_finds_images_that_planted_bugs_serve() {
    let story = |bug: Option<Bug>, tell: &dyn Fn(&mut Bench)| {
        let mut bench = Bench::audited(CHECKED);
        bench.beat(1);
        with(bug, || tell(&mut bench));
        bench.beat(1000);
        let found = bench.audit(None);
        assert_eq!(bench.get("rows/7"), "miss", "it was dropped: {bug:?}");
        found
    };
    let replay = |bench: &mut Bench| {
        bench.change(7, 100, 0, "new");
        bench.change(7, 90, 0, "old");
    };
    let after_truncate = |bench: &mut Bench| {
        bench.event(7, "t", "\"lsn\":120");
        bench.change(7, 110, 0, "old");
    };
    assert_eq!(story(None, &replay), ["filled absent", "rows absent"]);
    assert_eq!(story(Some(Bug::HydrateWithoutVersion), &replay), ["filled absent", "rows inconsistent"]);
    assert_eq!(story(None, &after_truncate), ["filled absent", "rows absent"]);
    assert_eq!(story(Some(Bug::FloorIgnored), &after_truncate), ["filled absent", "rows inconsistent"]);
}
