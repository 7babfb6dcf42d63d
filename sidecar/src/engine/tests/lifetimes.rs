use std::{collections::BTreeSet, time::Duration};

use super::{Answer, Bench, READ, ROWS, Terms, Wanted};
use crate::store::count;

const EXACT: &str = "{name: rows, table: s.t, ttl: 1m, ttlJitter: 0%}";
const SECOND: Duration = Duration::from_secs(1);

/// Fills with a lifetime of its own and an age.
fn put(bench: &Bench, path: &str, lease: &str, max_age: Option<Duration>, age: Duration) -> bool {
    bench.put_with(path, lease, "x", Terms { max_age, age, ..Terms::default() }).unwrap()
}

fn fill(bench: &Bench, path: &str, max_age: Option<Duration>, age: Duration) {
    let lease = bench.lease(path).unwrap();
    assert!(put(bench, path, &lease, max_age, age), "{path}");
}

/// `Age` and `ttl=` of a hit.
fn told(bench: &Bench, path: &str) -> Option<(u64, i64)> {
    match bench.answer(path, READ) {
        Answer::Hit(hit) => Some((hit.age, hit.ttl)),
        Answer::Miss(_) => None,
    }
}

#[test]
fn values_expire() {
    let mut bench = Bench::new(EXACT, "");
    bench.fill("rows/7", "one");
    bench.pass(59_999);
    assert_eq!(bench.get("rows/7"), "hit one table-never-seen");
    bench.pass(1);
    assert_eq!(bench.get("rows/7"), "miss table-never-seen");
}

#[test]
fn what_is_filled_together_does_not_expire_together() {
    let mut bench = Bench::new(ROWS, "");
    let rows: Vec<String> = (1..=100).map(|n| format!("rows/{n}")).collect();
    let fill_all = |bench: &Bench, max_age| {
        for row in &rows {
            fill(bench, row, max_age, Duration::ZERO);
        }
    };
    fill_all(&bench, None);
    let ends: BTreeSet<i64> = rows.iter().map(|row| told(&bench, row).unwrap().1).collect();
    // 1m, less 10 % at most, in whole seconds that are left.
    assert!(ends.len() >= 5 && ends.iter().all(|ttl| (54..=60).contains(ttl)), "{ends:?}");
    // A value that is filled again has the life that it had: nobody is better off for having come twice.
    let before: Vec<_> = rows.iter().map(|row| told(&bench, row)).collect();
    fill_all(&bench, None);
    assert_eq!(rows.iter().map(|row| told(&bench, row)).collect::<Vec<_>>(), before);
    // What is asked for by itself isn't shortened.
    fill_all(&bench, Some(50 * SECOND));
    bench.pass(49_999);
    assert!(rows.iter().all(|row| told(&bench, row).is_some()));
    bench.pass(1);
    assert!(rows.iter().all(|row| told(&bench, row).is_none()));
}

#[test]
fn images_do_not_expire_together_either() {
    let bench = Bench::new("{name: rows, table: s.t, onChange: Hydrate, ttl: 1m}", "");
    bench.change(1, 1, 0, "x");
    for id in 1..=50 {
        bench.change(id, 10 + u64::from(id), 0, "x");
    }
    let ends: BTreeSet<i64> = (1..=50).map(|id| told(&bench, &format!("rows/{id}")).unwrap().1).collect();
    assert!(ends.len() >= 4 && ends.iter().all(|ttl| (54..=60).contains(ttl)), "{ends:?}");
}

#[test]
fn a_value_that_was_old_already_lives_as_long_as_the_original() {
    let mut bench = Bench::new(EXACT, "");
    fill(&bench, "rows/1", Some(50 * SECOND), 40 * SECOND);
    fill(&bench, "rows/2", None, 40 * SECOND);
    assert_eq!(told(&bench, "rows/1"), Some((40, 10)));
    assert_eq!(told(&bench, "rows/2"), Some((40, 20)), "a ttl counts from the beginning, too");
    bench.pass(9999);
    assert_eq!(told(&bench, "rows/1"), Some((49, 0)));
    let wanted = |seconds| Wanted { max_age: Some(seconds * SECOND), ..READ };
    assert!(matches!(bench.answer("rows/1", wanted(50)), Answer::Hit(_)));
    assert!(matches!(bench.answer("rows/1", wanted(49)), Answer::Miss(_)));
    bench.pass(1);
    assert_eq!(told(&bench, "rows/1"), None);
    bench.pass(10_000);
    assert_eq!(told(&bench, "rows/2"), None);
}

#[test]
fn a_value_whose_life_is_over_is_taken_and_not_kept() {
    let bench = Bench::new(EXACT, "");
    let over = [(Some(Duration::ZERO), Duration::ZERO), (Some(5 * SECOND), 5 * SECOND), (None, 60 * SECOND)];
    for (max_age, age) in over {
        fill(&bench, "rows/7", None, Duration::ZERO);
        assert_eq!(told(&bench, "rows/7"), Some((0, 60)));
        let first = bench.lease("rows/7").unwrap();
        let second = bench.lease("rows/7").unwrap();
        assert!(put(&bench, "rows/7", &first, max_age, age));
        let (_, cache) = bench.cache("rows");
        assert!(
            bench.engine.store.load().get(cache.id, "7").is_none(),
            "neither it nor what was there before"
        );
        assert!(!put(&bench, "rows/7", &second, None, Duration::ZERO), "another read may be older");
    }
    let (_, cache) = bench.cache("rows");
    assert_eq!((count(&cache.stats.expired), count(&cache.stats.stored)), (3, 3));
}
