use super::{Bench, READ, Wanted};
use crate::{clock::Tick, key::Key};

const PAGES: &str = "{name: pages, dependsOn: [s.t], ttl: 1m}";

/// How many of `pages/1` to `pages/200` the store has, whatever they say.
fn kept(bench: &Bench) -> usize {
    let (_, cache) = bench.cache("pages");
    let shelves = bench.engine.store.load();
    (1..=200).filter(|key| shelves.get(cache.id, &key.to_string()).is_some()).count()
}

fn filled() -> Bench {
    let mut bench = Bench::new(PAGES, "");
    bench.change(1, 1, 0, "x");
    bench.pass(2000);
    for key in 1..=200 {
        assert!(bench.fill(&format!("pages/{key}"), "x"));
    }
    bench
}

#[test]
fn a_sweep_frees_what_is_void_and_a_thorough_one_what_has_expired() {
    let mut bench = filled();
    let now = bench.now.tick;
    bench.engine.sweep(false, || now);
    assert_eq!(kept(&bench), 200);
    bench.change(2, 2, 0, "x");
    assert!(bench.fill("pages/7", "new"));
    bench.engine.sweep(false, || now);
    assert_eq!(kept(&bench), 1, "what was filled after the change");
    bench.pass(120_000);
    let now = bench.now.tick;
    bench.engine.sweep(false, || now);
    assert_eq!(kept(&bench), 1, "nothing has become void");
    bench.engine.sweep(true, || now);
    assert_eq!(kept(&bench), 0);
}

#[test]
fn a_reader_who_loads_drops_what_is_void_at_once() {
    let mut bench = filled();
    bench.change(2, 2, 0, "x");
    assert_eq!(bench.get("pages/7"), "miss");
    assert_eq!(kept(&bench), 199);
    bench.answer("pages/8", Wanted { lease: false, ..READ });
    assert_eq!(kept(&bench), 199, "who takes no lease takes no lock either");
    bench.pass(120_000);
    assert!(bench.fill("pages/7", "new"));
    bench.lease("pages/7").unwrap();
    assert_eq!(bench.get("pages/7"), "hit new", "what lives stays, whatever the reader takes");
}

#[test]
fn a_walk_ends_where_another_binding_comes_into_force_and_the_next_one_is_over_its_entries() {
    let bench = filled();
    bench.change(2, 2, 0, "x");
    let (now, mut asked) = (bench.now.tick, 0);
    bench.engine.sweep(false, || {
        asked += 1;
        if asked == 2 {
            bench.install(&format!("{PAGES}, {{name: more, table: s.t}}"), "");
        }
        now
    });
    assert!((1..200).contains(&kept(&bench)), "{} are left", kept(&bench));
    let catalog = bench.engine.catalog().unwrap();
    bench.engine.attach(catalog.caches.values(), Tick(1));
    let (_, cache) = bench.cache("more");
    bench.fill("more/7", "x");
    bench.engine.sweep(false, || now);
    assert_eq!(kept(&bench), 0);
    let key = Key::from_path("7", None).unwrap();
    assert!(bench.engine.store.load().get(cache.id, key.as_str()).is_some(), "of a cache that is new");
}

#[test]
fn what_takes_the_place_of_something_void_while_a_walk_pauses_stays() {
    let bench = filled();
    bench.change(2, 2, 0, "x");
    let (now, mut asked) = (bench.now.tick, 0);
    let mut filled = 0;
    bench.engine.sweep(false, || {
        asked += 1;
        // By the second time an entry was shown of which nothing has become yet.
        if asked == 2 {
            filled = (1..=200).filter(|key| bench.fill(&format!("pages/{key}"), "new")).count();
        }
        now
    });
    assert_eq!((filled, kept(&bench)), (200, 200));
}
