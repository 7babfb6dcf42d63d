use super::{Answer, Bench, Fill, READ, ROWS, Terms, Wanted};
use crate::{clock::Tick, entry::Value, key::Key};

#[test]
fn a_changed_definition_starts_empty_and_an_unchanged_one_stays() {
    let caches =
        |ttl: &str| format!("{{name: rows, table: s.t, ttl: {ttl}}}, {{name: pages, dependsOn: [s.t]}}");
    let bench = Bench::new(&caches("1m"), "");
    bench.fill("rows/7", "one");
    bench.fill("pages/home", "page");
    let lease = bench.lease("rows/8").unwrap();
    bench.install(&caches("2m"), "");
    assert_eq!(bench.get("rows/7"), "stale starting", "until its streams are positioned");
    let catalog = bench.engine.catalog().unwrap();
    bench.engine.attach(catalog.caches.values(), bench.now.tick);
    assert_eq!(bench.get("rows/7"), "miss table-never-seen");
    assert_eq!(bench.get("pages/home"), "hit page table-never-seen");
    assert_eq!(bench.put("rows/8", &lease, "x"), Ok(false), "a lease of the old definition");
    bench.install(&caches("2m"), ", epoch: '2026'");
    assert_eq!(bench.get("pages/home"), "stale starting", "a new epoch text voids everything");
}

#[test]
fn requests_under_way_find_nothing_of_a_definition_that_has_ended() {
    let bench = Bench::new("{name: rows, table: s.t}, {name: pages, dependsOn: [s.t]}", "");
    for (name, path) in [("rows", "rows/7"), ("pages", "pages/home")] {
        bench.fill(path, "old");
        let (catalog, cache) = bench.cache(name);
        let key = Key::from_path(path.split_once('/').unwrap().1, None).unwrap();
        let get = |wanted| bench.engine.get(&catalog, &cache, &key, wanted, bench.now.tick);
        let Answer::Hit(_) = get(READ) else { panic!("{path} was filled") };
        let Answer::Miss(miss) = get(Wanted { reload: true, ..READ }) else { panic!("no-cache") };
        let lease = bench.engine.lease(&cache, &key, &miss.lease.unwrap().token).unwrap();
        bench.install(&format!("{{name: {name}, table: s.u}}"), "");
        let Answer::Miss(miss) = get(READ) else { panic!("{path} is of a definition that has ended") };
        assert!(miss.lease.is_none(), "a fill would not be taken");
        let value = Value::new("late".into(), "text/plain".into());
        let fill = Fill { lease, value, terms: Terms::default() };
        assert!(bench.engine.fill(&catalog, &cache, &key, fill, bench.now).is_err(), "{path}");
        // Its follower may still have the plan of before.
        bench.engine.attach([&cache], Tick(1));
        assert!(matches!(get(READ), Answer::Miss(_)), "{path}");
        bench.install("{name: rows, table: s.t}, {name: pages, dependsOn: [s.t]}", "");
        let catalog = bench.engine.catalog().unwrap();
        bench.engine.attach(catalog.caches.values(), Tick(1));
    }
}

#[test]
fn a_deletion_that_began_before_a_reload_reaches_the_new_definition() {
    let bench = Bench::new(ROWS, "");
    let (_, old) = bench.cache("rows");
    bench.install("{name: rows, table: s.t, ttl: 2m}", "");
    let catalog = bench.engine.catalog().unwrap();
    bench.engine.attach(catalog.caches.values(), Tick(1));
    assert!(bench.fill("rows/7", "x"));
    bench.engine.delete(&old, &Key::from_path("7", None).unwrap(), bench.now.tick);
    assert_eq!(bench.get("rows/7"), "miss table-never-seen");
}
